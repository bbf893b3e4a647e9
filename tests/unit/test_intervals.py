"""The series of a run: what each second brought to each phase."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency, IntervalSample, Rows
from loadkit.measure.tally import record
from loadkit.run.intervals import Series
from loadkit.run.sampler import Sampler
from loadkit.units import NS_PER_S

_HIGHEST_NS = 2 * 3600 * NS_PER_S  # a run of an hour: 34,816 counters, 272 KiB
_RAMP, _WARM_UP, _HOLD, _DRAIN = range(4)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(2, 4, _HIGHEST_NS))
    yield board
    board.close()


def reply(board: Board, latencies: list[int], phase: int = _HOLD) -> None:
    """Each worker has these replies in the phase."""
    for slot in board.slots:
        record(slot.pages[phase], "latency", np.array(latencies, np.int64))
        slot.pages[phase].add("replied", len(latencies))


def enter(board: Board, phase: int) -> None:
    for slot in board.slots:
        slot.set("phase", phase)


def whole(rows: list[IntervalSample]) -> Histogram:
    """The latencies of rows, put together again."""
    total = Histogram.empty(_HIGHEST_NS)
    for row in rows:
        if row.latency.hdr:
            total = total.merge(Histogram.decode(row.latency.hdr, row.latency.sum))
    return total


def test_a_row_has_the_figures_of_its_own_second(board: Board) -> None:
    series = Series(board)
    sampler = Sampler(series)
    enter(board, _HOLD)
    first, second = [1_000 * k for k in range(1, 2001)], [5_000_000] * 30
    for at, latencies in enumerate((first, second, []), 1):
        if latencies:
            reply(board, latencies)
        sampler.look(at * NS_PER_S)
    rows = series.rows.by_time()
    assert [(row.from_ns, row.replied) for row in rows] == [(0, 4000), (NS_PER_S, 60), (2 * NS_PER_S, 0)]
    of_all = Histogram.of(first * 2, _HIGHEST_NS)
    found = rows[0].latency
    assert (found.p50, found.p99, found.sum) == (*of_all.percentiles((50.0, 99.0)).values(), of_all.sum_ns)
    assert (whole([rows[0]]).counts == of_all.counts).all()
    # The extremes of a second are known to their counter: 2,000,000 lies in one of 1,024 values.
    assert found.max is not None
    assert 2_000_000 <= found.max < 2_001_024
    # 60 replies support a median, and no p99.
    assert rows[1].latency.p50 == rows[1].latency.max
    assert rows[1].latency.p99 is None
    assert rows[2].latency == IntervalLatency(None, None, None)
    assert series.replies_per_s() == 0


def test_a_row_has_the_connections_of_all_workers_that_are_open_at_its_end(board: Board) -> None:
    series = Series(board)
    sampler = Sampler(series)
    enter(board, _RAMP)
    for at, count in enumerate((40, 50, 10), 1):
        for slot in board.slots:
            slot.set("open", count)
        sampler.look(at * NS_PER_S)
    rows = series.rows.by_time()
    assert [row.open for row in rows] == [80, 100, 20]
    # What is open is not added up over time.
    assert rows[0].plus(rows[1]).plus(rows[2]).open == 100


def test_each_phase_to_which_something_happened_has_a_row_of_its_own(board: Board) -> None:
    series = Series(board)
    sampler = Sampler(series)
    enter(board, _WARM_UP)
    reply(board, [1_000], _WARM_UP)
    sampler.look(NS_PER_S)
    enter(board, _HOLD)
    reply(board, [2_000] * 3, _HOLD)
    reply(board, [9_000], _WARM_UP)  # due in the warm-up, and its reply came in the hold
    sampler.look(2 * NS_PER_S)
    sampler.look(3 * NS_PER_S)
    rows = [(row.t_ns // NS_PER_S, row.phase, row.replied) for row in series.rows.by_time()]
    assert rows == [(1, _WARM_UP, 2), (2, _WARM_UP, 2), (2, _HOLD, 6), (3, _HOLD, 0)]
    assert series.last is not None
    assert (series.last.t_ns, series.last.phase) == (3 * NS_PER_S, _HOLD)


def test_wake_ups_are_counted_in_each_row_or_in_none(board: Board) -> None:
    with contextlib.closing(Board(BoardLayout(1, 1, _HIGHEST_NS))) as serve:
        series = Series(board, serve)
        sampler = Sampler(series)
        for second, phase in ((1, _WARM_UP), (2, _HOLD)):
            enter(board, phase)
            reply(board, [1_000], _WARM_UP)
            board.slots[0].pages[phase].add("wakeups", 5)
            serve.slots[0].pages[0].add("wakeups", 7)
            sampler.look(second * NS_PER_S)
    rows = [(row.phase, row.wakeups, row.serve_wakeups) for row in series.rows.by_time()]
    assert rows == [(_WARM_UP, 5, 7), (_WARM_UP, 0, 0), (_HOLD, 5, 7)]


def test_what_tcp_did_is_of_each_second_and_null_where_it_is_not_watched(board: Board) -> None:
    series = Series(board)
    sampler = Sampler(series)
    enter(board, _HOLD)
    for second, retransmits in ((1, 0), (2, 0), (3, 4)):
        page = board.slots[0].pages[_HOLD]
        page.add("tcp_samples", 2)
        page.add("tcp_cwnd", 20 * second)
        if second > 1:
            page.add("tcp_watched", second == 2)
            page.add("tcp_retransmits", retransmits)
        sampler.look(second * NS_PER_S)
    rows = series.rows.by_time()
    assert [(row.tcp_samples, row.tcp_cwnd, row.retransmits) for row in rows] == [(2, 20, None), (2, 40, 0), (2, 60, 4)]
    assert [one.plus(rows[2]).retransmits for one in rows[:2]] == [4, 4]
    assert rows[0].plus(rows[1]).tcp_cwnd == 60


def test_what_the_host_took_is_of_each_second_and_merged_by_ticks(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([{"idle": 1_000, "steal": 0}, {"idle": 1_200, "steal": 0}, {"idle": 1_250, "steal": 150}, {}])
    monkeypatch.setattr("loadkit.run.intervals.cpu_ticks", lambda: next(looks))
    series = Series(board)
    sampler = Sampler(series)
    enter(board, _HOLD)
    for second in (1, 2, 3):
        sampler.look(second * NS_PER_S)
    rows = series.rows.by_time()
    # The third look finds nothing, as where /proc is not mounted.
    assert [(row.cpu_ticks, row.stolen_ticks) for row in rows] == [(200, 0), (200, 150), (0, 0)]
    assert (rows[0].plus(rows[1]).cpu_ticks, rows[0].plus(rows[1]).stolen_ticks) == (400, 150)


def test_the_rows_of_a_phase_add_up_to_the_phase(board: Board) -> None:
    """However many seconds a run has: fewer rows, and no reply less."""
    series = Series(board)
    sampler = Sampler(series)
    series.rows = Rows(most=20)
    seconds = 50
    for second in range(1, seconds + 1):
        phase = _RAMP if second <= 5 else _HOLD
        enter(board, phase)
        reply(board, [second * 1_000, 7 * second], phase)
        for slot in board.slots:
            slot.pages[phase].add("opened")
            slot.pages[phase].add_error("receive", 104)
        sampler.look(second * NS_PER_S)
    rows = series.rows.by_time()
    assert len(rows) == 20
    for phase, count in ((_RAMP, 5), (_HOLD, seconds - 5)):
        of_phase = [row for row in rows if row.phase == phase]
        assert [sum(getattr(row, name) for row in of_phase) for name in ("replied", "opened", "errors")] == [
            4 * count,
            2 * count,
            2 * count,
        ]
        latency = whole(of_phase)
        on_board = sum((slot.pages[phase].histograms["latency"][1] for slot in board.slots), np.zeros(1, np.int64))
        assert (latency.counts == on_board).all()
        assert latency.sum_ns == sum(int(slot.pages[phase].histograms["latency"][0][1]) for slot in board.slots)


def test_a_row_takes_a_few_kb_however_far_the_histograms_reach(board: Board) -> None:
    series = Series(board)
    sampler = Sampler(series)

    def run(first: int, last: int) -> None:
        for second in range(first, last):
            reply(board, [40_000 + second, 50_000, 9_000_000])
            sampler.look(second * NS_PER_S)

    tracemalloc.start()
    try:
        run(1, 10)  # what a look takes is there
        before, _ = tracemalloc.get_traced_memory()
        run(10, 60)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(series.rows) == 118  # 59 of the hold, and of the ramp in which the workers say they are
    assert (after - before) / 50 < 4096
