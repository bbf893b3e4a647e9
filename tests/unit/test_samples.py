from __future__ import annotations

import errno
from collections.abc import Iterator

import numpy as np
import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.names import COUNTERS, HISTOGRAMS, STATE, OwnError
from loadkit.measure.samples import PhaseSamples, merge, read_board, read_histogram, read_totals, read_worker
from loadkit.measure.tally import Tally

_HIGHEST = 10**9
_LAYOUT = BoardLayout(workers=2, phases=2, highest_ns=_HIGHEST)


@pytest.fixture
def board() -> Iterator[Board]:
    """Two workers, two phases (0 … 999 and 1,000 on), 30 replies: worker 0 has 10 a phase, worker 1 has 5."""
    board = Board(_LAYOUT)
    for index, slot in enumerate(board.slots):
        tally = Tally(slot, 64)
        tally.begin_phase(0, 0)
        tally.begin_phase(1, 1000)
        for intended in (500, 1500):
            for number in range(10 // (index + 1)):
                tally.replied += [intended, intended, intended, intended + 100 * (number + 1)]
        tally.fold()
        tally.error("connect", errno.ECONNREFUSED, 500)
        tally.error("receive", OwnError.WRONG_BYTES, 1500 if index else 500)
        slot.set("open", 7 + index)
    yield board
    board.close()


def _figures(samples: PhaseSamples) -> tuple[object, ...]:
    """Everything of the samples as plain values, to compare."""
    histograms = {
        name: (tuple(np.flatnonzero(one.counts)), one.count, one.sum_ns, one.min_ns, one.max_ns)
        for name, one in samples.histograms.items()
    }
    return dict(samples.counters), dict(samples.errors), histograms, dict(samples.dropped)


def test_every_slot_is_read_under_the_names_of_the_board(board: Board) -> None:
    workers = read_board(board)
    assert [worker.index for worker in workers] == [0, 1]
    assert [worker.state["open"] for worker in workers] == [7, 8]
    assert tuple(workers[0].state) == STATE
    for worker in workers:
        for phase in worker.phases:
            assert tuple(phase.counters) == COUNTERS
            assert tuple(phase.histograms) == tuple(phase.dropped) == HISTOGRAMS


def test_errors_are_read_by_step_and_name(board: Board) -> None:
    first, second = read_worker(board, 1).phases
    assert first.errors == {("connect", "ECONNREFUSED"): 1}
    assert second.errors == {("receive", "WRONG_BYTES"): 1}


def test_what_is_read_does_not_change_with_the_board(board: Board) -> None:
    before = read_worker(board, 0).phases[0]
    was = _figures(before)
    board.slots[0].pages[0].add("sent", 5)
    board.slots[0].pages[0].histograms["latency"][1][:] = 0
    assert _figures(before) == was


def test_a_histogram_is_read_with_its_exact_ends(board: Board) -> None:
    histogram = read_histogram(board.slots[0].pages[0], "latency", _HIGHEST)
    # 100, 200, … 1,000
    assert (histogram.count, histogram.sum_ns, histogram.min_ns, histogram.max_ns) == (10, 5500, 100, 1000)
    assert read_histogram(board.slots[0].pages[0], "connect", _HIGHEST).count == 0


def test_the_totals_are_the_sum_over_workers_and_phases(board: Board) -> None:
    totals = read_totals(board)
    assert totals["replied"] == 30
    phases = [phase for worker in read_board(board) for phase in worker.phases]
    assert totals == {name: sum(phase.counters[name] for phase in phases) for name in COUNTERS}


def test_merging_adds_up_whatever_the_order(board: Board) -> None:
    phases = [phase for worker in read_board(board) for phase in worker.phases]
    whole = merge(phases, _HIGHEST)
    assert whole.counters["replied"] == 30
    assert whole.errors == {("connect", "ECONNREFUSED"): 2, ("receive", "WRONG_BYTES"): 2}
    # twice 100 … 1,000 and twice 100 … 500: 2 x 5,500 + 2 x 1,500
    assert (whole.histograms["latency"].count, whole.histograms["latency"].sum_ns) == (30, 14_000)
    assert _figures(merge(reversed(phases), _HIGHEST)) == _figures(whole)
    halves = [merge(phases[:2], _HIGHEST), merge(phases[2:], _HIGHEST)]
    assert _figures(merge(halves, _HIGHEST)) == _figures(whole)


def test_merging_nothing_gives_zeros_and_adds_nothing(board: Board) -> None:
    nothing = merge((), _HIGHEST)
    assert set(nothing.counters.values()) == set(nothing.dropped.values()) == {0}
    assert nothing.errors == {}
    one = read_worker(board, 0).phases[0]
    assert _figures(merge([nothing, one], _HIGHEST)) == _figures(merge([one], _HIGHEST)) == _figures(one)


def test_dropped_values_add_up_too(board: Board) -> None:
    for index, slot in enumerate(board.slots):
        slot.pages[0].histograms["service"][0][4] = 3 + index
    whole = merge((worker.phases[0] for worker in read_board(board)), _HIGHEST)
    assert whole.dropped["service"] == 7
    assert whole.dropped["latency"] == 0
