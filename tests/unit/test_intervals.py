"""The series of a run: what each second brought, and that a long run takes no more memory than its rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.histogram import Histogram
from loadkit.measure.samples import LatencySample
from loadkit.measure.tally import record
from loadkit.run.intervals import Series
from loadkit.units import NS_PER_S

_HIGHEST_NS = 2 * 3600 * NS_PER_S  # a run of an hour: 34,816 counters, 272 KiB


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(2, 4, _HIGHEST_NS))
    yield board
    board.close()


def reply(board: Board, latencies: list[int]) -> None:
    """Each worker has these replies in the hold."""
    for slot in board.slots:
        record(slot.pages[2], "latency", np.array(latencies, np.int64))
        slot.pages[2].add("replied", len(latencies))


def test_a_row_has_the_figures_of_its_own_second(board: Board) -> None:
    series = Series(board)
    first, second = [1_000 * k for k in range(1, 2001)], [5_000_000] * 30
    for at, latencies in enumerate((first, second, []), 1):
        if latencies:
            reply(board, latencies)
        series.look(at * NS_PER_S)
    assert [row.replied for row in series.rows] == [4000, 60, 0]
    whole = Histogram.of(first * 2, _HIGHEST_NS).percentiles((50.0, 99.0))
    found = series.rows[0].latency
    assert (found.p50_ns, found.p99_ns) == (whole[50.0], whole[99.0])
    # The extremes of a second are known to their counter: 2,000,000 lies in one of 1,024 values.
    assert found.max_ns is not None
    assert 2_000_000 <= found.max_ns < 2_001_024
    # 60 replies support a median, and no p99.
    assert series.rows[1].latency.p50_ns == series.rows[1].latency.max_ns
    assert series.rows[1].latency.p99_ns is None
    assert series.rows[2].latency == LatencySample(None, None, None)


def test_a_row_takes_less_than_2_kb_however_far_the_histograms_reach(board: Board) -> None:
    series = Series(board)

    def run(first: int, last: int) -> None:
        for second in range(first, last):
            reply(board, [40_000 + second, 50_000, 9_000_000])
            series.look(second * NS_PER_S)

    tracemalloc.start()
    try:
        run(1, 10)  # the histogram of the last look is there
        before, _ = tracemalloc.get_traced_memory()
        run(10, 60)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(series.rows) == 59
    assert (after - before) / 50 < 2048
