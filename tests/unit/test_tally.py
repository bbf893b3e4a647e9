from __future__ import annotations

import errno
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadkit.measure.board import SUM_CARRY, Board, BoardLayout, Slot
from loadkit.measure.buckets import counts_length, highest_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import COUNTERS, STEPS
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
        self.tally.fold()
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


def counted(phase: PhaseSamples) -> dict[str, int]:
    """The counters that are not 0."""
    return {name: value for name, value in phase.counters.items() if value}


def sums(phase: PhaseSamples, *names: str) -> tuple[int, ...]:
    return tuple(phase.histograms[name].sum_ns for name in names)


def test_a_late_reply_counts_where_its_message_was_due_and_the_rates_where_it_came(bench: _Bench) -> None:
    bench.tally.due += [1500]
    bench.tally.sent += [1500, 2100, 2500]
    bench.tally.replied += [1500, 2100, 2500, 4500]
    first, *others = bench.phases()
    # lateness 2,100 - 1,500; held 2,500 - 2,100; service 4,500 - 2,500; latency is all of them
    assert sums(first, "lateness", "held", "service", "latency") == (600, 400, 2000, 3000)
    assert counted(first) == {"intended": 1, "sent": 1, "replied": 1}
    assert [counted(phase) for phase in others] == [
        {"sent_bytes": 64, "window_sent": 1},
        {},
        {"received_bytes": 64, "window_replied": 1},
    ]


def test_an_exchange_across_an_edge_is_a_reply_of_one_phase_and_a_message_of_the_next() -> None:
    bench = _Bench(due_is_sent=True)
    bench.tally.exchanges += [1900, 2100]
    first, second, *_others = bench.phases()
    assert counted(first) == {"replied": 1}
    happened = {"sent_bytes": 64, "received_bytes": 64, "window_sent": 1, "window_replied": 1}
    assert counted(second) == {"intended": 1, "sent": 1, **happened}
    assert sums(first, "latency", "service") == (200, 200)
    bench.close()


def test_an_opening_message_is_bytes_and_no_message(bench: _Bench) -> None:
    bench.tally.openings += [1500, 2500, 2600]
    assert [counted(phase) for phase in bench.phases()] == [{"sent_bytes": 64}, {"sent_bytes": 128}, {}, {}]


def test_connect_starts_when_intended_and_the_first_byte_at_the_establishment(bench: _Bench) -> None:
    bench.tally.connected += [1100, 1400]
    bench.tally.first_bytes += [1100, 1400, 2400]
    first = bench.phases()[0]
    assert first.counters["opened"] == 1
    assert (first.histograms["connect"].sum_ns, first.histograms["first_byte"].sum_ns) == (300, 1000)


def test_a_connection_counts_in_the_rate_of_the_phase_that_it_opened_in(bench: _Bench) -> None:
    bench.tally.connected += [1900, 2100, 2200, 2300]
    phases = bench.phases()
    assert [phase.counters["opened"] for phase in phases] == [1, 1, 0, 0]
    assert [phase.counters["window_opened"] for phase in phases] == [0, 2, 0, 0]


# intended, lateness, held, service
_TIMES = st.lists(
    st.tuples(st.integers(0, 6000), st.integers(0, 1500), st.integers(0, 1500), st.integers(0, 3000)), max_size=60
)


