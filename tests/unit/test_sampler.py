"""When rows are taken, and what those of a serve end have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.run.sampler import Sampler
from loadkit.run.serve_rows import ServeRows
from loadkit.run.sights import Sights

S = 10**9


class Spans:
    """A series that notes what its rows are of, in seconds."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    def add(self, from_ns: int, t_ns: int) -> None:
        self.spans.append((from_ns / S, t_ns / S))


@pytest.mark.parametrize(
    ("looks", "end", "spans"),
    [
        pytest.param([0.5, 1, 1.5, 2], 2, [(0, 1), (1, 2)], id="whole seconds"),
        pytest.param([0.9, 1.04, 1.9, 2.1], 2.5, [(0, 1.04), (1.04, 2.1), (2.1, 2.5)], id="looks that come late"),
        pytest.param([9.5, 10], 10.5, [(0, 9.5), (9.5, 10.5)], id="a parent that stood still"),
        pytest.param([], 0.3, [(0, 0.3)], id="less than a second"),
        pytest.param([-0.01, 0], 0, [], id="nothing"),
    ],
)
def test_a_row_is_a_second_or_what_there_was_until_the_next_look(
    looks: list[float], end: float, spans: list[tuple[float, float]]
) -> None:
    series = Spans()
    sampler = Sampler(series)
    for at in looks:
        sampler.look(round(at * S))
    sampler.close(round(end * S))
    assert series.spans == spans


def test_it_says_how_long_it_is_until_the_next_row() -> None:
    sampler = Sampler(Spans(), 5 * S)
    assert sampler.left_s(5 * S) == 1
    sampler.look(round(6.25 * S))
    assert sampler.left_s(round(6.5 * S)) == 0.75
    assert sampler.left_s(9 * S) == 0


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(2, 1, S))
    yield board
    board.close()


@pytest.mark.parametrize("counts_bytes", [True, False])
def test_a_row_of_a_serve_end_has_what_its_workers_did_since_the_last(board: Board, counts_bytes: bool) -> None:
    def serve(times: int) -> None:
        for slot in board.slots:
            for counter, amount in {"opened": 1, "received_bytes": 64, "sent_bytes": 32, "wakeups": 3}.items():
                slot.pages[0].add(counter, times * amount)

    serve(100)  # before: none of them is of the first second
    series = ServeRows(board, counts_bytes)
    for second, times in enumerate((5, 0, 2)):
        serve(times)
        series.add(second * S, (second + 1) * S)
    assert [row.accepted for row in series.rows] == [10, 0, 4]
    assert [row.wakeups for row in series.rows] == [30, 0, 12]
    moved = [(row.received_bytes, row.sent_bytes) for row in series.rows]
    assert moved == ([(640, 320), (0, 0), (256, 128)] if counts_bytes else [(None, None)] * 3)
    assert series.rows[0].t_s <= series.rows[1].t_s <= series.rows[2].t_s


def test_what_conditions_are_about_is_read_once_a_second_and_nothing_else_is(board: Board) -> None:
    for slot in board.slots:
        slot.pages[0].add("replied", 7)
    sights = Sights(board, {0: ["latency"]})
    seen = [sights.look(round(at * S)) for at in (100, 100.9, 101.1, 101.9, 102.1)]
    assert [look is not None for look in seen] == [True, False, True, False, True]
    assert seen[0] is not None
    assert (list(seen[0]), seen[0][0].counters["replied"], list(seen[0][0].histograms)) == ([0], 14, ["latency"])
    assert Sights(board, {}).look(100 * S) is None
