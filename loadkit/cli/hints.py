"""Which option was probably meant by one that a command does not have: a word of another tool, or a slip."""

from __future__ import annotations

import difflib

import click

__all__ = ["HintingGroup", "nearest_command", "nearest_first"]

# What other tools (wrk, hey, oha, ab, k6, vegeta, iperf3, redis-benchmark) call it -> our options, the nearest first.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--rps", "--qps", "--throughput", "--bitrate", "--bandwidth"), ("--rate",)),
    **dict.fromkeys(("--latency", "--latencies", "--histogram"), ("--slo", "--percentiles")),
    **dict.fromkeys(("--json", "-j", "--format", "--report", "--out", "--csv", "--summary-export"), ("--output",)),
    **dict.fromkeys(("--threads", "-t", "--cpus", "--parallelism", "--processes"), ("--workers",)),
    **dict.fromkeys(("--concurrency", "--clients", "--parallel", "--vus", "-u", "--users"), ("--connections",)),
    **dict.fromkeys(("--requests", "--iterations", "--number", "--count", "-N"), ("--messages",)),
    **dict.fromkeys(("--time", "-z", "-l", "--seconds", "--run-time"), ("--duration",)),
    **dict.fromkeys(("--length", "--len", "--bytes"), ("--size",)),
    **dict.fromkeys(("--payload", "--data", "--body", "--message"), ("--send", "--size")),
    **dict.fromkeys(("--pipeline", "-P", "--pipelining", "--streams"), ("--depth", "--connections")),
    **dict.fromkeys(("--disable-keepalive", "--no-keepalive", "-k", "--reconnect"), ("--lifetime",)),
    **dict.fromkeys(("--bind", "-B", "--local-addr", "--laddr", "--interface"), ("--source",)),
    **dict.fromkeys(("--affinity", "-A", "--cpu", "--cpu-affinity"), ("--pin",)),
    **dict.fromkeys(("--ramp", "--ramp-up", "--spawn-rate", "--arrival-rate", "--cps"), ("--connect-rate",)),
    **dict.fromkeys(("--threshold", "--thresholds", "--assert", "--fail-if"), ("--slo",)),
    **dict.fromkeys(("--abort", "--stop-on", "--bail", "--max-errors", "--abort-on-fail"), ("--abort-on",)),
    **dict.fromkeys(("--version", "-V"), ("`loadkit version`",)),
    **dict.fromkeys(("--host", "--port", "--url", "--target", "--server", "--address", "--listen"), ("HOST:PORT",)),
}
# What needs no option: what to say before the options that are about it.
_ALWAYS = dict.fromkeys(("--latency", "--latencies", "--histogram"), "every report has latencies; ")
# The same of commands.
_COMMANDS: dict[str, str] = {
    **dict.fromkeys(("attack", "bench", "benchmark", "client", "load", "run", "start", "test"), "blast"),
    **dict.fromkeys(("echo", "listen", "server"), "serve"),
    **dict.fromkeys(("check", "examine"), "doctor"),
    **dict.fromkeys(("merge", "plot", "print", "show"), "report"),
    **dict.fromkeys(("scenarios",), "profiles"),
}
_MOST = 3


def nearest_first(error: click.NoSuchOption) -> str:
    """Returns the line for an option that the command does not have, with those that may have been meant."""
    given, context = error.option_name, error.ctx
    start = f"{given}: no such option"
    if context is None:
        return start
    named = _named(context)
    meant = [name for name in _ELSEWHERE.get(given, ()) if name in named]
    if not meant and len(given) > len("-x"):
        if owners := _commands_with(given, context):
            return f"{start}; {_listed(owners, 'and')} {'have' if owners[1:] else 'has'} it"
        meant = difflib.get_close_matches(given, [name for name in named if name.startswith("--")], _MOST)
    found = list(dict.fromkeys(named[name] for name in meant))
    return f"{start}; {_ALWAYS.get(given, '')}did you mean {_listed(found, 'or')}?" if found else start


def _named(context: click.Context) -> dict[str, str]:
    """Returns each name of the command's options, and of what else may be meant -> all the names of that."""
    named: dict[str, str] = {}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            text = "/".join((*parameter.opts, *parameter.secondary_opts))
            named |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), text)
        elif isinstance(parameter, click.Argument):
            named |= {"HOST:PORT": "HOST:PORT, without an option"} if parameter.name in ("target", "listen") else {}
    named["`loadkit version`"] = "`loadkit version`"
    return named


def _commands_with(given: str, context: click.Context) -> list[str]:
    """Returns the other commands that have an option of this name."""
    root = context.find_root()
    commands = root.command.commands if isinstance(root.command, click.Group) else {}
    return [
        f"`{root.command_path} {name}`"
        for name, command in sorted(commands.items())
        if any(given in (*one.opts, *one.secondary_opts) for one in command.params)
    ]


def _listed(names: list[str], word: str) -> str:
    """Returns the names as in a sentence: `a`, `a or b`, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def nearest_command(word: str, context: click.Context) -> str:
    """Returns the line for a command that does not exist, with the nearest one."""
    commands = context.command.list_commands(context) if isinstance(context.command, click.Group) else []
    known = [name for name in (_COMMANDS.get(word),) if name in commands]
    near = known or difflib.get_close_matches(word, commands, n=1)
    others = f"there are {', '.join(commands)}" if commands else "it has no commands"
    hint = f"did you mean {near[0]!r}?" if near else others
    return f"{context.command_path} has no command {word!r}; {hint}"


class HintingGroup(click.Group):
    """A group that says which of its commands may have been meant by a word that is not one of them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns name, command and the words behind them. Raises click.UsageError."""
        word = args[0]
        if not ctx.resilient_parsing and not word.startswith("-") and self.get_command(ctx, word) is None:
            raise click.UsageError(nearest_command(word, ctx), ctx)
        return super().resolve_command(ctx, args)
