"""Times of a record by name, such as `latency.p99`, as an objective, the headline and JUnit ask for them.

What never came back is in no histogram, so a histogram's own percentiles are those of the lucky ones. Here it counts as
later than everything that came back: the rank of a percentile is among all, and one that falls among the lost is never
reached. A mean or a maximum is not known as soon as one is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadkit.errors import RecordError
from loadkit.measure.histogram import percentiles_supported, rank_of
from loadkit.report.histograms import decoded
from loadkit.report.record import HistogramRecord, RunRecord
from loadkit.units import format_count, plural

__all__ = ["Figure", "count_of_all", "find_percentile", "time_figure"]

# Warm-up phases are left out of connect and first_byte, as build.py has it.
_SETUP = ("ramp", "hold")


@dataclass(frozen=True, slots=True)
class Figure:
    """A value in nanoseconds, or why there is none; `is_never`: it lies among what never came back."""

    value: float | None
    reason: str | None = None
    is_never: bool = False


@dataclass(frozen=True, slots=True)
class _Times:
    """What a histogram is of: how many there should be, and what became of the others."""

    count: Callable[[RunRecord], int]
    lost: str


_TIMES = {
    "connect": _Times(lambda record: _setup(record, "asked"), "did not open"),
    "first_byte": _Times(lambda record: _setup(record, "opened"), "had no first byte"),
    "latency": _Times(lambda record: record.messages.intended, "did not come back"),
    "service": _Times(lambda record: record.messages.sent, "did not come back"),
    "lateness": _Times(lambda record: record.messages.sent, "are not known"),
    "held": _Times(lambda record: record.messages.intended, "were not sent"),
}


def time_figure(record: RunRecord, name: str, part: str) -> Figure:
    """Returns `part` (min, mean, max or pN) of the histogram `name` over all that were due, lost ones among them.

    Raises RecordError for a histogram that is damaged.
    """
    histogram = record.histograms[name]
    if histogram is None:
        return Figure(None, record.histograms_missing[name])
    of = count_of_all(record, name)
    if not of:
        return Figure(None, "not measured")
    if part.startswith("p"):
        if not percentiles_supported(of, part[1:]) and histogram.count:
            support = "does not support" if of == 1 else "do not support"
            return Figure(None, f"{plural(of, 'value')} {support} a {part}: ten must lie above it")
        try:
            value: float | None = find_percentile(histogram, of, part[1:])
        except ValueError as error:
            raise RecordError(f"histograms.{name} cannot be read: {error}") from None
    else:
        value = getattr(histogram, part) if part == "min" or histogram.count == of else None
    if value is not None:
        return Figure(value)
    share = _share(of - histogram.count, of)
    return Figure(None, f"never: {share} of {format_count(of)} {_TIMES[name].lost}", is_never=True)


def count_of_all(record: RunRecord, name: str) -> int:
    """Returns how many values the histogram `name` would have, had none been lost."""
    histogram = record.histograms[name]
    known = histogram.count + histogram.dropped if histogram else 0
    return max(_TIMES[name].count(record), known)


def find_percentile(histogram: HistogramRecord, of: int, percentile: str) -> int | None:
    """Returns the percentile of `of` values, of which the histogram has those that came back; None: it has it not.

    Whether so many support it is another question (measure/histogram.py). Raises ValueError for a histogram whose
    encoding is damaged.
    """
    rank = rank_of(of, percentile)
    if rank > histogram.count:
        return None
    known = histogram.percentiles.get(percentile)
    if of == histogram.count and known is not None:
        return known
    return decoded(histogram).at_rank(rank)


def _setup(record: RunRecord, name: str) -> int:
    return sum(getattr(phase.connections, name) for phase in record.phases if phase.kind in _SETUP)


def _share(part: int, of: int) -> str:
    """Prints a part in percent: two digits at least, and 100 % for no less than all."""
    percent = 100 * part / of
    if part < of and percent >= 99.95:
        return "more than 99.9 %"
    return f"{percent:.1f} %" if percent >= 0.95 else f"{percent:.2g} %" if percent >= 0.0001 else "less than 0.0001 %"
