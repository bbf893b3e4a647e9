"""The rows of a series are bounded: a day takes as many as ten minutes."""

from __future__ import annotations

import itertools

import pytest

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import MOST_ROWS, IntervalLatency, IntervalSample, Rows
from loadkit.units import NS_PER_S

_NOTHING = IntervalLatency(None, None, None)


def _row(second: int, phase: int = 1, latency: IntervalLatency = _NOTHING) -> IntervalSample:
    return IntervalSample((second - 1) * NS_PER_S, second * NS_PER_S, phase, 0, second, 1, 0, latency)


def test_ten_minutes_have_a_row_each_second() -> None:
    rows = Rows()
    for second in range(1, MOST_ROWS + 1):
        rows.add(_row(second))
    assert [row.t_ns - row.from_ns for row in rows.by_time()] == [NS_PER_S] * MOST_ROWS


def test_a_day_has_no_more_rows_and_they_add_up() -> None:
    rows, seconds = Rows(), 24 * 3600
    latency = IntervalLatency.of(Histogram.of([1_000, 2_000], 10**6))
    for second in range(1, seconds + 1):
        rows.add(_row(second, latency=latency if second % 600 == 0 else _NOTHING))
        assert len(rows) <= MOST_ROWS
    found = rows.by_time()
    assert (found[0].from_ns, found[-1].t_ns) == (0, seconds * NS_PER_S)
    assert all(one.t_ns == later.from_ns for one, later in itertools.pairwise(found))
    assert sum(row.replied for row in found) == seconds * (seconds + 1) // 2
    assert sum(row.latency.sum for row in found) == 3_000 * seconds // 600
    # 86,400 s in 600 rows are 144 s each. The oldest have 256 s by now, the others 128 s or, the newest, less.
    lengths = [(row.t_ns - row.from_ns) // NS_PER_S for row in found]
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths[:200]) <= {256, 128}
    assert lengths[-1] == 1


def test_rows_of_two_phases_are_never_merged() -> None:
    rows = Rows(most=4)
    for second in range(1, 60):
        rows.add(_row(second, phase=second // 20))
        if second % 20 == 0:
            rows.add(_row(second, phase=second // 20 - 1))  # a late reply of the phase before
    found = rows.by_time()
    assert len(found) == 4
    assert {row.phase for row in found} == {0, 1, 2}
    assert sum(row.replied for row in found) == sum(range(1, 60)) + 20 + 40


@pytest.mark.parametrize("most", [1, 2])
def test_each_phase_keeps_a_row_whatever_the_bound(most: int) -> None:
    rows = Rows(most)
    for second in range(1, 10):
        rows.add(_row(second, phase=second % 3))
    assert {row.phase for row in rows.by_time()} == {0, 1, 2}


def test_two_rows_in_one_have_the_percentiles_of_all_their_values() -> None:
    fast, slow = ([1_000] * 60, [9_000] * 60)
    both = _row(1, latency=IntervalLatency.of(Histogram.of(fast, 10**6))).plus(
        _row(2, latency=IntervalLatency.of(Histogram.of(slow, 10**6)))
    )
    together = IntervalLatency.of(Histogram.of(fast + slow, 10**6))
    assert (both.latency.p50, both.latency.sum, both.latency.hdr) == (1_000, 600_000, together.hdr)
