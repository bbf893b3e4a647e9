from __future__ import annotations

import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.memory import Room
from loadkit.run.ramp import Ramp

MS = 1_000_000
GIB = 1 << 30
PLENTY = Room(20 * GIB, 24 * GIB)


def board_of(workers: int = 2) -> Board:
    return Board(BoardLayout(workers, 1, 10**9))


def open_on(board: Board, worker: int, opened: int, asked: int | None = None) -> None:
    """Sets what a worker has opened and settled so far."""
    slot = board.slots[worker]
    slot.pages[0].add("opened", opened - int(slot.get("settled")))
    slot.pages[0].add("asked", (opened if asked is None else asked) - int(slot.get("settled")))
    slot.set("settled", opened)


def test_the_times_of_the_tenths_are_between_two_looks() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 1000 * MS, lambda: PLENTY)
    ramp.look(1000 * MS)
    assert ramp.tenths == []
    open_on(board, 0, 15)
    open_on(board, 1, 10)  # 25 in 100 ms: 4 ms each
    ramp.look(1100 * MS)
    assert ramp.tenths == [40 * MS, 80 * MS]
    ramp.look(1150 * MS)  # nothing new
    open_on(board, 0, 50)
    open_on(board, 1, 50)  # 75 more from 150 ms to 225 ms
    ramp.look(1225 * MS)
    assert ramp.tenths[2:] == [155 * MS, 165 * MS, 175 * MS, 185 * MS, 195 * MS, 205 * MS, 215 * MS, 225 * MS]
    ramp.look(1300 * MS)
    assert len(ramp.tenths) == 10
    assert ramp.is_over(1300 * MS)
    board.close()


def test_the_last_tenth_ends_when_the_workers_say_so() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: PLENTY)
    open_on(board, 0, 90)
    ramp.look(900 * MS)
    open_on(board, 1, 10)
    board.slots[0].set("settled_ns", 890 * MS)
    board.slots[1].set("settled_ns", 1000 * MS)
    ramp.look(1045 * MS)
    assert ramp.tenths == [tenth * 100 * MS for tenth in range(1, 11)]
    board.close()


def test_it_is_over_when_each_has_opened_or_failed() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: PLENTY)
    open_on(board, 0, 50)
    board.slots[1].set("settled", 49)
    assert not ramp.is_over(MS)
    board.slots[1].set("settled", 50)
    assert ramp.is_over(MS)
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
    open_on(board, 0, 20, asked=22)
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
    assert not ramp.is_over(390 * MS)
    assert ramp.is_over(401 * MS)
    board.close()


def test_where_the_machine_does_not_say_what_is_left_it_goes_on() -> None:
    board = board_of()
    ramp = Ramp(board, 100, 0, lambda: None)
    ramp.look(100 * MS)
    assert ramp.stopped is None
    board.close()
