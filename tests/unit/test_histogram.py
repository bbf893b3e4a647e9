from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadkit.measure.buckets import MOST_VALUES, bounds_of, counts_length, highest_of, index_of, lowest_of
from loadkit.measure.encoding import _words, _words_one_by_one, add_used
from loadkit.measure.histogram import (
    Histogram,
    percentiles_supported,
    rank_of,
    values_needed,
)

_HIGHEST = 60 * 10**9
_HDR = HdrHistogram(1, _HIGHEST, 3)

# Values of every magnitude, not mostly huge ones.
_VALUES = st.one_of(
    st.integers(0, 5000), st.integers(0, 36).flatmap(lambda bits: st.integers(0, min(_HIGHEST, 2**bits)))
)
_LISTS = st.lists(_VALUES, max_size=40)
_FEW = settings(max_examples=25)  # each histogram is 27,648 counters, and hdrh walks them in Python
_PERCENTILES = (1, 25, 50, 90, 99, 99.9, 99.99, 100)


def _of(values: list[int]) -> Histogram:
    return Histogram.of(values, _HIGHEST)


def _hdr(values: list[int]) -> HdrHistogram:
    hdr = HdrHistogram(1, _HIGHEST, 3)
    for value in values:
        assert hdr.record_value(value)
    return hdr


def _same(left: Histogram, right: Histogram) -> bool:
    return np.array_equal(left.counts, right.counts) and (left.highest_ns, left.sum_ns, left.min_ns, left.max_ns) == (
        right.highest_ns,
        right.sum_ns,
        right.min_ns,
        right.max_ns,
    )


@pytest.mark.parametrize("highest", [1, 2047, 2048, 4095, 4096, 10**6, 10**9, _HIGHEST, 3600 * 10**9])
def test_there_are_as_many_counters_as_hdrhistogram_has(highest: int) -> None:
    # hdrh wants a highest value of 2 at least
    assert counts_length(highest) == HdrHistogram(1, max(2, highest), 3).counts_len


@given(_VALUES)
@example(0)
@example(2047)
@example(2048)
@example(_HIGHEST)
def test_the_counter_of_a_value_is_hdrhistogram_s_own(value: int) -> None:
    assert int(index_of(np.array([value]))[0]) == _HDR._counts_index_for(value)


@given(st.integers(0, 52).flatmap(lambda bits: st.integers(2**bits - 1, 2**bits + 1)))
def test_around_powers_of_two_the_counter_is_the_formula_s(value: int) -> None:
    bucket = max(0, value.bit_length() - 11)
    assert int(index_of(np.array([value]))[0]) == 1024 * bucket + (value >> bucket)


@given(st.integers(0, counts_length(_HIGHEST) - 1))
def test_counters_are_neighbours_without_gap(index: int) -> None:
    low, high = lowest_of(index), highest_of(index)
    assert list(index_of(np.array([low, high, high + 1]))) == [index, index, index + 1]
    # three significant digits
    assert high - low <= low / 1000


@_FEW
@given(_LISTS, _LISTS)
def test_merging_does_not_care_which_comes_first(left: list[int], right: list[int]) -> None:
    assert _same(_of(left).merge(_of(right)), _of(right).merge(_of(left)))


@_FEW
@given(_LISTS, _LISTS, _LISTS)
def test_merging_does_not_care_how_it_is_grouped(a: list[int], b: list[int], c: list[int]) -> None:
    assert _same(_of(a).merge(_of(b)).merge(_of(c)), _of(a).merge(_of(b).merge(_of(c))))


@_FEW
@given(_LISTS)
def test_merging_nothing_changes_nothing(values: list[int]) -> None:
    nothing = Histogram.empty(_HIGHEST)
    assert _same(_of(values).merge(nothing), _of(values))
    assert _same(nothing.merge(_of(values)), _of(values))


@_FEW
@given(_LISTS, _LISTS)
def test_merged_is_recorded_together(left: list[int], right: list[int]) -> None:
    assert _same(_of(left).merge(_of(right)), _of(left + right))