def _phase_at(at: int) -> int:
    return max(0, min(3, at // 1000 - 1))


@settings(max_examples=40)
@given(_TIMES, st.lists(st.integers(0, 60), max_size=4))
def test_however_it_is_folded_the_totals_are_those_of_the_messages(
    times: list[tuple[int, int, int, int]], folds: list[int]
) -> None:
    bench = _Bench()
    tally = bench.tally
    due, sent, replied = Counter[int](), Counter[int](), Counter[int]()
    values: dict[str, list[list[int]]] = {
        name: [[], [], [], []] for name in ("lateness", "held", "service", "latency", "disturbed")
    }
    for number, (intended, late, held, service) in enumerate(times):
        if number in folds:
            tally.fold()
        place, latency = _phase_at(intended), late + held + service
        due[place] += 1
        sent[_phase_at(intended + late + held)] += 1
        replied[_phase_at(intended + latency)] += 1
        for name, value in (("lateness", late), ("held", held), ("service", service), ("latency", latency)):
            values[name][place].append(value)
        if 10 * late > latency:
            values["disturbed"][place].append(latency)
        tally.due.append(intended)
        tally.sent += [intended, intended + late, intended + late + held]
        tally.replied += [intended, intended + late, intended + late + held, intended + latency]
    for index, phase in enumerate(bench.phases()):
        assert [phase.counters[name] for name in ("intended", "sent", "replied")] == [due[index]] * 3
        assert [phase.counters[name] for name in ("window_sent", "sent_bytes")] == [sent[index], 64 * sent[index]]
        assert [phase.counters[name] for name in ("window_replied", "received_bytes")] == [
            replied[index],
            64 * replied[index],
        ]
        assert phase.counters["stood"] == 0
        for name, of_phases in values.items():
            whole, found = Histogram.of(of_phases[index], _HIGHEST), phase.histograms[name]
            assert np.array_equal(found.counts, whole.counts)
            assert (found.sum_ns, found.min_ns, found.max_ns) == (whole.sum_ns, whole.min_ns, whole.max_ns)
    bench.close()


def test_in_a_closed_loop_what_is_sent_was_intended_and_nothing_is_late_or_held() -> None:
    bench = _Bench(due_is_sent=True)
    bench.tally.sent += [1500, 1500, 1500, 2500, 2500, 2500]
    assert bench.counter("intended") == bench.counter("sent") == [1, 1, 0, 0]
    assert {phase.histograms[name].count for phase in bench.phases() for name in ("lateness", "held")} == {0}
    bench.close()


# -- what a standstill, or our lateness, is in


@pytest.mark.parametrize(
    ("taken", "replied", "disturbed"),
    [
        # latency 1,000
        pytest.param(1500, 2500, [], id="on time"),
        pytest.param(1600, 2500, [], id="late by a tenth"),
        pytest.param(1601, 2500, [1000], id="late by more than a tenth"),
        pytest.param(1501, 1501, [1], id="late, and nothing else"),
        pytest.param(1500, 1500, [], id="no time at all"),
    ],
)
def test_lateness_of_more_than_a_tenth_of_the_latency_disturbs(
    bench: _Bench, taken: int, replied: int, disturbed: list[int]
) -> None:
    bench.tally.replied += [1500, taken, taken, replied]
    found = bench.phases()[0]
    histogram = found.histograms["disturbed"]
    assert (histogram.count, histogram.sum_ns) == (len(disturbed), sum(disturbed))
    assert found.counters["stood"] == 0


_STOOD = (2300, 2700)


@pytest.mark.parametrize("is_closed", [False, True], ids=["open loop", "closed loop"])
@pytest.mark.parametrize(
    ("intended", "replied", "is_hit"),
    [
        pytest.param(2100, 2299, False, id="replied to before it"),
        pytest.param(2100, 2300, False, id="replied to as it begins"),
        pytest.param(2100, 2301, True, id="its end is in it"),
        pytest.param(2100, 2900, True, id="it is inside"),
        pytest.param(2400, 2500, True, id="inside it"),
        pytest.param(2699, 2900, True, id="its beginning is in it"),
        pytest.param(2700, 2900, False, id="due as it ends"),
        pytest.param(2800, 2900, False, id="due after it"),
    ],
)
def test_a_standstill_disturbs_what_overlaps_it(
    bench: _Bench, intended: int, replied: int, is_hit: bool, is_closed: bool
) -> None:
    bench.tally.standstill(*_STOOD)
    if is_closed:
        bench.tally.exchanges += [intended, replied]
    else:
        bench.tally.replied += [intended, intended, intended, replied]
    phase = bench.phases()[1]
    found = phase.histograms["disturbed"]
    assert (phase.counters["stood"], found.count, found.sum_ns) == (is_hit, is_hit, is_hit * (replied - intended))


def test_a_late_message_in_a_standstill_is_disturbed_once(bench: _Bench) -> None:
    bench.tally.standstill(*_STOOD)
    bench.tally.standstill(2750, 2800)
    bench.tally.replied += [2100, 2705, 2705, 2900]
    phase = bench.phases()[1]
    assert (phase.counters["stood"], phase.histograms["disturbed"].count) == (1, 1)


def test_each_phase_has_its_own_part_of_a_standstill(bench: _Bench) -> None:
    bench.tally.standstill(1500, 1600)
    bench.tally.standstill(1800, 2100)
    found = [phase.histograms["standstill"] for phase in bench.phases()]
    assert [(one.count, one.sum_ns, one.max_ns) for one in found] == [
        (2, 100 + 200, 200),
        (1, 100, 100),
        (0, 0, 0),
        (0, 0, 0),
    ]


# A reply's (length of its gap to the last event, latency), or a standstill's (gap, its length), and whether to fold.
_EVENTS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 60), st.integers(1, 400), st.booleans()), min_size=1, max_size=50
)


