"""Options from the environment: LOADKIT_BLAST_RATE=5k stands for `loadkit blast --rate 5k`.

click reads the variables (auto_envvar_prefix). This module adds what click lacks: where a value came from, errors that
name the variable and not a flag that was not typed, and a warning for variables that stand for no option.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click
from click.core import ParameterSource

from loadkit.cli.options import SwitchOrValue
from loadkit.errors import LoadkitError
from loadkit.printable import printable
from loadkit.profile.option import Group

__all__ = ["PREFIX", "Command", "naming_variables", "origins", "unknown_variables"]

PREFIX = "LOADKIT"

# Kubernetes sets such variables in each container for a service with a name such as loadkit-serve.
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_[0-9]+_(TCP|UDP|SCTP)")


# A command with fewer, such as `report`, has a list of options that is seen at a glance.
_LEAST_GROUPS = 3


class Command(click.Command):
    """A command whose options may come from the environment, and stand in groups in its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the command line; a switch that takes a value as well has one."""
        for parameter in self.params:
            if isinstance(parameter, SwitchOrValue):
                args = parameter.spelled_out(args)
        return super().parse_args(ctx, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, those of a group together; those of a command with hardly any groups as click does."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            row = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if row:
                rows.setdefault(getattr(parameter, "group", None) or "", []).append(row)
        if len(rows) < _LEAST_GROUPS:
            super().format_options(context, formatter)
            return
        for group in (*Group, ""):
            if group in rows:
                with formatter.section(group.capitalize() if group else "Other options"):
                    formatter.write_dl(rows[group])

    def invoke(self, context: click.Context) -> Any:
        """Runs it, after a warning for each variable that looks like one of its options but is not one."""
        if not context.params.get("quiet"):
            for line in unknown_variables(context, os.environ):
                click.echo(printable(f"loadkit: warning: {line}"), err=True)
        try:
            return super().invoke(context)
        except LoadkitError as error:
            error.args = (naming_variables(str(error), context),)
            raise


def origins(context: click.Context) -> dict[str, str]:
    """Returns parameter name -> `environment LOADKIT_…`, of those whose value came from there."""
    return {parameter.name: f"environment {variable}" for parameter, variable in _from_environment(context)}


def naming_variables(text: str, context: click.Context) -> str:
    """Returns an error's text with the variable behind the first mention of what came from it."""
    for parameter, variable in _from_environment(context):
        names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
        if isinstance(parameter, click.Argument):
            names = parameter.make_metavar(context).strip("[]").split("|")
        mention = "|".join(map(re.escape, names))
        text = re.sub(rf"(?<![\w-])({mention})(?![\w-])", rf"\1 ({variable})", text, count=1)
    return text


def unknown_variables(context: click.Context, environment: Mapping[str, str]) -> Iterator[str]:
    """Yields a line for each variable that has the command's prefix and is not an option, with the nearest option."""
    known = [name for parameter in context.command.get_params(context) for name in _variables(parameter, context)]
    prefix = f"{context.auto_envvar_prefix}_"
    for name, value in sorted(environment.items()):
        if not name.startswith(prefix) or name in known:
            continue
        if _KUBERNETES.search(name) or value.startswith(("tcp://", "udp://", "sctp://")):
            continue
        # Without the prefix, which would make all of them alike.
        near = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known], n=1)
        hint = f"did you mean {prefix}{near[0]}?" if near else f"see `{context.command_path} --help`"
        yield f"{name} stands for no option of {context.command_path}; {hint}"


def _from_environment(context: click.Context) -> Iterator[tuple[click.Parameter, str]]:
    """Yields the parameters whose value came from the environment, and each one's variable."""
    for parameter in context.command.get_params(context):
        if context.get_parameter_source(parameter.name or "") is ParameterSource.ENVIRONMENT:
            yield parameter, next(name for name in _variables(parameter, context) if os.environ.get(name))


def _variables(parameter: click.Parameter, context: click.Context) -> list[str]:
    """Returns the variables that click reads for the parameter, the first one first."""
    named = [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar or ())
    if isinstance(parameter, click.Option) and parameter.allow_from_autoenv:
        named.append(f"{context.auto_envvar_prefix}_{(parameter.name or '').upper()}")
    return named
