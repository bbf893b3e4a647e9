"""Random arrivals are a Poisson process: of any pace, shared by any number of workers, the same again with its seed."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.plan.arrivals import arrival_times, sizes_at_most
from loadkit.plan.pacing import LinearPace

_S = 10**9

_PACES = st.builds(
    LinearPace,
    begin_ns=st.integers(0, 10**15),
    duration_ns=st.integers(10**6, 5 * _S),
    start_hz=st.one_of(st.just(0.0), st.floats(0.01, 100)),
    end_hz=st.one_of(st.just(0.0), st.floats(0.01, 100)),
)
_SEEDS = st.integers(0, 2**64 - 1)


@given(_PACES, _SEEDS, st.integers(1, 9))
def test_workers_share_one_process_whatever_their_number(pace: LinearPace, seed: int, of: int) -> None:
    whole = list(arrival_times(pace, seed, 0, 1))
    parts = [list(arrival_times(pace, seed, index, of)) for index in range(of)]
    assert sorted(itertools.chain(*parts)) == whole


@given(_PACES, _SEEDS)
def test_messages_are_in_order_and_due_before_the_end(pace: LinearPace, seed: int) -> None:
    times = list(arrival_times(pace, seed, 0, 1))
    assert times == sorted(times)
    assert all(pace.begin_ns <= at < pace.begin_ns + pace.duration_ns for at in times)


def test_the_shares_of_the_workers_differ_by_less_than_a_block() -> None:
    sizes = [len(list(arrival_times(LinearPace(0, 20 * _S, 1000, 1000), 4, index, 4))) for index in range(4)]
    assert max(sizes) - min(sizes) < 16  # of the last block, a part is due: 64 messages of four workers


def test_the_same_seed_gives_the_same_times_and_another_one_others() -> None:
    pace = LinearPace(0, 10 * _S, 100, 100)
    again = [list(arrival_times(pace, seed, 0, 1)) for seed in (1, 1, 2)]
    assert again[0] == again[1]
    assert not set(again[0]) & set(again[2])


def test_a_longer_phase_begins_with_the_same_messages() -> None:
    short, long = (list(arrival_times(LinearPace(5, span * _S, 50, 50), 3, 0, 1)) for span in (7, 20))
    assert long[: len(short)] == short


def _distance(values: list[float]) -> float:
    """Kolmogorov and Smirnov: how far values are from being spread evenly from 0 to 1, in units of 1 / sqrt(n)."""
    values.sort()
    return math.sqrt(len(values)) * max(
        max(value - k / len(values), (k + 1) / len(values) - value) for k, value in enumerate(values)
    )


# One seed in a hundred comes to more than 1.63. These do not, today or ever.
_USUAL = 1.63


@pytest.mark.parametrize(
    "pace",
    [
        pytest.param(LinearPace(0, 20 * _S, 1000, 1000), id="constant"),
        pytest.param(LinearPace(0, 20 * _S, 0, 2000), id="growing from nothing"),
        pytest.param(LinearPace(0, 20 * _S, 2000, 500), id="falling"),
    ],
)
@pytest.mark.parametrize("seed", [1, 7])
def test_the_gaps_between_messages_are_exponential(pace: LinearPace, seed: int) -> None:
    def units(at_ns: int) -> float:
        t, whole = (at_ns - pace.begin_ns) / _S, pace.duration_ns / _S
        return pace.start_hz * t + (pace.end_hz - pace.start_hz) * t * t / (2 * whole)

    places = [units(at) for at in arrival_times(pace, seed, 0, 1)]
    gaps = [after - before for before, after in itertools.pairwise([0.0, *places])]
    # Where one message is due per unit, the gaps have mean 1; the share that is shorter is 1 - e**-gap.
    assert statistics.fmean(gaps) == pytest.approx(1, abs=4 / math.sqrt(len(gaps)))
    assert _distance([-math.expm1(-gap) for gap in gaps]) < _USUAL
    # And a gap says nothing of the next one.
    assert abs(statistics.correlation(gaps[:-1], gaps[1:])) < 4 / math.sqrt(len(gaps))


@pytest.mark.parametrize("span_ns", [10**6, 64 * 10**6, 333 * 10**6], ids=["1 ms", "a block", "5.2 blocks"])
def test_stretches_of_any_length_have_as_varied_counts_as_a_poisson_process(span_ns: int) -> None:
    times = list(arrival_times(LinearPace(0, 60 * _S, 1000, 1000), 5, 0, 1))
    spans = 60 * _S // span_ns
    counts = [0] * spans
    for at in times:
        if at // span_ns < spans:
            counts[at // span_ns] += 1
    # The variance of a Poisson count is its mean; the variance of that ratio over n stretches is about 2 / n.
    assert statistics.variance(counts) / statistics.fmean(counts) == pytest.approx(1, abs=4 * math.sqrt(2 / spans))


def test_a_worker_s_messages_are_random_as_well() -> None:
    times = arrival_times(LinearPace(0, 20 * _S, 2000, 2000), 9, 3, 4)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    # Those of even arrivals would all be 2 ms.
    assert statistics.pstdev(gaps) / statistics.fmean(gaps) > 0.5


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
def test_the_queue_before_a_server_of_fixed_speed_is_that_of_theory(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) service times (Pollaczek and Khinchine)."""
    service = 10**6
    total, done, waited, count = 200, 0, 0.0, 0
    for at in arrival_times(LinearPace(0, total * _S, load * 1000, load * 1000), 11, 0, 1):
        waited += max(0, done - at)
        done = max(done, at) + service
        count += 1
    assert waited / count / service == pytest.approx(load / (2 * (1 - load)), rel=0.1)


def test_the_sizes_of_blocks_have_the_poisson_distribution() -> None:
    shares = sizes_at_most()
    exact = itertools.accumulate(math.exp(k * math.log(64) - 64 - math.lgamma(k + 1)) for k in range(len(shares)))
    assert list(shares) == pytest.approx(list(exact), abs=1e-12)
    assert list(shares[:-1]) == sorted(shares[:-1])
    assert shares[-1] == 1  # above every share there is


def test_a_rate_so_low_that_no_message_is_due_has_none() -> None:
    assert list(arrival_times(LinearPace(0, 10**6, 1e-9, 1e-9), 1, 0, 1)) == []
    assert list(arrival_times(LinearPace(0, _S, 0, 0), 1, 0, 1)) == []
