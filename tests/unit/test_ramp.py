from __future__ import annotations

import pytest

from loadkit.measure.board import COUNTERS, Board, BoardLayout
from loadkit.measure.memory import Room
from loadkit.run.ramp import Ramp

MS = 1_000_000
GIB = 1 << 30
PLENTY = Room(20 * GIB, 24 * GIB)


def board_of(workers: int = 2) -> Board:
    return Board(BoardLayout(workers, 1, 10**9))


def open_on(board: Board, worker: int, opened: int, at_ns: int = 0, failed: int = 0) -> None:
    """Sets what a worker has opened so far, and what failed instead, by a time that it notes."""
    slot = board.slots[worker]
    slot.set("settled", opened + failed)
    slot.set("settled_ns", at_ns)
    for counter, value in (("asked", opened + failed), ("failed_connects", failed)):
        slot.pages[0].counters[COUNTERS.index(counter)] = value


def test_between_two_looks_the_connections_opened_evenly() -> None:
    board = board_of()
    open_on(board, 0, 1, 990 * MS)  # the run's first
    ramp = Ramp(board, 100, 1000 * MS, lambda: PLENTY)
    ramp.look(1000 * MS)
    assert ramp.tenths == []
    open_on(board, 0, 16, 1095 * MS)
    open_on(board, 1, 10, 1100 * MS)  # 25 more in 100 ms: 4 ms each
    ramp.look(1120 * MS)
    assert ramp.tenths == [36 * MS, 76 * MS]
    ramp.look(1150 * MS)  # nothing new
    open_on(board, 0, 50, 1220 * MS)
    open_on(board, 1, 50, 1224 * MS)  # 74 more from 150 ms to 224 ms
    ramp.look(1240 * MS)
    assert ramp.tenths[2:] == [154 * MS, 164 * MS, 174 * MS, 184 * MS, 194 * MS, 204 * MS, 214 * MS, 224 * MS]
    ramp.look(1300 * MS)
    assert len(ramp.tenths) == 10
    assert ramp.is_over(1300 * MS)
    board.close()


@pytest.mark.parametrize("every_ms", [5, 50, 130])
def test_the_times_of_the_tenths_are_those_of_the_workers_whenever_the_parent_looks(every_ms: int) -> None:
    board = board_of()
    open_on(board, 0, 1)
    ramp = Ramp(board, 11, 0, lambda: PLENTY)
    due = [(250 * k, k % 2) for k in range(1, 11)]  # 4/s, in turn
    opened = [1, 0]
    for now in range(0, 2500 + every_ms, every_ms):
        while due and due[0][0] <= now:
            at, worker = due.pop(0)
            opened[worker] += 1
            open_on(board, worker, opened[worker], at * MS)
        ramp.look(now * MS)
    assert ramp.tenths == [250 * tenth * MS for tenth in range(1, 11)]
    board.close()


def test_connects_that_failed_fill_no_tenth() -> None:
    board = board_of()
    open_on(board, 0, 1)
    ramp = Ramp(board, 100, 0, lambda: PLENTY)
    open_on(board, 0, 45, 1000 * MS, failed=5)
    open_on(board, 1, 44, 1000 * MS, failed=6)
    ramp.look(1000 * MS)
    assert len(ramp.tenths) == 8
    assert ramp.is_over(1000 * MS)
    board.close()


def test_it_is_over_when_each_has_opened_or_failed() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: PLENTY)
    board.slots[0].set("settled", 50)
    board.slots[1].set("settled", 49)
    ramp.look(MS)
    assert not ramp.is_over(MS)
    board.slots[1].set("settled", 50)
    ramp.look(MS)
    assert ramp.is_over(MS)
    board.close()


def test_the_last_connection_settles_in_its_tenth_and_not_behind_a_look() -> None:
    board = board_of()
    open_on(board, 0, 1)
    ramp = Ramp(board, 20, 0, lambda: PLENTY)
    open_on(board, 0, 19, 900 * MS)
    ramp.look(900 * MS)
    open_on(board, 0, 20, 1000 * MS)
    assert not ramp.is_over(1000 * MS)  # not looked at yet: its tenth has no time
    ramp.look(1000 * MS)
    assert ramp.is_over(1000 * MS)
    assert ramp.tenths[-1] == 1000 * MS
    board.close()


@pytest.mark.parametrize(
    ("free", "total", "stops"),
    [
        (1 * GIB, 24 * GIB, True),  # a twentieth would be 1.2 GiB; a GiB is enough
        (1 * GIB + GIB // 8, 24 * GIB, False),
        (GIB // 24, GIB, True),  # a twentieth: 51 MiB, but 64 MiB at least
        (GIB // 15, GIB, False),
        (25 << 20, 100 << 20, True),  # a container: a quarter
        (26 << 20, 100 << 20, False),
    ],
)
def test_below_the_margin_no_more_are_opened(free: int, total: int, stops: bool) -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: Room(free - 1, total))
    ramp.look(100 * MS)
    assert (ramp.stopped is not None) is stops
    if ramp.stopped:
        assert ramp.stopped.startswith("memory: ")
    board.close()


def test_after_that_it_waits_for_those_begun_and_for_all_to_have_heard() -> None:
    board, left = board_of(), [20 * GIB]
    ramp = Ramp(board, 100, 0, lambda: Room(left[0], 24 * GIB))
    open_on(board, 0, 20)
    board.slots[0].pages[0].add("asked", 2)
    ramp.look(100 * MS)
    assert ramp.stopped is None
    left[0] = 10 << 20
    ramp.look(150 * MS)  # looked for memory 50 ms ago
    assert ramp.stopped is None
    ramp.look(200 * MS)
    assert ramp.stopped == "memory: 10 MiB of 24 GiB were left, and 1 GiB are kept free"
    left[0] = 20 * GIB  # what it said it stays with
    ramp.look(900 * MS)
    assert ramp.stopped
    assert not ramp.is_over(900 * MS)  # two are still connecting
    board.slots[0].set("settled", 22)
    ramp.look(900 * MS)
    assert not ramp.is_over(390 * MS)
    assert ramp.is_over(401 * MS)
    board.close()


def test_where_the_machine_does_not_say_what_is_left_it_goes_on() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: None)
    ramp.look(100 * MS)
    assert ramp.stopped is None
    board.close()
