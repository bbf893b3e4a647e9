"""The compiled core's board: its names, its histograms and their arithmetic."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadkit.engine import base, probes
from loadkit.engine.aio import echo, outbox, pauses, serving, wakeups
from loadkit.engine.compiled import SHARED, matches_board, matches_options, native_missing
from loadkit.measure import tally, tcp_watch
from loadkit.measure.board import SUM_CARRY
from loadkit.measure.buckets import counts_length, highest_of, index_of, lowest_of
from loadkit.measure.names import COUNTERS, HISTOGRAMS
from loadkit.plan.pacing import LinearPace
from loadkit.units import NS_PER_S
from tests.engine.conftest import LOOPBACK, Blast, Server

from .by_hand import (
    Core,
    _core,
    paced,
)

pytestmark = pytest.mark.slow


def test_the_core_names_the_words_of_the_board_as_it_does() -> None:
    assert matches_board()


@pytest.mark.parametrize("name", ["BLAST_ROWS", "PHASE_ROWS", "ROUTE_ROWS", "SERVE_ROWS"])
@pytest.mark.parametrize(
    "change", [lambda names: names[1:], lambda names: (*names, "colour")], ids=["one less", "one more"]
)
def test_a_core_built_for_other_options_is_not_used(
    name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, name, change(getattr(_core, name)))
    assert not matches_options()
    monkeypatch.delattr(_core, name)
    assert native_missing()


@pytest.mark.parametrize("name", SHARED)
def test_a_core_built_for_another_board_is_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = getattr(_core, name)
    monkeypatch.setattr(_core, name, own + 1 if isinstance(own, int) else own[::-1])
    assert not matches_board()
    assert native_missing()
    monkeypatch.delattr(_core, name)
    assert not matches_board()


# What the engines have in Python and in C, and whose figures are compared.
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("STANDSTILL_NS", pauses.STANDSTILL_NS),
        ("REMEMBERED", pauses._REMEMBERED),
        ("REMEMBERED", tally._STANDSTILLS),
        ("BEAT_NS", pauses.BEAT_NS),
        ("GAP_NS", pauses._GAP_NS),
        ("GAPS", pauses._GAPS),
        ("EDGE_NS", outbox._EDGE_NS),
        ("MOST_WAITING", outbox._MOST_WAITING),
        ("CAME_BYTES", base.CAME_BYTES),
        ("TCP_WATCHED", tcp_watch.MOST_WATCHED),
        ("TCP_LOOKS", tcp_watch.LOOKS),
        ("BATCH", wakeups._BATCH),
        ("ACCEPTS_A_TURN", serving._ACCEPTS_A_TURN),
        ("IDLE_A_TURN", echo._IDLE_A_TURN),
        ("HELLO_BYTES", probes.HELLO_BYTES),
        ("MOST_PROBES", probes._MOST_PROBES),
        ("MACHINE_KEY_BYTES", probes._KEY_BYTES),
    ],
)
def test_a_bound_is_the_same_in_every_engine(name: str, own: int) -> None:
    assert getattr(_core, name) == own


_HIGHEST_NS = 3600 * NS_PER_S


@settings(deadline=None, max_examples=150)
@given(age_ns=st.one_of(st.integers(0, 100_000), st.integers(0, 2**32), st.integers(0, _HIGHEST_NS - 10**9)))
@example(2047)
@example(2048)
@example(2**41 + 2**20)
def test_a_value_is_in_the_counter_that_the_formula_says(age_ns: int) -> None:
    # One message, due that long ago.
    pace = LinearPace(0, 4 * _HIGHEST_NS, 0.5 / (4 * _HIGHEST_NS / NS_PER_S), 0.5 / (4 * _HIGHEST_NS / NS_PER_S))
    assert pace.total() == 1
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1], highest_ns=_HIGHEST_NS) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - age_ns)
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            head, counts = core.slot.pages[1].histograms["lateness"]
            value = int(head[1])
            assert value >= age_ns
            assert head.tolist() == [1, value, value, value, 0, 0]
            [counter] = np.nonzero(counts)[0]
            assert counts[counter] == 1
            assert counter == index_of(np.array([value], np.int64))[0]
            assert lowest_of(int(counter)) <= value <= highest_of(int(counter))


def test_a_value_beyond_the_histogram_is_counted_as_dropped() -> None:
    highest_ns = 10 * NS_PER_S
    pace = LinearPace(0, 3600 * NS_PER_S, 0.0001, 0.0001)
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1], highest_ns=highest_ns) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - 1800 * NS_PER_S)
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            phase = core.phase(1)
    assert phase.dropped["lateness"] == 1
    assert phase.histograms["lateness"].count == 0


def test_a_sum_of_times_is_carried_before_it_overflows() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1]) as core:
            head, _counts = core.slot.pages[0].histograms["connect"]
            head[:] = [1, SUM_CARRY - 1, 0, 0, 0, 3]  # a count, and nearly another carry
            core.open_one(listener)
            took_ns, carries = int(head[3]), int(head[5])
            found = core.phase(0).histograms["connect"]
    assert took_ns > 0
    assert carries == 4
    assert found.sum_ns == 4 * SUM_CARRY - 1 + took_ns > 2**63


def test_every_histogram_of_a_run_adds_up_counter_by_counter(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="20", messages="5000", lifetime="5ms", depth="4")
    blasting.end_ramp()
    blasting.end()
    for page in blasting.board.slots[0].pages:
        counters = dict(zip(COUNTERS, page.counters.tolist(), strict=True))
        for name in HISTOGRAMS:
            head, counts = page.histograms[name]
            assert len(counts) == counts_length(blasting.plan.load.highest_ns)
            count, total, low, high, dropped, carry = head.tolist()
            used = np.nonzero(counts)[0].tolist()
            assert counts.sum() == count
            assert dropped == carry == 0
            if not used:
                assert (count, total, low, high) == (0, 0, 0, 0)
                continue
            assert [used[0], used[-1]] == index_of(np.array([low, high], np.int64)).tolist()
            assert sum(lowest_of(index) * int(counts[index]) for index in used) <= total
            assert sum(highest_of(index) * int(counts[index]) for index in used) >= total
        assert page.histograms["latency"][0][0] == page.histograms["service"][0][0] == counters["replied"]
        assert page.histograms["batch"][0][0] == counters["wakeups"]
        assert page.histograms["batch"][0][1] == counters["events"]
        assert page.histograms["connect"][0][0] == counters["opened"]
