"""Figures of a run that goes on: at its end they are those of its record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.names import COUNTERS
from loadkit.measure.samples import PhaseSamples
from loadkit.measure.so_far import SoFar, read_so_far, sum_of
from loadkit.report.counts import NO_SETUP
from loadkit.report.figures import FIGURES, figure_named
from loadkit.report.record import OF_A_SETUP
from loadkit.report.selector import read
from loadkit.report.so_far import WAYS, Stretch
from tests.golden.made_up import (
    HIGHEST_NS,
    MS,
    S,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    worker,
)


def so_far(*pages: PhaseSamples) -> SoFar:
    """The same phases, as the board shows them."""
    return sum_of(
        SoFar(one.counters, sum(one.errors.values()), {name: one.histograms[name] for name in WAYS}, one.dropped)
        for one in pages
    )


HOLDS = {
    "all came back": exchanged([k * MS for k in range(1, 2_001)]),
    "a few": exchanged([MS, 2 * MS]),
    "none": page(),
    "some were lost": exchanged(
        [MS] * 2_000, errors={("receive", "ECONNRESET"): 3}, intended=40, sent=30, failed=20, unanswered=10, unsent=10
    ),
    "one in a thousand was lost": exchanged([MS] * 9_990, intended=10, sent=10, failed=10),
    "all were lost": page(
        dict.fromkeys(("lateness", "held"), [0] * 100_000),
        intended=100_000,
        sent=100_000,
        failed=100_000,
        errors={("receive", "TIMEOUT"): 9},
    ),
    "some were out of range": exchanged([MS] * 2_000, dropped={"latency": 40}),
}


@pytest.mark.parametrize("name", HOLDS)
def test_at_its_end_a_run_has_the_figures_of_its_record(name: str) -> None:
    first, hold = ramp(100, asked=102, failed_connects=2), HOLDS[name]
    record = made_up_record(made_up_plan(400.0), made_up_samples(worker(0, first, page(), hold, page())))
    times = [figure_named(f"{time}.p{part}") for time in WAYS for part in ("50", "90", "99", "99.99")]
    for figure in (*FIGURES.values(), *times):
        # Errors of a record are those of the ramp too, and connects have a time of their own.
        if figure.so_far is None or figure.name in ("errors", "connects_per_s"):
            continue
        if figure.time in OF_A_SETUP:
            assert read(record, figure.name).reason == NO_SETUP
            continue
        is_setup = figure.about == "connects" or figure.time == "first_byte"
        stretch = Stretch(so_far(first, hold) if is_setup else so_far(hold), 10 * S)
        found, known = figure.so_far(stretch), read(record, figure.name)
        assert (found.value, found.is_never) == (known.value, known.is_never), figure.name


def test_the_figures_that_are_known_at_the_end_alone() -> None:
    unknown = {name for name, figure in FIGURES.items() if figure.so_far is None}
    assert unknown == {"unanswered"}


def test_connects_per_second_are_those_of_the_stretch() -> None:
    reader = FIGURES["connects_per_s"].so_far
    assert reader
    assert reader(Stretch(so_far(page(window_opened=300)), 2 * S)).value == 150


def test_a_mean_has_what_is_late_with_the_bound_and_is_unknown_if_one_is_lost() -> None:
    reader = figure_named("latency.mean").so_far
    assert reader
    came = so_far(exchanged([MS] * 6 + [3 * MS] * 2))
    assert reader(Stretch(came, S)).value == 1.5 * MS
    assert reader(Stretch(came, S, late=4, bound_ns=6 * MS)).value == 3 * MS  # 36 ms of 12
    lost = reader(Stretch(so_far(exchanged([MS] * 6, intended=1, sent=1, failed=1)), S))
    assert (lost.value, lost.is_never) == (None, True)


def test_what_is_under_way_for_longer_than_the_bound_is_late() -> None:
    reader = figure_named("latency.p90").so_far
    assert reader
    came = so_far(exchanged([MS] * 100))
    assert reader(Stretch(came, S)).value == MS
    assert reader(Stretch(came, S, late=11)).value == MS  # 111 in all: the 100th
    assert reader(Stretch(came, S, late=12)).is_never  # 112: the 101st


def test_one_of_several_stretches_supports_a_percentile_with_few_values() -> None:
    reader = figure_named("latency.p99").so_far
    assert reader
    came = so_far(exchanged([MS] * 5))
    assert reader(Stretch(came, S)).value is None
    assert reader(Stretch(came, S, is_single=True)).value == MS


def test_more_may_fail_in_a_stretch_than_falls_due_in_it() -> None:
    reader = FIGURES["error_ratio"].so_far
    assert reader
    assert reader(Stretch(so_far(page(failed=9)), S)).value == 1
    assert reader(Stretch(so_far(page()), S)).value is None


def test_what_came_since_is_the_difference() -> None:
    early, late = (
        so_far(exchanged([MS] * 10)),
        so_far(exchanged([MS] * 10 + [5 * MS] * 7, intended=1, sent=1, failed=1)),
    )
    came = late.since(early)
    assert (came.counters["intended"], came.counters["failed"]) == (8, 1)
    latency = came.histograms["latency"]
    assert (latency.count, latency.sum_ns) == (7, 35 * MS)
    assert early.plus(came).histograms["latency"].count == 17


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(3, 2, HIGHEST_NS))
    yield board
    board.close()


def test_a_phase_is_read_off_all_slots_of_the_board(board: Board) -> None:
    for index, slot in enumerate(board.slots):
        slot.pages[1].add("intended", 10 + index)
        slot.pages[1].add_error("receive", 104, index)
        slot.pages[0].add("intended", 1_000)
    found = read_so_far(board, 1, ["latency"])
    assert (found.counters["intended"], found.errors) == (33, 3)
    assert set(found.counters) == set(COUNTERS)
    assert found.histograms.keys() == found.dropped.keys() == {"latency"}
    assert found.histograms["latency"].count == 0
