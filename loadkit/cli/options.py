"""Click options: of quantities, and of the fields of a profile, whose flags, help and defaults stand there alone."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import click
import msgspec

from loadkit.profile.engines import EngineName
from loadkit.profile.option import Bounds, Group, Option, default_of, options_of, repeatable
from loadkit.units import Count, Duration, Rate, Size, format_count, format_duration, format_size

__all__ = ["GroupedOption", "SwitchOrValue", "given", "profile_options", "quantity"]

# As it stands on a command line: HOST:PORT, unix:PATH, a URL.
_TARGET = re.compile(r"(?!starts:|contains:)(?:.*:[0-9]+|unix:.*|[a-z+]+://.*)", re.DOTALL)

# What stands between several values of a variable where blanks are a part of them: the end of a line, or nothing.
_AS_IT_IS = ("\n", "")
_METAVARS = {Duration: "DURATION", Size: "SIZE", Rate: "RATE", Count: "N"}


class GroupedOption(click.Option):
    """An option that stands in a group of the help.

    `between` is a pattern: what stands between several values in the option's environment variable (profile/option.py).
    """

    def __init__(self, *words: Any, group: Group | None = None, between: str = " ", **more: Any) -> None:
        super().__init__(*words, **more)
        self.group = group
        self._between = re.compile(between)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """Returns the value of the variable, or the values of an option that may be repeated."""
        text = self.resolve_envvar_value(ctx)
        if text is None or not self.multiple:
            return super().value_from_envvar(ctx)
        if self._between.pattern in _AS_IT_IS:
            return tuple(text.split("\n")) if self._between.pattern else (text,)
        return tuple(self._between.split(" ".join(text.split())))


class SwitchOrValue(GroupedOption):
    """An option with a value that is a switch as well: `--check starts:OK`, `--no-check`, and `--check` alone.

    `kind` reads the value. A target behind the switch is not taken for its value.
    """

    def __init__(self, *words: Any, kind: Any, off: str, **more: Any) -> None:
        super().__init__(*words, **more)
        self._kind = kind
        self.secondary_opts = [off]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Returns its row of the help: the switch that turns it off has no value."""
        row = super().get_help_record(ctx)
        [off] = self.secondary_opts
        return row and (row[0].replace(f"{off} {self.metavar}", off), row[1])

    def spelled_out(self, arguments: list[str]) -> list[str]:
        """Returns the words of a command line with the value of each switch."""
        on, words = self.opts[0], list(arguments)
        end = words.index("--") if "--" in words else len(words)
        for at, word in enumerate(words[:end]):
            if word in self.secondary_opts:
                words[at] = f"{on}={self._kind.parse(False)}"
            elif word == on and (at + 1 == end or words[at + 1].startswith("-") or _TARGET.fullmatch(words[at + 1])):
                words[at] = f"{on}={self._kind.parse(True)}"
        return words


def profile_options(kind: type[msgspec.Struct]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an option for each field of a profile. They hand on the text as given; profile/read.py reads it."""
    hints, several = get_type_hints(kind), repeatable(kind)

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed(list(options_of(kind).items())):
            command = _click_option(name, option, hints[name], default_of(kind, name), name in several)(command)
        return command

    return add


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Returns those of the options that were given, on the command line or by the environment."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def quantity(kind: type[Count | Duration | Size], bounds: Bounds) -> dict[str, Any]:
    """Returns what makes an option's text be read as `kind` within the bounds."""

    def read(context: click.Context, parameter: click.Parameter, value: str) -> int:
        try:
            number = kind.parse(value)
            bounds.check(number)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None
        return int(number)

    return {"callback": read, "metavar": _METAVARS[kind]}


def _click_option(
    name: str, option: Option, hint: Any, default: object, is_repeatable: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    is_plain = default is None or default == ()
    help_text = option.help if is_plain else f"{option.help} [{_shown(default, option)}]"
    more: dict[str, Any] = {"cls": GroupedOption, "group": option.group, "help": help_text, "default": None}
    flags = option.flags
    if "/" in flags[-1] and hint not in (bool, bool | None):
        on, _, off = flags[-1].partition("/")
        flags = (*flags[:-1], on)
        more |= {"cls": SwitchOrValue, "kind": hint.__args__[0], "off": off, "metavar": option.metavar}
    elif hint in (bool, bool | None):
        more["is_flag"] = True
    elif is_repeatable:
        more |= {"multiple": True, "default": (), "metavar": option.metavar, "between": option.between}
    elif isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        more["type"] = click.Choice([choice.value for choice in hint if choice is not EngineName.FAKE])
    else:
        more["metavar"] = option.metavar or _metavar(hint)
    return click.option(*flags, name, **more)


def _metavar(hint: Any) -> str:
    for kind, metavar in _METAVARS.items():
        if kind in (hint, *getattr(hint, "__args__", ())):
            return metavar
    return "RATE"


def _shown(default: object, option: Option) -> str:
    if isinstance(default, bool):
        on, _, off = option.flags[-1].partition("/")
        return on if default else off
    if isinstance(default, Duration):
        return format_duration(default).replace(" ", "")
    if isinstance(default, Size):
        return format_size(default).replace(" ", "")
    if isinstance(default, Count | Rate):
        return format_count(default)
    return str(default)
