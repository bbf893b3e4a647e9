from __future__ import annotations

import errno
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadkit.measure.board import COUNTERS, STEPS, SUM_CARRY, Board, BoardLayout, Slot
from loadkit.measure.histogram import Histogram, counts_length, highest_of
from loadkit.measure.samples import PhaseSamples, read_histogram, read_worker
from loadkit.measure.tally import Tally, record

_HIGHEST = 10**6
_LAYOUT = BoardLayout(workers=1, phases=4, highest_ns=_HIGHEST)
# What the counters reach in fact: the range is rounded up to whole buckets.
_REACH = highest_of(counts_length(_HIGHEST) - 1)
_STARTS = (1000, 2000, 3000, 4000)


class _Bench:
    """A board of one slot and its tally, with phases that begin at 1,000, 2,000, 3,000 and 4,000."""

    def __init__(self, due_is_sent: bool = False) -> None:
        self.board = Board(_LAYOUT)
        self.slot: Slot = self.board.slots[0]
        self.tally = Tally(self.slot, 64, due_is_sent)
        for index, start in enumerate(_STARTS):
            self.tally.begin_phase(index, start)

    def phases(self) -> tuple[PhaseSamples, ...]:
        self.tally.fold(5000)
        return read_worker(self.board, 0).phases

    def counter(self, name: str) -> list[int]:
        return [phase.counters[name] for phase in self.phases()]

    def close(self) -> None:
        self.board.close()


@pytest.fixture
def bench() -> object:
    bench = _Bench()
    yield bench
    bench.close()


@pytest.mark.parametrize(
    ("intended", "phase"),
    [
        pytest.param(500, 0, id="before the start: a worker may be a little ahead"),
        pytest.param(1000, 0, id="at the start"),
        pytest.param(1999, 0, id="the last of the first"),
        pytest.param(2000, 1, id="the first of the second"),
        pytest.param(3500, 2, id="inside"),
        pytest.param(10**15, 3, id="long after the last began"),
    ],
)
def test_a_message_belongs_to_the_phase_it_was_intended_in(bench: _Bench, intended: int, phase: int) -> None:
    assert bench.tally.phase_of(intended) == phase


def test_before_any_phase_begins_everything_is_the_first_s() -> None:
    board = Board(_LAYOUT)
    assert Tally(board.slots[0], 64).phase_of(10**15) == 0
    board.close()


def test_a_late_reply_counts_where_its_message_was_due(bench: _Bench) -> None:
    bench.tally.due += [1500]
    bench.tally.sent += [1500, 2500]
    bench.tally.replied += [1500, 2500, 4500]
    first = bench.phases()[0]
    assert (first.counters["intended"], first.counters["sent"], first.counters["replied"]) == (1, 1, 1)
    assert (first.counters["sent_bytes"], first.counters["received_bytes"]) == (64, 64)
    # lateness 2,500 - 1,500; latency 4,500 - 1,500; service 4,500 - 2,500
    sums = {name: first.histograms[name].sum_ns for name in ("lateness", "latency", "service")}
    assert sums == {"lateness": 1000, "latency": 3000, "service": 2000}
    assert all(not any(phase.counters.values()) for phase in bench.phases()[1:])


def test_connect_starts_when_intended_and_the_first_byte_at_the_establishment(bench: _Bench) -> None:
    bench.tally.connected += [1100, 1400]
    bench.tally.first_bytes += [1100, 1400, 2400]
    first = bench.phases()[0]
    assert first.counters["opened"] == 1
    assert (first.histograms["connect"].sum_ns, first.histograms["first_byte"].sum_ns) == (300, 1000)


_TIMES = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 3000), st.integers(0, 3000)), max_size=60)


