"""What our own lateness and standstills did to the latency: which percentiles differ without the messages they hit.

Both histograms stand in the record: `latency` of all messages, and `disturbed` of those whose time overlaps a
standstill of their worker, or that were late for more than a tenth of their latency. The difference is what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from loadkit.errors import RecordError
from loadkit.measure.buckets import Counts, highest_of, index_of
from loadkit.measure.histogram import Histogram
from loadkit.report.record import HistogramRecord
from loadkit.units import format_duration

__all__ = ["CHANGED", "Change", "find_changes", "say_changes"]

# A figure that a disturbance of ours changes by more than this part is not the target's.
CHANGED = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """A percentile of latency as it is printed, and without the disturbed messages (None: nothing is left).

    `above` are the disturbed messages at that value and above: what made it so.
    """

    percentile: str
    with_ns: int
    without_ns: int | None
    above: int


def find_changes(latency: HistogramRecord, disturbed: HistogramRecord | None) -> tuple[Change, ...]:
    """Returns the supported percentiles that are lower by more than CHANGED without the disturbed messages.

    One that is higher without them is so because fast messages were left out: lateness makes no message faster.
    Minimum, maximum and mean are not tested: one message moves them. Raises RecordError if a histogram is damaged.
    """
    if disturbed is None or not disturbed.count or not latency.count:
        return ()
    whole, hit = _counts("latency", latency), _counts("disturbed", disturbed)
    if len(whole) != len(hit):
        raise RecordError("histograms latency and disturbed have different ranges: loadkit did not write this record")
    return tuple(_changes(latency, whole, hit))


def _changes(latency: HistogramRecord, whole: Counts, hit: Counts) -> Iterator[Change]:
    rest = np.maximum(whole - hit, 0)
    for percentile, value in latency.percentiles.items():
        if value is None:
            continue
        # Both to their counter, or the exact maximum would differ from itself.
        before, after = _value_at(whole, percentile), _value_at(rest, percentile)
        if before is None or after is None or before - after > CHANGED * after:
            yield Change(percentile, value, after, int(hit[index_of(np.array([value], np.int64))[0] :].sum()))


def _counts(name: str, record: HistogramRecord) -> Counts:
    try:
        return Histogram.decode(record.hdr, record.sum).counts
    except ValueError as error:
        raise RecordError(f"histogram {name} cannot be read: {error}") from None


def _value_at(counts: Counts, percentile: str) -> int | None:
    """Returns the highest value of the percentile's counter; None if there are no values. The rank is exact."""
    running = np.cumsum(counts)
    total = int(running[-1])
    if not total:
        return None
    rank = -(-total * Fraction(percentile) // 100)
    return highest_of(int(np.searchsorted(running, max(1, int(rank)))))


def say_changes(changes: tuple[Change, ...]) -> str:
    """Says which percentiles changed, and the figures of the last, as `latency p99 and p99.9 (p99.9: 1 s, …)`."""
    names = [f"p{change.percentile}" for change in changes]
    last = changes[-1]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    if last.without_ns is None:
        return f"latency {listed}: it hit every message"
    return (
        f"latency {listed} ({names[-1]} is {format_duration(last.with_ns)}; {format_duration(last.without_ns)} "
        f"without the messages it hit)"
    )
