"""Runs at the edges of what a format has to bear: of no reply, of one, in rows that do or do not add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency, IntervalSample
from loadkit.report.merge import merge_records
from loadkit.report.record import RunRecord
from tests.golden.made_up import (
    HIGHEST_NS,
    HOLD,
    MS,
    REMOTE,
    RUNS,
    US,
    S,
    again,
    made_up_plan,
    made_up_record,
    made_up_samples,
    steady,
)

__all__ = ["ODD_RUNS", "row_of", "with_rows"]


def row_of(second: int, latencies: list[int], phase: int = HOLD, **more: int) -> IntervalSample:
    """A row of one second of a phase, with these latencies."""
    latency = IntervalLatency.of(Histogram.of(latencies, HIGHEST_NS))
    counts = {"opened": 0, "replied": len(latencies), "received_bytes": 64 * len(latencies), "errors": 0} | more
    return IntervalSample(second * S, (second + 1) * S, phase, latency=latency, **counts)


def with_rows(latencies: list[int], *rows: IntervalSample) -> RunRecord:
    """A run whose two workers had these latencies each in its hold, and these rows."""
    samples = steady(latencies)
    return made_up_record(made_up_plan(400.0, REMOTE), made_up_samples(*samples.workers, intervals=rows))


def _merged(minutes: int) -> RunRecord:
    one = ODD_RUNS["rows that are all of it"]()
    return merge_records([one, again(one, minutes)])


_SPREAD = [(100 + k) * US for k in range(2_000)]

ODD_RUNS: Mapping[str, Callable[[], RunRecord]] = {
    **RUNS,
    "no replies": lambda: with_rows([], row_of(2, []), row_of(3, [], errors=3)),
    "one reply": lambda: made_up_record(made_up_plan(), steady([MS])),
    "no rows": lambda: with_rows(_SPREAD),
    "rows that are all of it": lambda: with_rows(
        _SPREAD, row_of(2, _SPREAD), row_of(3, _SPREAD[:1_000]), row_of(4, _SPREAD[1_000:])
    ),
    "rows that are some of it": lambda: with_rows(_SPREAD, row_of(2, _SPREAD), row_of(4, _SPREAD[:7])),
    "rows that are more than it": lambda: with_rows(_SPREAD, *(row_of(second, _SPREAD) for second in (2, 3, 4))),
    "merged": lambda: _merged(1),
    "side by side": lambda: _merged(0),
}
