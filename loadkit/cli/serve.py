"""`loadkit serve`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from loadkit.cli.environment import PREFIX, Command, origins
from loadkit.cli.metrics import linger, say_where
from loadkit.cli.options import GroupedOption, given, profile_options
from loadkit.cli.output import check_outputs, files, output_option
from loadkit.cli.preflight import say_warnings
from loadkit.cli.publish import publish_serve
from loadkit.cli.streams import end_soon
from loadkit.endpoint import place_of
from loadkit.errors import OptionError, OutputError
from loadkit.library.files import ReadyFile, check_writable, remove_old_ready_file
from loadkit.library.metrics import run_metrics
from loadkit.limits import require_memory
from loadkit.plan.origins import DEFAULT
from loadkit.printable import json_page, printable
from loadkit.profile.option import Group
from loadkit.profile.serve import ServeProfile
from loadkit.report.formats import SERVE_FORMATS
from loadkit.units import format_count, plural

if TYPE_CHECKING:
    from loadkit.library.metrics import RunMetrics
    from loadkit.library.prepare import PreparedServe
    from loadkit.measure.run_samples import ServeRun, WorkerEnd
    from loadkit.run.serve import ServeGroup
    from loadkit.run.signals import Interrupts

__all__ = ["DEFAULT_LISTEN", "serve"]

# Loopback by default: an echo server that anyone can reach can be used to amplify an attack.
DEFAULT_LISTEN = "127.0.0.1:7000"


_EXAMPLES = """\b
Examples:
  loadkit serve                                 loopback only, port 7000
  loadkit serve 0.0.0.0:7000 -o serve.json      every address, with a record
  loadkit serve --app shop.server:Orders        your server, not the echo
  loadkit serve 127.0.0.1:0 --ready-file r.json a free port, named in r.json"""


class _Serve(Command):
    """A command that leaves no old ready file to the program that waits for one, whatever is wrong with its options."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Takes the options apart."""
        typed = list(args)  # which takes them out
        try:
            return super().parse_args(context, args)
        except click.UsageError:
            remove_old_ready_file(_ready_file(typed))
            raise

    def invoke(self, context: click.Context) -> Any:
        """Runs it."""
        try:
            return super().invoke(context)
        except OptionError:
            remove_old_ready_file(context.params["ready_file"])
            raise


def _ready_file(typed: Sequence[str]) -> str | None:
    """Returns the value of --ready-file among arguments that could not be taken apart."""
    for at in reversed(range(len(typed))):
        name, equals, value = typed[at].partition("=")
        if name == "--ready-file":
            return value if equals else next(iter(typed[at + 1 : at + 2]), None)
    return os.environ.get(f"{PREFIX}_SERVE_READY_FILE")


@click.command(
    cls=_Serve, epilog=_EXAMPLES, short_help="run an echo server, or your own, with one worker process per core"
)
@click.argument("listen", metavar="[HOST:PORT|unix:PATH]", default=DEFAULT_LISTEN, envvar="LOADKIT_SERVE_LISTEN")
@profile_options(ServeProfile)
@click.option("--profile", cls=GroupedOption, group=Group.WORKERS, metavar="FILE", help="options from a TOML file")
@click.option(
    "--ready-file",
    cls=GroupedOption,
    group=Group.OUTPUT,
    metavar="FILE",
    help="write here, as JSON, where the server listens, once it is ready",
)
@output_option("write the run to FILE when the server ends", SERVE_FORMATS)
@click.option("-q", "--quiet", cls=GroupedOption, group=Group.OUTPUT, is_flag=True, help="print nothing but errors")
def serve(
    listen: str, profile: str | None, ready_file: str | None, output: tuple[str, ...], quiet: bool, **values: Any
) -> int:
    """Echo what every connection sends, or run your own server, with one worker process per core.

    HOST:PORT is 127.0.0.1:7000 by default. 0.0.0.0:7000 listens on every address, and a name on each of its addresses.
    Port 0 is a free port. A link-local address names its interface: [fe80::1%eth0]:7000. The first Ctrl-C or SIGTERM
    stops accepting and lets open connections finish; the second one ends the server at once.

    Each worker imports FACTORY of --app: it makes an asyncio.Protocol, or is an async function (reader, writer).
    """
    check_outputs(output, {"--ready-file": ready_file}, SERVE_FORMATS)
    ready = ReadyFile(ready_file)
    ready.prepare()  # before anything that takes time or can fail: a program that waits for it must not find an old one

    require_memory()
    from loadkit.library.prepare import prepare_serve
    from loadkit.report.serve import build_serve_record
    from loadkit.run.signals import Interrupts

    logging.basicConfig(level=logging.WARNING, format="loadkit: %(message)s")
    prepared = prepare_serve(listen, given(values), profile, _origins(click.get_current_context()))
    say_warnings(prepared.check_machine(), quiet)
    for path in files(output):
        check_writable(path)
    with run_metrics(prepared.metrics) as metrics, Interrupts(is_command=True) as interrupts:
        say_where(metrics, quiet)
        interrupts.at_exit = ready.close
        with contextlib.closing(ready):
            run = _run(prepared, interrupts, metrics, ready, quiet)
        interrupts.begin_report()
        end_soon()
        for end in run.died_last:
            _say(f"worker {end.index} (pid {end.pid}) {end.died} when all of them were to end")
        record = build_serve_record(run, prepared.host)
        is_whole = publish_serve(record, output, quiet, interrupts.end_report)
        if run.failure:
            raise run.failure
        if interrupts.count < 2:
            linger(metrics, interrupts, quiet)
    if interrupts.count > 1:
        return 128 + interrupts.numbers[1]
    return 0 if is_whole else 1


