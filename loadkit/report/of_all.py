"""A time over all values that there should be: what was lost is later than everything that came back.

What never came back is in no histogram, so a histogram's own percentiles leave the worst messages out. Here the rank of
a percentile is among all, and a percentile that falls among the lost is never reached. A mean or a maximum is unknown
if one is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from loadkit.errors import RecordError
from loadkit.measure.histogram import percentiles_supported, rank_of
from loadkit.report.histograms import decoded
from loadkit.report.record import HistogramRecord, PhaseRecord, RunRecord
from loadkit.report.so_far import Found
from loadkit.units import format_count, format_share, plural

__all__ = ["OF_TIMES", "About", "Source", "count_of", "read_time"]

About = Literal["connects", "messages", "bytes"]


@dataclass(frozen=True, slots=True)
class Source:
    """What a figure is read from: a run, or one phase of it."""

    run: RunRecord
    phase: PhaseRecord | None = None

    @property
    def whole(self) -> RunRecord | PhaseRecord:
        """The phase, or the run if it is of no single phase."""
        return self.phase or self.run

    def setup(self, name: str) -> int:
        """Returns a counter of connections. Warm-up phases are left out of a run's, as in its histograms."""
        phases = (self.phase,) if self.phase else (one for one in self.run.phases if one.kind in ("ramp", "hold"))
        return sum(getattr(phase.connections, name) for phase in phases)


@dataclass(frozen=True, slots=True)
class OfTime:
    """What a histogram is of: how many values there should be, and what became of the others."""

    count: Callable[[Source], int]
    lost: str
    about: About = "messages"


OF_TIMES: Mapping[str, OfTime] = {
    "connect": OfTime(lambda part: part.setup("asked"), "did not open", "connects"),
    "handshake": OfTime(lambda part: part.setup("asked"), "were not ready", "connects"),
    "first_byte": OfTime(lambda part: part.setup("opened"), "had no first byte"),
    "latency": OfTime(lambda part: part.whole.messages.intended, "did not come back"),
    "service": OfTime(lambda part: part.whole.messages.sent, "did not come back"),
    "lateness": OfTime(lambda part: part.whole.messages.sent, "are not known"),
    "held": OfTime(lambda part: part.whole.messages.intended, "were not sent"),
}


def count_of(of: Source, time: str) -> int:
    """Returns how many values the histogram of a time would have if none had been lost."""
    histogram = of.whole.histograms[time]
    known = histogram.count + histogram.dropped if histogram else 0
    return max(OF_TIMES[time].count(of), known)


def read_time(part: Source, time: str, which: str) -> Found:
    """Returns `which` (min, mean, max or pN) of the histogram over all values that were due, with the lost ones."""
    histogram = part.whole.histograms[time]
    if histogram is None:
        return Found(None, part.run.histograms_missing[time])
    of = count_of(part, time)
    if not of:
        return Found(None, "not measured")
    if which.startswith("p"):
        if not percentiles_supported(of, which[1:]) and histogram.count:
            support = "does not support" if of == 1 else "do not support"
            return Found(None, f"{plural(of, 'value')} {support} a {which}: ten must lie above it")
        try:
            value: float | None = _find_percentile(histogram, of, which[1:])
        except ValueError as error:
            raise RecordError(f"histograms.{time} cannot be read: {error}") from None
    else:
        value = getattr(histogram, which) if which == "min" or histogram.count == of else None
    if value is not None:
        return Found(value)
    share = format_share((of - histogram.count) / of)
    return Found(None, f"never: {share} of {format_count(of)} {OF_TIMES[time].lost}", is_never=True)


def _find_percentile(histogram: HistogramRecord, of: int, percentile: str) -> int | None:
    """Returns the percentile of `of` values, of which the histogram has those that came back; None if it is lost.

    Whether the number of values supports it is another question (measure/histogram.py). Raises ValueError for a
    histogram whose encoding is damaged.
    """
    rank = rank_of(of, percentile)
    if rank > histogram.count:
        return None
    known = histogram.percentiles.get(percentile)
    if of == histogram.count and known is not None:
        return known
    return decoded(histogram).at_rank(rank)