@settings(max_examples=60)
@given(_EVENTS)
@example([(True, 10, 100, True), (False, 10, 300, True), (True, 0, 350, True)])
def test_however_it_is_folded_the_disturbed_are_those_that_a_standstill_overlaps(
    events: list[tuple[bool, int, int, bool]],
) -> None:
    bench, now = _Bench(), 1000
    replies: list[tuple[int, int]] = []
    stops: list[tuple[int, int]] = []
    for is_reply, gap, length, folds in events:
        now += gap
        if is_reply:
            replies.append((now - length, now))
            bench.tally.replied += [now - length, now - length, now - length, now]
        else:
            stops.append((now, now + length))  # nothing is read before it has ended
            now += length
            bench.tally.standstill(*stops[-1])
        if folds:
            bench.tally.fold()
    hit = [
        replied - intended
        for intended, replied in replies
        if any(intended < end and begin < replied for begin, end in stops)
    ]
    phases = bench.phases()
    assert sum(phase.counters["stood"] for phase in phases) == len(hit)
    assert sum(phase.histograms["disturbed"].count for phase in phases) == len(hit)
    assert sum(phase.histograms["disturbed"].sum_ns for phase in phases) == sum(hit)
    assert sum(phase.histograms["standstill"].sum_ns for phase in phases) == sum(end - begin for begin, end in stops)
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
    bench.tally.replied += [1500, 1500, 1500, 1500 + latency, 1600, 1600, 1600, 1605]
    first = bench.phases()[0]
    assert (first.dropped["latency"], first.histograms["latency"].count) == (dropped, 2 - dropped)
    assert first.counters["replied"] == 2  # dropped from the histogram, not from the count
    assert first.histograms["latency"].sum_ns == 5 + (0 if dropped else latency)
    assert first.histograms["latency"].min_ns == (5 if dropped else min(5, latency))


def test_when_every_value_is_dropped_the_histogram_stays_empty(bench: _Bench) -> None:
    bench.tally.replied += [1500, 1500, 1500, 1400]
    first = bench.phases()[0]
    assert (first.dropped["latency"], first.histograms["latency"].count) == (1, 0)


def test_folding_leaves_the_sequence_even_and_the_notebook_empty(bench: _Bench) -> None:
    tally = bench.tally
    for number in range(1, 4):
        tally.due.append(1500)
        tally.sent += [1500, 1500, 1500]
        tally.openings.append(1500)
        tally.unsent.append(1500)
        tally.replied += [1500, 1500, 1500, 1600]
        tally.exchanges += [1500, 1600]
        tally.connected += [1500, 1600]
        tally.first_bytes += [1500, 1600, 1700]
        tally.extra += [1600, 9]
        tally.fold()
        assert bench.slot.get("sequence") == 2 * number
        noted = [tally.due, tally.unsent, tally.sent, tally.openings, tally.replied, tally.exchanges]
        assert [*noted, tally.connected, tally.first_bytes, tally.extra] == [[]] * 9


def test_the_sequence_is_odd_while_a_batch_is_folded_in(bench: _Bench) -> None:
    bench.tally.replied += [1, 2, 3]  # not whole rows of four
    with pytest.raises(ValueError, match="reshape"):
        bench.tally.fold()
    assert bench.slot.get("sequence") % 2 == 1


def test_bytes_beside_whole_replies_count_as_received(bench: _Bench) -> None:
    bench.tally.extra += [1600, 9, 2100, 30, 2900, -20]
    bench.tally.replied += [1500, 1500, 1500, 1600]
    bench.tally.fold()
    assert bench.counter("received_bytes") == [64 + 9, 30 - 20, 0, 0]


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