def _origins(context: click.Context) -> dict[str, str]:
    """Returns where the options came from that were not given, and where the address did."""
    is_default = context.get_parameter_source("listen") is ParameterSource.DEFAULT
    return origins(context) | ({"listen": DEFAULT} if is_default else {})


def _run(
    prepared: PreparedServe, interrupts: Interrupts, metrics: RunMetrics, ready: ReadyFile, quiet: bool
) -> ServeRun:
    """Serves until a signal ends it, and says meanwhile what happens."""
    from loadkit.run.serve import run_serve

    seen = dict[int, int]()

    def on_ready(group: ServeGroup) -> None:
        metrics.show(group.view)
        _tell_ready(group, prepared.name, ready, quiet)

    return run_serve(
        prepared.plan,
        on_ready=on_ready,
        on_change=lambda dead, group: _tell_changes(dead, group, seen, prepared.name, ready),
        interrupts=interrupts,
        on_stop=ready.close,
    )


def _say(text: str) -> None:
    click.echo(printable(f"loadkit: {text}"), err=True)


def _tell_ready(group: ServeGroup, host: str, ready: ReadyFile, quiet: bool) -> None:
    plan = group.plan
    ready.write(_listening(group, host))
    if not quiet:
        what = f"{plan.app}, {plan.engine}" if plan.app else plan.engine
        places = " and ".join(place_of(address, group.port) for address in plan.addresses)
        _say(f"ready on {places} with {plural(plan.workers, 'worker')} ({what}); Ctrl-C stops")
        if plan.fallback:
            _say(f"{plan.engine} {'runs the app' if plan.app else 'echoes'}, for {plan.fallback}")


def _listening(group: ServeGroup, host: str) -> str:
    """Returns what a ready file has in it."""
    plan = group.plan
    listening = {
        "host": host,
        "address": plan.addresses[0],
        "addresses": plan.addresses,
        "port": None if plan.is_unix else group.port,
        "pid": os.getpid(),
        "engine": plan.engine.value,
        "workers": [{"index": worker.index, "pid": worker.pid, "core": worker.work.core} for worker in group.workers],
    }
    return json_page(json.dumps(listening)) + "\n"


def _tell_changes(dead: list[WorkerEnd], group: ServeGroup, seen: dict[int, int], host: str, ready: ReadyFile) -> None:
    """Says at once what an operator should know: a worker that died, file descriptors that ran out."""
    import errno

    for end in dead:
        _say(f"worker {end.index} (pid {end.pid}) {end.died or 'ended'}; another one has taken its place")
    if dead:
        try:
            ready.rewrite(_listening(group, host))
        except OutputError as error:  # a disk that is full is no reason to serve no more
            _say(str(error))
    for number, name in ((errno.EMFILE, "EMFILE"), (errno.ENFILE, "ENFILE")):
        shed = group.turned_away(number)
        if shed > seen.get(number, 0):
            _say(
                f"{name}: out of file descriptors, {format_count(shed)} connections turned away so far; raise the "
                f"limit (ulimit -n, LimitNOFILE=, docker --ulimit nofile=) or use more workers (-w)"
            )
            seen[number] = shed