def test_merging_leaves_both_as_they_were() -> None:
    left, right = _of([1, 2]), _of([3])
    left.merge(right)
    assert (left.count, right.count) == (2, 1)


def test_unlike_ranges_are_refused_naming_both() -> None:
    with pytest.raises(ValueError, match=r"^histograms of unlike range: highest_ns 60000000000 and 1000000$"):
        _of([1]).merge(Histogram.of([1], 10**6))


def test_a_wider_range_has_the_same_values_and_a_narrower_one_is_refused() -> None:
    values = [0, 1, 2_047, 2_048, 10**6]
    wide = Histogram.of(values, 10**6).widened(_HIGHEST)
    assert _same(wide, _of(values))
    assert wide.merge(_of([7])).count == 6
    with pytest.raises(ValueError, match="a histogram up to 60000000000 cannot end at 1000000"):
        wide.widened(10**6)


def test_empty_histograms_of_a_range_take_no_memory_each() -> None:
    one, other = Histogram.empty(_HIGHEST), Histogram.empty(_HIGHEST)
    assert one.counts is other.counts
    with pytest.raises(ValueError, match="read-only"):
        one.counts[0] = 1


@given(st.lists(_VALUES, min_size=1, max_size=40))
def test_count_sum_mean_and_ends_are_exact(values: list[int]) -> None:
    histogram = _of(values)
    assert (histogram.count, histogram.sum_ns) == (len(values), sum(values))
    assert (histogram.min_ns, histogram.max_ns) == (min(values), max(values))
    assert math.isclose(histogram.mean_ns, sum(values) / len(values))


def test_the_mean_of_nothing_is_zero() -> None:
    assert Histogram.empty(_HIGHEST).mean_ns == 0


@pytest.mark.parametrize("value", [-1, _HIGHEST + 1])
def test_a_value_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=r"^a value lies outside 0 … 60000000000 ns$"):
        _of([5, value])


@_FEW
@given(st.lists(_VALUES, min_size=1, max_size=40), st.integers(1, 30))
@example([0], 30)
@example([7], 1)
@example([0, 1, 1, 1, 1], 1)
def test_a_percentile_is_the_value_of_its_rank(values: list[int], times: int) -> None:
    many = sorted(values * times)
    for percentile, value in _of(many).percentiles(_PERCENTILES).items():
        if value is not None:
            # HdrHistogram's definition: the least value with at least that part of all at or below it, as the greatest
            # of its counter. (hdrh itself rounds the rank to the nearest, which differs by one rank at most.)
            rank = max(1, math.ceil(Fraction(str(percentile)) * len(many) / 100))
            counter = int(index_of(np.array([many[rank - 1]]))[0])
            assert value == min(highest_of(counter), many[-1]), percentile


@_FEW
@given(st.lists(_VALUES, min_size=1, max_size=40))
def test_percentiles_are_hdrhistogram_s_where_the_rank_is_whole(values: list[int]) -> None:
    many = values * 1000
    hdr = _hdr(many)
    for percentile, value in _of(many).percentiles((50.0, 90.0, 99.0)).items():
        assert value == min(hdr.get_value_at_percentile(percentile), max(many)), percentile


@pytest.mark.parametrize(
    ("count", "percentile", "answer"),
    [
        pytest.param(0, 50, False, id="nothing supports nothing"),
        pytest.param(1, 50, True, id="one value is its own median"),
        pytest.param(99, 90, False, id="99 x 10 % = 9.9"),
        pytest.param(100, 90, True, id="100 x 10 % = 10"),
        pytest.param(999, 99, False, id="999 x 1 % = 9.99"),
        pytest.param(1000, 99, True, id="1,000 x 1 % = 10"),
        pytest.param(10_000, 99.9, True, id="10,000 x 0.1 % = 10, in floats 9.99999"),
        pytest.param(99_999, 99.99, False, id="99,999 x 0.01 % = 9.9999"),
    ],
)
def test_a_percentile_needs_ten_values_above_it(count: int, percentile: float, answer: bool) -> None:
    assert percentiles_supported(count, percentile) is answer
    given_value = Histogram.of([5] * count, _HIGHEST).percentiles([percentile])[percentile]
    assert (given_value == 5) is answer
    assert (given_value is None) is not answer


