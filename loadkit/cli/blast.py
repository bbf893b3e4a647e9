"""`loadkit blast`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from loadkit.cli.complete import complete_profiles
from loadkit.cli.environment import Command, origins
from loadkit.cli.github import find_summary, github_option
from loadkit.cli.live import find_hindrance, live_view
from loadkit.cli.metrics import linger, say_where
from loadkit.cli.options import GroupedOption, given, profile_options, quantity
from loadkit.cli.output import check_outputs, files, find_json, layout_options, output_option
from loadkit.cli.preflight import say, say_warnings
from loadkit.cli.publish import publish
from loadkit.cli.streams import end_soon
from loadkit.errors import OptionError
from loadkit.library.files import check_writable
from loadkit.library.metrics import run_metrics
from loadkit.limits import require_memory
from loadkit.printable import printable
from loadkit.profile.blast import Profile
from loadkit.profile.option import Bounds, Group
from loadkit.report.page import Layout
from loadkit.units import Duration

if TYPE_CHECKING:
    from loadkit.host import Host
    from loadkit.library.metrics import RunMetrics
    from loadkit.measure.run_samples import RunSamples
    from loadkit.plan.build import Plan
    from loadkit.report.record import RunRecord
    from loadkit.run.blast import Observer
    from loadkit.run.signals import Interrupts

    _View = contextlib.AbstractContextManager[Observer | None]

__all__ = ["blast"]

_EXAMPLES = """\b
Examples:
  loadkit blast                                 against a server of its own
  loadkit blast -c 10k -R 20k -o run.json       open loop, with a record
  loadkit blast 10.0.0.5:7000 -c 100k --source 10.0.1.0/28
  loadkit blast --profile churn --slo 'connect.p99<50ms' --slo errors==0
  loadkit blast 10.0.0.5:7000 -d 1h --abort-on 'error_ratio>1%'
  loadkit blast 10.0.0.5:7000 --slo 'latency.p99<5ms' --github"""


@click.command(
    cls=Command, epilog=_EXAMPLES, short_help="open very many connections, and report how long everything took"
)
@click.argument("target", metavar="[HOST:PORT|unix:PATH]", required=False, envvar="LOADKIT_BLAST_TARGET")
@profile_options(Profile)
@click.option(
    "--profile",
    cls=GroupedOption,
    group=Group.LOAD,
    metavar="NAME|FILE",
    shell_complete=complete_profiles,
    help="a scenario: `loadkit profiles` lists those shipped",
)
@output_option("also write the run to FILE")
@layout_options
@github_option
@click.option(
    "--dry-run",
    cls=GroupedOption,
    group=Group.OUTPUT,
    is_flag=True,
    help="print as JSON what would run, and where each value came from; run nothing",
)
@click.option(
    "--no-progress",
    cls=GroupedOption,
    group=Group.OUTPUT,
    is_flag=True,
    help="do not report how far the run is",
)
@click.option(
    "--live",
    cls=GroupedOption,
    group=Group.OUTPUT,
    is_flag=True,
    help="show the run on the whole terminal while it goes on; q stops it gently",
)
@click.option(
    "--interval",
    cls=GroupedOption,
    group=Group.OUTPUT,
    **quantity(Duration, Bounds(10**8)),
    default="10s",
    show_default=True,
    help="how often a line says how far the run is, if stderr is not a terminal",
)
@click.option(
    "-q",
    "--quiet",
    cls=GroupedOption,
    group=Group.OUTPUT,
    is_flag=True,
    help="print only the verdict line; on stderr, why a run is not valid and each missed SLO",
)
def blast(
    target: str | None,
    profile: str | None,
    output: tuple[str, ...],
    title: str | None,
    percentiles: tuple[str, ...],
    github: bool,
    dry_run: bool,
    no_progress: bool,
    live: bool,
    interval: int,
    quiet: bool,
    **values: Any,
) -> int:
    """Open many connections to HOST:PORT, send messages, and say how long everything took.

    Without HOST:PORT it starts an embedded `loadkit serve` on a free loopback port for the run. One connection
    opens first: a target that does not echo ends the run there, with exit status 1.
    """
    require_memory()
    from loadkit.library.prepare import prepare_blast, run_at_first_reachable
    from loadkit.report.build import build_record

    summary = find_summary(github and not dry_run)
    check_outputs(output, {"GITHUB_STEP_SUMMARY": summary})
    has_screen = live and _can_have_screen("--no-progress" if no_progress else "--quiet" if quiet else None)
    prepared = prepare_blast(target, profile, given(values), origins(click.get_current_context()))
    if dry_run:
        return _print_plan(prepared.plan, quiet)
    say_warnings(prepared.check_machine(), quiet)
    for path in files(output):
        check_writable(path)

    from loadkit.run.signals import Interrupts

    with run_metrics(prepared.metrics) as metrics, Interrupts(is_command=True) as interrupts:
        say_where(metrics, quiet)
        view = partial(_lines, not (no_progress or quiet), interval)
        if has_screen:
            view = partial(_screen, prepared.host, interrupts)
        run = _shown(view, interrupts, metrics)
        prepared, samples = run_at_first_reachable(prepared, run, lambda text: say(text, quiet))
        interrupts.begin_report()
        record = build_record(prepared.plan, prepared.host, samples)
        begin, layout = partial(_begin_to_print, interrupts), Layout(title, percentiles)
        is_whole = publish(record, output, summary, find_json(output), quiet, begin, layout)
        _complain(record, quiet)
        if not interrupts.count:
            metrics.end(record)
            linger(metrics, interrupts, quiet)
    return _exit_status(record, interrupts, is_whole)


def _print_plan(plan: Plan, quiet: bool) -> int:
    """Prints what would run, and returns the exit status."""
    from loadkit.cli.dry_run import dry_run_line
    from loadkit.report.writing import encode

    click.echo(encode(plan.shown), nl=False)
    say(dry_run_line(plan), quiet or not sys.stderr.isatty())
    return 0


def _complain(record: RunRecord, quiet: bool) -> None:
    """Says on standard error what ended the run early, and what --quiet leaves out of a report that is bad news."""
    from loadkit.report.summary import aborted_line, complaints

    aborted = aborted_line(record)
    for line in (*(complaints(record) if quiet else ()), *([f"aborted: {aborted}"] if aborted else ())):
        click.echo(printable(f"loadkit: {line}"), err=True)


def _shown(view: Callable[[Plan], _View], interrupts: Interrupts, metrics: RunMetrics) -> Callable[[Plan], RunSamples]:
    """Returns what runs a plan, and shows how far it is."""
    from loadkit.run.blast import run_blast

    def run(plan: Plan) -> RunSamples:
        with view(plan) as observer:
            return run_blast(plan, observer, interrupts=interrupts, on_start=metrics.show)

    return run


def _exit_status(record: RunRecord, interrupts: Interrupts, is_whole: bool) -> int:
    """Returns the exit status: a signal goes before an invalid run, and that before a missed SLO."""
    if interrupts.numbers:
        return 128 + interrupts.numbers[0]
    if record.verdict.state == "invalid":
        return 4
    if record.aborted or not all(objective.ok for objective in record.slo):
        return 3
    return 0 if is_whole else 1


def _can_have_screen(other: str | None) -> bool:
    """Whether --live can be had here; if not, it is said. Raises OptionError beside an option that shows nothing."""
    if other:
        raise OptionError(f"--live shows how far the run is, and {other} shows nothing of it; leave one of them out")
    hindrance = find_hindrance()
    if hindrance:
        say(f"--live: {hindrance}; lines say how far the run is", quiet=False)
    return hindrance is None


def _lines(is_shown: bool, interval_ns: int, plan: Plan) -> _View:
    return live_view(is_shown, interval_ns)


def _screen(host: Host, interrupts: Interrupts, plan: Plan) -> _View:
    from loadkit.cli.live_screen import live_screen  # and with it rich, which takes 40 ms to import

    return live_screen(plan, host, interrupts)


def _begin_to_print(interrupts: Interrupts) -> None:
    """Has a signal, one that came or one to come, not wait for the reader of our output."""
    interrupts.end_report()
    if interrupts.numbers:
        end_soon()
