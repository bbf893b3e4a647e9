"""The series of several records: end to end, row by row, and no more rows than there may be."""

from __future__ import annotations

import pytest

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency
from loadkit.report.algebra import Way
from loadkit.report.fold import fold
from loadkit.report.record import Interval
from loadkit.report.series import add_series, bounded

_HIGHEST_NS = 10**10


def _row(second: int, phase: str = "hold", latencies: tuple[int, ...] = (1_000,)) -> Interval:
    latency = IntervalLatency.of(Histogram.of(latencies, _HIGHEST_NS))
    return Interval(float(second - 1), float(second), phase, 0, len(latencies), 64, 0, latency)


def _merge(one: Interval, other: Interval) -> Interval:
    return fold(one, other, Way.AFTER)


def test_series_one_after_another_are_put_end_to_end() -> None:
    rows = add_series([_row(1), _row(2)], [_row(1), _row(2)], Way.AFTER, _merge)
    assert [(row.from_s, row.t_s) for row in rows] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_series_side_by_side_are_added_row_by_row_of_each_phase() -> None:
    left = [_row(1, "ramp"), _row(2, "ramp"), _row(2), _row(3)]
    right = [_row(1, "ramp"), _row(1), _row(2, latencies=(1_000, 2_000)), _row(3)]
    for one, other in ((left, right), (right, left)):
        rows = add_series(one, other, Way.BESIDE, _merge)
        assert sorted((row.phase, row.replied) for row in rows) == [
            ("hold", 1),  # of the longer one alone
            ("hold", 2),
            ("hold", 3),
            ("ramp", 1),
            ("ramp", 2),
        ]


@pytest.mark.parametrize("most", [1, 7, 50, 100])
def test_neighbours_of_a_phase_are_merged_beyond_the_bound_and_nothing_is_lost(most: int) -> None:
    rows = [_row(second, latencies=(1_000 * second,)) for second in range(1, 101)]
    fewer = bounded(rows, _merge, most)
    assert len(fewer) <= most
    assert (fewer[0].from_s, fewer[-1].t_s, sum(row.replied for row in fewer)) == (0, 100, 100)
    assert [row.t_s for row in fewer[:-1]] == [row.from_s for row in fewer[1:]]
    counts = [Histogram.decode(row.latency.hdr, row.latency.sum).count for row in fewer if row.latency.hdr]
    assert counts == [row.replied for row in fewer]
    assert sum(row.latency.sum for row in fewer) == 1_000 * 5050


def test_rows_of_two_phases_are_never_merged() -> None:
    rows = [*(_row(second, "ramp") for second in range(1, 9)), *(_row(second) for second in range(9, 30))]
    assert [(row.phase, row.replied) for row in bounded(rows, _merge, 1)] == [("ramp", 8), ("hold", 21)]
