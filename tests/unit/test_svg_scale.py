"""Scales: where a value stands, and which values are marked."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.report.svg.scale import (
    Scale,
    compact,
    linear_scale,
    linear_ticks,
    log_scale,
    log_ticks,
    nines_ticks,
)

_VALUES = st.floats(1e-3, 1e15)


@pytest.mark.parametrize(
    ("scale", "value", "place"),
    [
        pytest.param(Scale(0, 10, 100, 200), 5, 150, id="the middle"),
        pytest.param(Scale(0, 10, 200, 100), 2.5, 175, id="upright, from below"),
        pytest.param(Scale(1, 10_000, 0, 400, is_log=True), 100, 200, id="the middle of a logarithm"),
        pytest.param(Scale(0, 10, 0, 100), 11, 100, id="beyond an end"),
        pytest.param(Scale(1, 10, 0, 100, is_log=True), 0, 0, id="zero on a logarithm"),
    ],
)
def test_a_value_has_its_place(scale: Scale, value: float, place: float) -> None:
    assert scale.at(value) == pytest.approx(place)


@pytest.mark.parametrize(("low", "high", "is_log"), [(1, 1, False), (2, 1, False), (0, 1, True)])
def test_a_scale_of_nothing_is_refused(low: float, high: float, is_log: bool) -> None:
    with pytest.raises(ValueError, match="no scale goes from"):
        Scale(low, high, 0, 1, is_log)


@given(_VALUES, _VALUES)
def test_a_scale_holds_the_values_it_was_made_for(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    scale = log_scale(low, high, 0, 100)
    assert scale.low <= low * (1 + 1e-9)
    assert scale.high >= high * (1 - 1e-9)
    assert linear_scale(high, 0, 100).high >= high * (1 - 1e-9)


@given(_VALUES, _VALUES)
def test_marks_stand_on_their_scale_in_order_and_there_are_few(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    for scale, ticks in (
        (log := log_scale(low, high, 0, 100), log_ticks(log, compact)),
        (even := linear_scale(high, 0, 100), linear_ticks(even, compact)),
    ):
        values = [tick.value for tick in ticks]
        assert 1 <= len(values) <= 12
        assert all(before < after for before, after in itertools.pairwise(values))
        assert all(scale.low * (1 - 1e-6) <= value <= scale.high * (1 + 1e-6) for value in values)


def test_few_decades_are_marked_at_2_and_5_too_and_many_at_every_second() -> None:
    assert [tick.value for tick in log_ticks(log_scale(1, 100, 0, 1), compact)] == [1, 2, 5, 10, 20, 50, 100]
    assert [tick.text for tick in log_ticks(log_scale(1, 10**8, 0, 1), compact)] == ["1", "100", "10k", "1M", "100M"]


def test_percentiles_are_marked_by_their_nines() -> None:
    ticks = nines_ticks(Scale(1, 200_000, 0, 1, is_log=True))
    assert [tick.text for tick in ticks] == ["0", "50%", "90%", "99%", "99.9%", "99.99%", "99.999%"]
    assert ticks[2].value == pytest.approx(1 / (1 - 0.9))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (999, "999"), (1_500, "1.5k"), (2e6, "2M"), (3e9, "3G")]
)
def test_numbers_of_an_axis_are_short(value: float, text: str) -> None:
    assert compact(value) == text