@settings(max_examples=40)
@given(_TIMES, st.lists(st.integers(0, 60), max_size=4))
def test_however_it_is_folded_the_totals_are_those_of_the_messages(
    times: list[tuple[int, int, int]], folds: list[int]
) -> None:
    bench = _Bench()
    tally, expected = bench.tally, Counter[int]()
    latencies: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}
    for number, (intended, late, service) in enumerate(times):
        if number in folds:
            tally.fold(intended)
        phase = max(0, min(3, intended // 1000 - 1))
        expected[phase] += 1
        latencies[phase].append(late + service)
        tally.due.append(intended)
        tally.sent += [intended, intended + late]
        tally.replied += [intended, intended + late, intended + late + service]
    phases = bench.phases()
    for index, phase in enumerate(phases):
        assert [phase.counters[name] for name in ("intended", "sent", "replied")] == [expected[index]] * 3
        assert phase.counters["received_bytes"] == 64 * expected[index]
        whole = Histogram.of(latencies[index], _HIGHEST)
        found = phase.histograms["latency"]
        assert np.array_equal(found.counts, whole.counts)
        assert (found.sum_ns, found.min_ns, found.max_ns) == (whole.sum_ns, whole.min_ns, whole.max_ns)
    bench.close()


def test_in_a_closed_loop_what_is_sent_was_intended() -> None:
    bench = _Bench(due_is_sent=True)
    bench.tally.sent += [1500, 1500, 2500, 2500]
    assert bench.counter("intended") == bench.counter("sent") == [1, 1, 0, 0]
    bench.close()


@pytest.mark.parametrize(
    ("latency", "dropped"),
    [
        pytest.param(-1, 1, id="a clock that went back"),
        pytest.param(0, 0, id="the least"),
        pytest.param(_REACH, 0, id="the greatest"),
        pytest.param(_REACH + 1, 1, id="one too many"),
    ],
)
def test_a_value_that_no_counter_takes_is_counted_as_dropped(bench: _Bench, latency: int, dropped: int) -> None:
    bench.tally.replied += [1500, 1500, 1500 + latency, 1600, 1600, 1605]
    first = bench.phases()[0]
    assert (first.dropped["latency"], first.histograms["latency"].count) == (dropped, 2 - dropped)
    assert first.counters["replied"] == 2  # dropped from the histogram, not from the count
    assert first.histograms["latency"].sum_ns == 5 + (0 if dropped else latency)
    assert first.histograms["latency"].min_ns == (5 if dropped else min(5, latency))


def test_when_every_value_is_dropped_the_histogram_stays_empty(bench: _Bench) -> None:
    bench.tally.replied += [1500, 1500, 1400]
    first = bench.phases()[0]
    assert (first.dropped["latency"], first.histograms["latency"].count) == (1, 0)


def test_folding_leaves_the_sequence_even_and_the_notebook_empty(bench: _Bench) -> None:
    tally = bench.tally
    for number in range(1, 4):
        tally.due.append(1500)
        tally.sent += [1500, 1500]
        tally.replied += [1500, 1500, 1600]
        tally.connected += [1500, 1600]
        tally.first_bytes += [1500, 1600, 1700]
        tally.extra_bytes += 9
        tally.fold(1600)
        assert bench.slot.get("sequence") == 2 * number
        assert [tally.due, tally.sent, tally.replied, tally.connected, tally.first_bytes] == [[]] * 5
        assert tally.extra_bytes == 0


def test_the_sequence_is_odd_while_a_batch_is_folded_in(bench: _Bench) -> None:
    bench.tally.replied += [1, 2]  # not whole rows of three
    with pytest.raises(ValueError, match="reshape"):
        bench.tally.fold(1600)
    assert bench.slot.get("sequence") % 2 == 1


def test_bytes_beside_whole_replies_count_as_received(bench: _Bench) -> None:
    bench.tally.extra_bytes = 9
    bench.tally.replied += [1500, 1500, 1600]
    bench.tally.fold(1700)
    assert bench.counter("received_bytes") == [64 + 9, 0, 0, 0]


def test_rare_counts_go_straight_to_the_board(bench: _Bench) -> None:
    bench.tally.count("failed", 2500)
    bench.tally.count("unsent", 2500, 3)
    bench.tally.error("receive", errno.ECONNRESET, 3500)
    pages = bench.slot.pages
    assert pages[1].counters[COUNTERS.index("failed")] == 1
    assert pages[1].counters[COUNTERS.index("unsent")] == 3
    assert pages[2].errors[STEPS.index("receive"), errno.ECONNRESET] == 1


def test_cpu_time_counts_in_the_phase_it_was_used_in(bench: _Bench) -> None:
    bench.tally.fold_cpu(1500)
    used = sum(i * i for i in range(400_000))
    bench.tally.fold_cpu(2500)
    assert used
    user = [page.counters[COUNTERS.index("cpu_user_ns")] for page in bench.slot.pages]
    system = [page.counters[COUNTERS.index("cpu_system_ns")] for page in bench.slot.pages]
    assert user[1] + system[1] > 0
    assert user[2:] == system[2:] == [0, 0]
    assert bench.slot.get("max_rss_bytes") > 2**20


# Far enough for a value that does not fit into the sum of one batch: 2^52 ns are 52 days.
_FAR = 2**53


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 2**52), st.integers(1, 4096)), min_size=1, max_size=8))
@example([(2**52, 4096)])  # 2^64 in one batch
@example([(2**50, 4095), (2**50, 4095)])  # each is below 2^62, both together are not
def test_a_sum_of_times_stays_exact_beyond_64_bits(batches: list[tuple[int, int]]) -> None:
    board = Board(BoardLayout(workers=1, phases=1, highest_ns=_FAR))
    page = board.slots[0].pages[0]
    for value, times in batches:
        record(page, "latency", np.full(times, value, np.int64))
    found = read_histogram(page, "latency", _FAR)
    head = page.histograms["latency"][0]
    board.close()
    total, count = sum(value * times for value, times in batches), sum(times for _value, times in batches)
    assert (found.sum_ns, found.count) == (total, count)
    assert found.mean_ns == total / count > 0
    assert 0 <= int(head[1]) < SUM_CARRY
