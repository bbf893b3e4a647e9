"""`loadkit.blast`: a run as a function."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Unpack

from loadkit.library.keywords import BlastOptions
from loadkit.library.metrics import run_metrics
from loadkit.library.options import read_blast_options, warn
from loadkit.library.prepare import prepare_blast, run_at_first_reachable
from loadkit.library.server import Server
from loadkit.library.threads import in_thread
from loadkit.limits import within_memory
from loadkit.report.build import build_record
from loadkit.report.record import RunRecord
from loadkit.run.blast import run_blast
from loadkit.run.signals import Interrupts

__all__ = ["Target", "blast", "blast_blocking"]

_log = logging.getLogger("loadkit")

Target = str | int | Server | None


async def blast(target: Target = None, *, profile: str | None = None, **options: Unpack[BlastOptions]) -> RunRecord:
    """Opens many connections to `target`, sends messages, and returns the record: what `loadkit blast -o` writes.

    `target` is "host:port", a port of this machine, or what `loadkit.serve` yields; None starts an embedded server for
    the run. `profile` is the name of a shipped profile or a file. `options` are the long options of `loadkit blast`,
    with underscores (`connections`, `rate`, `duration`, `connect_rate` ...); None is an option not given. Values are
    the command's: text with its unit ("10k", "250ms", "64KiB"), or a plain number for counts, rates per second, sizes
    in bytes, and seconds of `duration` and `warmup`; other durations always have their unit. Repeatable options take
    one text or several.

    A run that missed its SLOs, is not valid, or was ended by `abort_on` returns too: `record.slo`, `record.verdict` and
    `record.aborted` say so. Warnings about this machine go to the logger "loadkit". The soft limit of open files is
    raised to the hard one.

    Cancelled, it ends the run and waits until its processes are gone. Raises OptionError, ProfileError, PreflightError,
    TargetError or WorkerError, all of them LoadkitError, when the run cannot start.
    """
    interrupts = Interrupts()
    return await in_thread(lambda: _run(target, profile, options, interrupts), interrupts.leave)


def blast_blocking(
    target: Target, profile: str | None, options: BlastOptions, keep: Callable[[RunRecord], None] = lambda record: None
) -> RunRecord:
    """Does what `blast` does in the calling thread. `keep` is given the record before a signal ends what comes after.

    In the main thread the first signal ends the run gently, the second at once; it then goes to where it would have
    gone: SIGINT to a KeyboardInterrupt, if the program has no handler of its own. If that returns, so does this, or it
    raises Interrupted where there is no record yet.
    """
    interrupts = Interrupts()
    try:
        record = _run(target, profile, options, interrupts)
        keep(record)
        return record
    finally:
        if interrupts.numbers:
            signal.raise_signal(interrupts.numbers[0])


def _run(target: Target, profile: str | None, options: BlastOptions, interrupts: Interrupts) -> RunRecord:
    where = target.target if isinstance(target, Server) else None if target is None else str(target)
    with within_memory():
        prepared = prepare_blast(where, profile, read_blast_options(options))
        warn(prepared.check_machine())
        with run_metrics(prepared.metrics) as metrics, interrupts:
            prepared, samples = run_at_first_reachable(
                prepared,
                lambda plan: run_blast(plan, interrupts=interrupts, on_start=metrics.show),
                lambda text: _log.warning("%s", text),
            )
            record = build_record(prepared.plan, prepared.host, samples)
            if not interrupts.count:
                metrics.end(record)
                metrics.linger(interrupts)
        return record
