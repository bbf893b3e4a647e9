"""Wake-ups on their way into a record, and in words."""

from __future__ import annotations

from collections.abc import Iterable

from loadkit.measure.histogram import Histogram
from loadkit.measure.samples import WorkerSamples
from loadkit.measure.wakeups import WakeupSamples, add_wakeups, read_wakeups
from loadkit.report.histograms import histogram_record
from loadkit.report.record import HistogramRecord, Wakeups, WorkerWakeups
from loadkit.units import format_count, format_duration, format_ratio, plural

__all__ = ["phase_wakeups", "wakeups_line", "wakeups_missing", "wakeups_record", "window_wakeups", "worker_wakeups"]

# libuv's own metrics count turns of the loop, and events; the other fields are null.
_APPROXIMATE = "uv_metrics"
# The flags that a selector reports.
_SELECTOR_FLAGS = ("IN", "OUT")


def phase_wakeups(workers: Iterable[WorkerSamples], phases: Iterable[int]) -> WakeupSamples | None:
    """Returns what the workers of the blast end counted in the phases of these numbers."""
    numbers = tuple(phases)
    return add_wakeups(
        read_wakeups(worker.state["wakeup_source"], worker.phases[number]) for worker in workers for number in numbers
    )


def window_wakeups(before: Iterable[WorkerSamples], after: Iterable[WorkerSamples]) -> WakeupSamples | None:
    """Returns what the serve end counted between two readings. A worker that replaced another continues its counts."""
    return add_wakeups(
        read_wakeups(late.state["wakeup_source"], late.phases[0], early.phases[0])
        for early, late in zip(before, after, strict=True)
    )


def wakeups_record(samples: WakeupSamples | None) -> Wakeups | None:
    """Returns the wake-ups as they stand in a record, null for what their source cannot see."""
    if samples is None:
        return None
    exact = samples.source != _APPROXIMATE
    return Wakeups(
        source=samples.source,
        waits=samples.waits,
        wakeups=samples.wakeups if exact else None,
        events=samples.events,
        batch=histogram_record(samples.batch, 0, "events") if exact else None,
        busy=histogram_record(samples.busy, 0) if exact else None,
        blocked_ns=samples.blocked_ns if exact else None,
        busy_ns=samples.busy_ns if exact else None,
        probe_wakeups=samples.probe_wakeups if exact else None,
        probe_events=samples.probe_events if exact else None,
        beats=samples.beats if exact else None,
        flags={
            flag: count if exact and (samples.source != "selector" or flag in _SELECTOR_FLAGS) else None
            for flag, count in samples.flags.items()
        },
    )


def wakeups_missing(workers: Iterable[WorkerSamples]) -> str:
    """Returns why these workers have no wake-ups in the window."""
    if any(worker.state["wakeup_source"] for worker in workers):
        return "nothing was measured"
    return (
        "this engine cannot count them: libuv has no metrics here, and the hook in its import table was not compiled, "
        "or found no entry"
    )


def worker_wakeups(samples: WakeupSamples | None) -> WorkerWakeups | None:
    """Returns the wake-ups of one worker, with the ends of the histograms in place of the histograms."""
    if samples is None or samples.source == _APPROXIMATE:
        return None
    return WorkerWakeups(
        waits=samples.waits,
        wakeups=samples.wakeups,
        events=samples.events,
        blocked_ns=samples.blocked_ns,
        busy_ns=samples.busy_ns,
        batch_max=_most(samples.batch),
        busy_p99_ns=samples.busy.percentiles([99.0])[99.0],
        busy_max_ns=_most(samples.busy),
    )


def wakeups_line(end: str, wakeups: Wakeups, replied: int) -> str:
    """Says what a wake-up brings: many events mean a loop that never catches up; one means a wake-up per message."""
    if wakeups.wakeups is None or wakeups.batch is None or wakeups.blocked_ns is None or wakeups.busy_ns is None:
        return f"{end} about {plural(wakeups.events, 'event')} in {plural(wakeups.waits, 'turn')} of the loop"
    text, probes = f"{end} {format_count(wakeups.wakeups)}", wakeups.probe_wakeups or 0
    if wakeups.wakeups:
        per_reply = f", {format_ratio((wakeups.wakeups - probes) / replied)} per reply" if replied else ""
        text += f" ({wakeups.batch.mean or 0.0:.1f} events each{per_reply})"
    if probes:
        text += f", {format_count(probes)} of them for probes alone"
    if wakeups.blocked_ns + wakeups.busy_ns:
        text += f", idle {wakeups.blocked_ns / (wakeups.blocked_ns + wakeups.busy_ns):.0%}"
    return text + _turns(wakeups.busy)


def _turns(busy: HistogramRecord | None) -> str:
    """Says how long one turn keeps the other connections waiting."""
    if busy is None or busy.max is None:
        return ""
    p99 = busy.percentiles["99"]
    usual = f"p99 {format_duration(p99)} " if p99 is not None else ""
    return f", turn {usual}max {format_duration(busy.max)}"


def _most(histogram: Histogram) -> int | None:
    return histogram.max_ns if histogram.count else None
