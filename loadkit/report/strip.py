"""Latency over time in a line of marks, for formats that have no charts: one mark is one stretch of the run."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from loadkit.measure.histogram import values_needed
from loadkit.measure.series import IntervalLatency
from loadkit.report.page import Strip
from loadkit.report.record import Interval, RunRecord
from loadkit.units import NS_PER_S, format_duration

__all__ = ["p99_strip"]

MARKS, GAP = "▁▂▃▄▅▆▇█", "·"
# As many as fit beside the name in a comment without a line break.
MOST_MARKS = 60
# A p99 that changes by less than this factor has low marks only: noise is no news.
_LEAST_RANGE = 2.0
# A stretch of several rows has some more replies than a p99 needs: one row is not as the other.
_ENOUGH = 1.1 * values_needed("99")


def p99_strip(record: RunRecord) -> Strip | None:
    """Returns the p99 of the measured phases over time; None if fewer than two intervals have one.

    A mark is the highest p99 of the intervals in its stretch, on a logarithmic scale; where most intervals have too few
    replies for one, it is that of several together.
    """
    held = {phase.name for phase in record.phases if phase.kind == "hold"}
    rows = [row for row in record.intervals if row.phase in held]
    values = _by_stretch(rows)
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    marks = "".join(GAP if value is None else _mark(value, low, high) for value in values)
    span_s = (max(row.t_s for row in rows) - min(row.from_s for row in rows)) / len(values)
    gaps = f"; {GAP} too few replies" if None in values else ""
    text = f"{format_duration(low)} to {format_duration(high)}, a mark for each {format_duration(span_s * NS_PER_S)}"
    return Strip("p99 over time", marks, f"{text}{gaps}")


def _by_stretch(rows: Sequence[Interval]) -> list[int | None]:
    """Returns the p99 of each stretch, all of them as long, and none shorter than the longest row."""
    begin, end = min((row.from_s for row in rows), default=0.0), max((row.t_s for row in rows), default=0.0)
    together = _rows_together(rows)
    least = max((row.t_s - row.from_s for row in rows), default=0.0) * together
    if least <= 0 or end - begin < least:
        return []
    stretches: list[list[IntervalLatency]] = [[] for _ in range(min(MOST_MARKS, int((end - begin) / least)))]
    for row in rows:
        middle = (row.from_s + row.t_s) / 2
        at = min(len(stretches) - 1, max(0, int((middle - begin) / (end - begin) * len(stretches))))
        stretches[at].append(row.latency)
    return [_together(stretch) if together > 1 else _highest(stretch) for stretch in stretches]


def _rows_together(rows: Sequence[Interval]) -> int:
    """Returns of how many rows the replies are enough for a p99, as most rows are."""
    if 3 * sum(row.latency.p99 is not None for row in rows) >= 2 * len(rows):
        return 1
    usual = statistics.median(row.replied for row in rows)
    return math.ceil(_ENOUGH / usual) if usual else 1


def _highest(latencies: Sequence[IntervalLatency]) -> int | None:
    return max((max(1, one.p99) for one in latencies if one.p99 is not None), default=None)


def _together(latencies: Sequence[IntervalLatency]) -> int | None:
    try:
        found = functools.reduce(IntervalLatency.plus, latencies, IntervalLatency(None, None, None)).p99
    except ValueError:  # a damaged row
        return None
    return None if found is None else max(1, found)


def _mark(value: int, low: int, high: int) -> str:
    share = math.log(value / low) / math.log(max(high / low, _LEAST_RANGE))
    return MARKS[min(len(MARKS) - 1, int(share * len(MARKS)))]