_PERCENTILE_TEXTS = st.integers(1, 99_999_999).map(lambda parts: f"{parts / 1e6:.6f}".rstrip("0").rstrip("."))


@given(st.integers(1, 10**12), st.sampled_from(["50", "75", "90", "97.5", "99", "99.9", "99.99", "99.999"]))
@example(16_913_000, "99.9")  # the least count for which a float came out one rank too high
@example(20_000_000, "99.9")
@example(10**12, "99.999")
def test_a_rank_is_exact_as_a_float_as_well_as_in_text(count: int, percentile: str) -> None:
    places = 1000 * 10**3
    parts = round(float(percentile) * 10**3)  # of 100,000: thousandths of a percent are whole numbers
    rank = -(-parts * 10 * count // places)
    assert rank_of(count, percentile) == rank_of(count, float(percentile)) == rank
    # the definition: so many are at least that part of all, one fewer are not
    assert rank * places >= parts * 10 * count > (rank - 1) * places


@given(st.integers(1, 10**12), _PERCENTILE_TEXTS)
def test_any_percentile_has_its_exact_rank_and_support(count: int, percentile: str) -> None:
    whole, _, part = percentile.partition(".")
    millionths = int(whole) * 10**6 + int(part.ljust(6, "0"))
    assert rank_of(count, percentile) == max(1, -(-millionths * count // 10**8))
    supported = 2 * millionths <= 10**8 or (10**8 - millionths) * count >= 10 * 10**8
    assert percentiles_supported(count, percentile) is supported
    # supported: at least ten are above its rank
    assert not supported or millionths * 2 <= 10**8 or count - rank_of(count, percentile) >= 10


@given(_PERCENTILE_TEXTS)
@example("50")
@example("99.99")
def test_the_least_count_that_supports_a_percentile_is_known(percentile: str) -> None:
    least = values_needed(percentile)
    assert percentiles_supported(least, percentile)
    assert not percentiles_supported(least - 1, percentile)


@pytest.mark.parametrize("count", [10**7, 16_913_000, 20_000_000, 10**8, 10**12])
def test_p99_9_of_millions_is_the_last_fast_one_where_one_of_a_thousand_is_slow(count: int) -> None:
    counts = np.zeros(counts_length(_HIGHEST), np.int64)
    fast, slow = index_of(np.array([10**6, 10**7]))
    counts[fast], counts[slow] = count - count // 1000, count // 1000
    histogram = Histogram(_HIGHEST, counts, 0, 10**6, 10**7)
    assert histogram.percentiles([99.9])[99.9] == highest_of(int(fast))
    assert histogram.at_rank(count - count // 1000 + 1) == 10**7


@pytest.mark.parametrize("rank", [-1, 0, 4])
def test_there_is_no_value_of_a_rank_beyond_the_count(rank: int) -> None:
    with pytest.raises(ValueError, match=f"^there is no value number {rank} of 3$"):
        _of([1, 2, 3]).at_rank(rank)


def test_a_sum_beyond_64_bits_stays_exact() -> None:
    counts = np.zeros(counts_length(_HIGHEST), np.int64)
    counts[index_of(np.array([_HIGHEST]))] = 10**9
    one = Histogram(_HIGHEST, counts, 10**9 * _HIGHEST, _HIGHEST, _HIGHEST)
    both = one.merge(one)
    assert both.sum_ns == 2 * 10**9 * _HIGHEST > 2**63
    assert both.mean_ns == _HIGHEST
    assert both.since(one).sum_ns == one.sum_ns
    assert Histogram.decode(both.encode(), both.sum_ns).count == 2 * 10**9


@_FEW
@given(_LISTS)
@example([])
@example([0])
@example([0, 0, 5])
@example([_HIGHEST])
def test_the_encoding_is_hdrhistogram_s_own(values: list[int]) -> None:
    ours = HdrHistogram.decode(_of(values).encode())
    theirs = HdrHistogram.decode(_hdr(values).encode())
    assert list(ours.counts) == list(theirs.counts)
    for name in ("total_count", "min_value", "max_value", "lowest_trackable_value", "highest_trackable_value"):
        assert getattr(ours, name) == getattr(theirs, name), name


@given(st.integers(0, 62).flatmap(lambda bits: st.integers(-(2**bits), 2**bits)))
@example(2**62)
@example(-(2**62))
@example(2**63 - 1)
def test_each_number_of_64_bits_is_read_as_hdrhistogram_writes_it(number: int) -> None:
    # HdrHistogram's ZigZag LEB128: seven bits a byte, and eight of the ninth
    left, text = (number << 1) ^ (number >> 63), bytearray()
    while len(text) < 8 and left > 0x7F:
        text.append(left & 0x7F | 0x80)
        left >>= 7
    text.append(left)
    assert list(_words(bytes(text) * 2)) == [number, number]


def test_counts_that_fit_together_and_then_do_not() -> None:
    counts = np.zeros(counts_length(_HIGHEST), np.int64)
    counts[5] = MOST_VALUES
    most = Histogram(_HIGHEST, counts, 5 * MOST_VALUES, 5, 5)
    assert Histogram.decode(most.encode(), most.sum_ns).count == MOST_VALUES
    with pytest.raises(ValueError, match="more values than can be counted"):
        most.merge(_of([5]))
    counts[5] += 1
    with pytest.raises(ValueError, match="too many counters, or values"):
        Histogram.decode(Histogram(_HIGHEST, counts, 0, 5, 5).encode(), 0)


@_FEW
@given(_LISTS)
@example([])
@example([0])
@example([0, 0, 5])
@example([_HIGHEST])
def test_what_is_encoded_is_decoded(values: list[int]) -> None:
    histogram = _of(values)
    decoded = Histogram.decode(histogram.encode(), histogram.sum_ns)
    assert np.array_equal(decoded.counts, histogram.counts)
    assert (decoded.highest_ns, decoded.sum_ns, decoded.count) == (_HIGHEST, sum(values), len(values))
    if values:
        # The encoding has no minimum and maximum of its own: they are known to their counters.
        ends = index_of(np.array([decoded.min_ns, decoded.max_ns]))
        assert list(ends) == list(index_of(np.array([min(values), max(values)])))


@pytest.mark.parametrize("text", ["", "nonsense", "HISTFAAAAAZ4nJNpmSzMwMDAxAABzFCaEUoz2X+AMIBwAAAAAAAA"])
def test_text_that_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an? "):
        Histogram.decode(text, 0)


def test_a_histogram_of_another_precision_is_refused() -> None:
    hdr = HdrHistogram(1, _HIGHEST, 2)
    hdr.record_value(5)
    with pytest.raises(ValueError, match="another range or precision"):
        Histogram.decode(hdr.encode().decode(), 5)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_numbers_read_all_at_once_are_those_read_one_by_one(numbers: list[int]) -> None:
    text = bytearray()
    for number in numbers:
        value = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
        for _ in range(8):
            if value < 0x80:
                break
            text.append(value & 0x7F | 0x80)
            value >>= 7
        text.append(value)
    assert _words(bytes(text)).tolist() == list(_words_one_by_one(bytes(text))) == numbers


@given(_LISTS.filter(bool))
def test_the_bounds_of_counters_are_those_of_each(values: list[int]) -> None:
    indices = index_of(np.array(values, np.int64))
    low, high = bounds_of(indices)
    assert low.tolist() == [lowest_of(one) for one in indices.tolist()]
    assert high.tolist() == [highest_of(one) for one in indices.tolist()]


def test_counters_in_use_of_several_add_up() -> None:
    nothing, several = np.zeros(0, np.int64), [(np.array([3, 7]), np.array([1, 2**53])), (np.array([7]), np.array([1]))]
    used, counts = add_used([*several, (nothing, nothing)])
    assert (used.tolist(), counts.tolist()) == ([3, 7], [1, 2**53 + 1])
    assert [found.tolist() for found in add_used([])] == [[], []]
