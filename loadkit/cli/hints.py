"""Which option was probably meant by one that a command does not have: a word of another tool, or a slip."""

from __future__ import annotations

import difflib

import click

__all__ = ["nearest_command", "nearest_first"]

# What other tools (wrk, hey, oha, ab, k6, vegeta, iperf3, redis-benchmark) call it -> our options, the nearest first.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--rps", "--qps", "--throughput", "--bitrate", "--bandwidth"), ("--rate",)),
    **dict.fromkeys(("--latency", "--latencies", "--histogram"), ("--slo", "--percentiles")),
    **dict.fromkeys(("--json", "-j", "--format", "--report", "--out", "--csv", "--summary-export"), ("--output",)),
    **dict.fromkeys(("--threads", "-t", "--cpus", "--parallelism", "--processes"), ("--workers",)),
    **dict.fromkeys(("--concurrency", "--clients", "--parallel", "--vus", "-u", "--users"), ("--connections",)),
    **dict.fromkeys(("--requests", "--iterations", "--number", "--count", "-N"), ("--messages",)),
    **dict.fromkeys(("--time", "-z", "-l", "--seconds", "--run-time"), ("--duration",)),
    **dict.fromkeys(("--length", "--len", "--payload", "--bytes", "--data", "--body"), ("--size",)),
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
    given = error.option_name
    context = error.ctx
    found = _known(given, context) if context else []
    if not found:
        return f"{given}: no such option"
    *others, last = found
    meant = f"{', '.join(others)} or {last}" if others else last
    return f"{given}: no such option; {_ALWAYS.get(given, '')}did you mean {meant}?"


def _known(given: str, context: click.Context) -> list[str]:
    """Returns the options of the command that are near, each with all of its names."""
    named: dict[str, str] = {}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            text = "/".join((*parameter.opts, *parameter.secondary_opts))
            named |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), text)
        elif isinstance(parameter, click.Argument):
            named |= {"HOST:PORT": "HOST:PORT, without an option"} if parameter.name in ("target", "listen") else {}
    named["`loadkit version`"] = "`loadkit version`"
    meant = [name for name in _ELSEWHERE.get(given, ()) if name in named]
    if not meant and len(given) > len("-x"):
        meant = difflib.get_close_matches(given, [name for name in named if name.startswith("--")], _MOST)
    return list(dict.fromkeys(named[name] for name in meant))


def nearest_command(word: str, context: click.Context) -> str:
    """Returns the line for a command that does not exist, with the nearest one."""
    commands = context.command.list_commands(context) if isinstance(context.command, click.Group) else []
    known = [name for name in (_COMMANDS.get(word),) if name in commands]
    near = known or difflib.get_close_matches(word, commands, n=1)
    others = f"there are {', '.join(commands)}" if commands else "it has no commands"
    hint = f"did you mean {near[0]!r}?" if near else others
    return f"{context.command_path} has no command {word!r}; {hint}"
