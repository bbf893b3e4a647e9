"""Numbers as few bits: all come back, whatever they are like, and what is not theirs is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadkit.report import rice

_NUMBERS = some.lists(some.integers(0, 3) | some.integers(0, 2**53), max_size=200)


@given(_NUMBERS)
def test_all_numbers_come_back(numbers: list[int]) -> None:
    data = rice.as_bytes(np.array(numbers, np.int64))
    assert rice.numbers_of(data, len(numbers)).tolist() == numbers


# The entropy of a geometric distribution, -(p log p + (1 - p) log (1 - p)) / p, where p = 1 / (1 + mean).
@pytest.mark.parametrize(("mean", "bits"), [(1, 2.0), (2, 2.755), (10, 4.834), (1_000, 11.41)])
def test_what_is_spread_as_gaps_are_takes_an_eighth_more_bits_than_it_has_at_most(mean: int, bits: float) -> None:
    numbers = np.random.default_rng(1).geometric(1 / (1 + mean), 50_000) - 1
    assert 8 * len(rice.as_bytes(numbers)) / numbers.size <= 1.125 * bits


@given(_NUMBERS.filter(bool), some.data())
def test_another_count_and_data_that_is_cut_are_refused(numbers: list[int], data: some.DataObject) -> None:
    text = rice.as_bytes(np.array(numbers, np.int64))
    with pytest.raises(ValueError, match=r"."):
        rice.numbers_of(text, len(numbers) + 64)
    end = data.draw(some.integers(0, len(text) - 9))
    with pytest.raises(ValueError, match=r"."):
        rice.numbers_of(text[:end], len(numbers))


@given(some.binary(max_size=300), some.integers(0, 300))
def test_any_bytes_are_numbers_or_refused(data: bytes, count: int) -> None:
    try:
        numbers = rice.numbers_of(data, count)
    except ValueError:
        return
    assert numbers.size == count
    assert (numbers >= 0).all()
