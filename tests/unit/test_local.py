"""What a look at the board shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.memory import Room
from loadkit.measure.names import PROOFS
from loadkit.run.crew import Look
from loadkit.run.local import look_at


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(3, 2, 10**9))
    yield board
    board.close()


def look(board: Board) -> Look:
    return look_at(board, running=3, has_deaths=False, is_served=True, room=None)


def test_the_connects_of_the_ramp_are_added_up(board: Board) -> None:
    for index, slot in enumerate(board.slots):
        slot.set("settled", 10 + index)
        slot.set("settled_ns", 100 * (3 - index))
        slot.pages[0].add("asked", 20 + index)
        slot.pages[0].add("failed_connects", index)
        slot.pages[1].add("asked", 1000)  # in the hold
    shown = look(board)
    assert (shown.settled, shown.settled_ns, shown.asked, shown.failed) == (33, 300, 63, 3)


def test_the_first_worker_says_how_the_first_connection_went(board: Board) -> None:
    assert look(board).proof == "unknown"
    board.slots[0].set("proved", PROOFS.index("right"))
    assert look(board).proof == "right"


@pytest.mark.parametrize(
    ("states", "finished_ns", "stranded_ns"),
    [
        pytest.param([{}, {}, {}], 0, 0, id="all go on"),
        pytest.param([{"finished_ns": 5}, {"finished_ns": 7}, {}], 0, 0, id="one goes on"),
        pytest.param([{"finished_ns": 5}, {"finished_ns": 7}, {"finished_ns": 6}], 7, 0, id="none does"),
        pytest.param([{"stranded_ns": 5}, {"stranded_ns": 7}, {}], 0, 0, id="one has a connection"),
        pytest.param([{"stranded_ns": 5}, {"stranded_ns": 7}, {"stranded_ns": 6}], 0, 7, id="none has one"),
        pytest.param([{"stranded_ns": 5}, {"finished_ns": 9}, {"stranded_ns": 6}], 0, 6, id="of those that go on"),
        pytest.param(
            [{"stranded_ns": 5, "finished_ns": 9}, {"finished_ns": 8}, {"finished_ns": 7}], 9, 0, id="it had ended"
        ),
    ],
)
def test_it_is_over_when_all_have_finished_and_stranded_when_none_has_a_connection(
    board: Board, states: Sequence[Mapping[str, int]], finished_ns: int, stranded_ns: int
) -> None:
    for slot, state in zip(board.slots, states, strict=True):
        for name, value in state.items():
            slot.set(name, value)
    shown = look(board)
    assert (shown.finished_ns, shown.stranded_ns) == (finished_ns, stranded_ns)


def test_what_else_was_seen_is_in_it(board: Board) -> None:
    shown = look_at(board, running=2, has_deaths=True, is_served=False, room=Room(1, 2))
    assert (shown.running, shown.has_deaths, shown.is_served, shown.room) == (2, True, False, Room(1, 2))
