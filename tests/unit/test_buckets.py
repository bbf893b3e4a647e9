"""Buckets of Prometheus, counted off HDR histograms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.measure.histogram import Histogram, rank_of
from loadkit.report.buckets import MOST_OBJECTIVES, STANDARD_NS, Buckets, bounds_of, nothing, of_histogram
from loadkit.units import NS_PER_S

HIGHEST_NS = 60 * NS_PER_S
VALUES = st.lists(st.integers(0, HIGHEST_NS) | st.integers(0, 10**7), max_size=200)
BOUNDS = st.lists(st.integers(1, HIGHEST_NS), min_size=1, max_size=20, unique=True).map(lambda ns: tuple(sorted(ns)))


def buckets(values: Sequence[int], bounds: tuple[int, ...]) -> Buckets:
    return of_histogram(bounds, Histogram.of(values, HIGHEST_NS))


def test_the_standard_bounds_go_from_10_us_to_60_s_in_steps_of_at_most_two_thirds() -> None:
    assert (STANDARD_NS[0], STANDARD_NS[-1], len(STANDARD_NS)) == (10_000, HIGHEST_NS, 42)
    assert all(1 < high / low < 1.7 for low, high in itertools.pairwise(STANDARD_NS))


def test_each_objective_on_a_time_has_a_bucket_of_its_threshold() -> None:
    bounds = bounds_of(
        ["latency.p99<4ms", "phase=burst:latency.max<=1.25s", "errors==0", "jitter.p9<1", "held.p50<2ms"]
    )
    assert set(bounds["latency"]) - set(STANDARD_NS) == {4_000_000, 1_250_000_000}
    assert bounds["held"] == bounds["service"] == STANDARD_NS  # 2 ms is a standard one
    assert bounds["latency"] == tuple(sorted(bounds["latency"]))


def test_no_record_makes_as_many_buckets_as_it_likes() -> None:
    many = [f"latency.p99<{number}ns" for number in range(1, 2 * MOST_OBJECTIVES)]
    assert len(bounds_of(many)["latency"]) == len(STANDARD_NS) + MOST_OBJECTIVES


@given(VALUES, BOUNDS)
def test_a_bucket_has_no_value_above_its_bound_and_all_that_are_a_thousandth_below_it(
    values: list[int], bounds: tuple[int, ...]
) -> None:
    found = buckets(values, bounds)
    assert (found.total, found.sum_ns) == (len(values), sum(values))
    for bound, count in zip(bounds, found.at_most, strict=True):
        assert sum(value < bound * 0.999 - 1 for value in values) <= count <= sum(value <= bound for value in values)


@given(VALUES.filter(len), st.integers(1, HIGHEST_NS), st.sampled_from([50.0, 90.0, 99.0]))
def test_the_share_in_the_bucket_of_a_threshold_says_exactly_whether_the_percentile_meets_it(
    values: list[int], threshold: int, percentile: float
) -> None:
    histogram = Histogram.of(values, HIGHEST_NS)
    [count] = of_histogram((threshold,), histogram).at_most
    at = histogram.percentiles([percentile])[percentile]
    if at is not None:
        assert (at <= threshold) == (count >= rank_of(len(values), percentile))


@given(VALUES, VALUES, BOUNDS)
def test_the_buckets_of_two_workers_are_those_of_all_their_values(
    one: list[int], other: list[int], bounds: tuple[int, ...]
) -> None:
    both = buckets(one, bounds).plus(buckets(other, bounds))
    whole = buckets(one + other, bounds)
    assert (both.total, both.sum_ns) == (whole.total, whole.sum_ns)
    # A worker's greatest value is known exactly, and with it that all of its values are below a bound.
    assert all(mine >= theirs for mine, theirs in zip(both.at_most, whole.at_most, strict=True))
    assert buckets(one, bounds).plus(nothing(bounds)) == buckets(one, bounds)


def test_a_value_beyond_the_histogram_is_counted_where_there_is_no_bound() -> None:
    found = of_histogram((HIGHEST_NS,), Histogram.of([5], HIGHEST_NS), dropped=2)
    assert (found.at_most, found.total, found.sum_ns) == ((1,), 3, 5)


@pytest.mark.parametrize(
    ("value", "bound", "expected"),
    [
        pytest.param(2_047, 2_047, 1, id="at the bound, where each ns has a counter"),
        pytest.param(2_048, 2_047, 0, id="above it"),
        # 5,000,000 lies in a counter up to 5,001,215: with a greater value there, it is not known to be at most 5 ms
        pytest.param(5_000_000, 5_000_000, 1, id="the greatest of all is known exactly"),
        pytest.param(0, 1, 1, id="no time at all"),
    ],
)
def test_what_lies_at_a_bound(value: int, bound: int, expected: int) -> None:
    assert buckets([value], (bound,)).at_most == (expected,)
