"""How long received bytes stayed unread (`--stamps rx`): into a record, and in words."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from loadkit.measure.histogram import Histogram
from loadkit.measure.names import STAMP_SOURCES
from loadkit.measure.samples import PhaseSamples, WorkerSamples
from loadkit.report.histograms import histogram_record
from loadkit.report.record import HistogramRecord, RunRecord
from loadkit.units import format_duration

__all__ = ["unread_line", "unread_missing", "unread_of_hold", "unread_of_window", "unread_times"]

_MISSING = {
    "refused": "the kernel, or a sandbox in front of it, refuses SO_TIMESTAMPING",
    "no_hook": "the engine cannot read the stamps: the compiled part is missing, or its hook found no entry",
    "none": "this engine was not asked to",
    "rx": "nothing was read in the measured time, or the kernel stamped none of it",
}


def unread_of_hold(hold: PhaseSamples) -> HistogramRecord | None:
    """Returns the blast end's, of the measured phases; None if nothing was stamped."""
    return _record(hold.histograms["unread"], hold.dropped["unread"])


def unread_of_window(before: Sequence[WorkerSamples], after: Sequence[WorkerSamples]) -> HistogramRecord | None:
    """Returns the serve end's, from what came between two readings; None if nothing was stamped."""
    return _sum(
        late.phases[0].histograms["unread"].since(early.phases[0].histograms["unread"])
        for early, late in zip(before, after, strict=True)
    )


def _sum(parts: Iterable[Histogram]) -> HistogramRecord | None:
    return _record(functools.reduce(Histogram.merge, parts), 0)


def _record(histogram: Histogram, dropped: int) -> HistogramRecord | None:
    return histogram_record(histogram, dropped) if histogram.count else None


def unread_missing(workers: Sequence[WorkerSamples]) -> str:
    """Returns why these workers measured nothing, although it was requested."""
    return _MISSING[STAMP_SOURCES[workers[0].state["stamp_source"]]]


def unread_line(record: RunRecord) -> str | None:
    """Says how long received bytes stayed unread in the receive buffers; None if not requested."""
    ends = [("blast", record.unread), ("serve", record.server.unread if record.server else None)]
    parts = [f"{end} {unread_times(one)}" for end, one in ends if one]
    if parts:
        return f"in the receive buffer until read (1 read in 16 sampled): {'; '.join(parts)}"
    return f"not measured: {record.unread_missing}" if record.unread_missing else None


def unread_times(histogram: HistogramRecord) -> str:
    """Returns p50, p99 and the maximum in words."""
    times = [(name, histogram.percentiles[name]) for name in ("50", "99")]
    known = [f"p{name} {format_duration(value)}" for name, value in times if value is not None]
    return " ".join([*known, f"max {format_duration(histogram.max or 0)}"])
