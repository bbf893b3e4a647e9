from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.units import (
    ConnectRate,
    Count,
    Duration,
    Pace,
    Rate,
    Size,
    decimal,
    exact_duration,
    exact_size,
    format_count,
    format_duration,
    format_rate,
    format_ratio,
    format_size,
    plural,
)

_READ = [
    pytest.param(Count, "500", 500, id="plain count"),
    pytest.param(Count, 500, 500, id="count as a TOML integer"),
    pytest.param(Count, "10k", 10_000, id="k is 1,000"),
    pytest.param(Count, "10K", 10_000, id="K as well"),
    pytest.param(Count, "1.5m", 1_500_000, id="m is a million"),
    pytest.param(Count, "1_000", 1_000, id="underscores between digits"),
    pytest.param(Count, " 7 ", 7, id="blanks around"),
    pytest.param(Count, ".5k", 500, id="no digit before the point"),
    pytest.param(Duration, "250ms", 250_000_000, id="milliseconds"),
    pytest.param(Duration, "2s", 2 * 10**9, id="seconds"),
    pytest.param(Duration, "1.5m", 90 * 10**9, id="m of a duration is minutes"),
    pytest.param(Duration, "1m30s", 90 * 10**9, id="minutes and seconds"),
    pytest.param(Duration, "1h 2m 3.5s", 3723_500_000_000, id="three units"),
    pytest.param(Duration, "1h", 3600 * 10**9, id="hours"),
    pytest.param(Duration, "7 us", 7_000, id="a blank before the unit"),
    pytest.param(Duration, "7µs", 7_000, id="the micro sign"),
    pytest.param(Duration, "0.1s", 10**8, id="a tenth, that floats do not hold exactly"),
    pytest.param(Duration, "0", 0, id="zero needs no unit"),
    pytest.param(Duration, 0, 0, id="zero as a TOML integer"),
    pytest.param(Duration, Duration(5), 5, id="a duration stays what it is"),
    pytest.param(Size, "64", 64, id="bytes"),
    pytest.param(Size, "64B", 64, id="bytes with unit"),
    pytest.param(Size, "4KiB", 4096, id="KiB is 1,024"),
    pytest.param(Size, "1k", 1000, id="k of a size is 1,000, as of a count"),
    pytest.param(Size, "2M", 2_000_000, id="M of a size"),
    pytest.param(Size, "1.5KB", 1500, id="KB is 1,000"),
    pytest.param(Size, "1GiB", 2**30, id="GiB"),
    pytest.param(Rate, "0.5", 0.5, id="a rate below one"),
    pytest.param(Rate, "10k/s", 10_000.0, id="a rate with /s"),
    pytest.param(Rate, 12.5, 12.5, id="rate as a TOML float"),
    pytest.param(ConnectRate, "10k", 10_000.0, id="a connect rate"),
    pytest.param(ConnectRate, "max", math.inf, id="as fast as there is room"),
    pytest.param(Pace, "10k", (10_000.0, 10_000.0), id="a pace that stays"),
    pytest.param(Pace, "1k:10k", (1_000.0, 10_000.0), id="a ramp"),
    pytest.param(Pace, "1k/s:0", (1_000.0, 0.0), id="a ramp down to nothing"),
    pytest.param(Pace, 300, (300.0, 300.0), id="pace as a TOML integer"),
]


@pytest.mark.parametrize(("kind", "text", "value"), _READ)
def test_text_with_units_is_read(kind: Any, text: object, value: object) -> None:
    assert kind.parse(text) == value
    assert type(kind.parse(text)) is kind


_REFUSED = [
    pytest.param(Count, "", id="nothing"),
    pytest.param(Count, "many", id="a word"),
    pytest.param(Count, "-5", id="negative text"),
    pytest.param(Count, -5, id="negative number"),
    pytest.param(Count, "1.5", id="half a connection"),
    pytest.param(Count, "10kB", id="a size for a count"),
    pytest.param(Count, True, id="a truth value"),
    pytest.param(Count, math.inf, id="infinity"),
    pytest.param(Count, math.nan, id="not a number"),
    pytest.param(Count, 2**60, id="above what a float holds exactly"),
    pytest.param(Count, None, id="None"),
    pytest.param(Duration, "10", id="a duration without unit"),
    pytest.param(Duration, 10, id="a number as a duration"),
    pytest.param(Duration, "10 parsecs", id="an unknown unit"),
    pytest.param(Duration, "-1s", id="a negative duration"),
    pytest.param(Duration, "1s2", id="digits after the unit"),
    pytest.param(Size, "1.5B", id="half a byte"),
    pytest.param(Duration, "30s1m", id="the smaller unit first"),
    pytest.param(Duration, "1m1m", id="a unit twice"),
    pytest.param(Duration, "1m30", id="the second unit missing"),
    pytest.param(Size, "4ki", id="half a unit"),
    pytest.param(Rate, "fast", id="a word as a rate"),
    pytest.param(Rate, "10/min", id="per minute"),
    pytest.param(Rate, False, id="a truth value as a rate"),
    pytest.param(Pace, "1k:", id="a ramp without an end"),
    pytest.param(Pace, ":1k", id="a ramp without a start"),
    pytest.param(Pace, "1:2:3", id="a ramp of three"),
    pytest.param(Pace, [1, 2], id="a list"),
]


@pytest.mark.parametrize(("kind", "text"), _REFUSED)
def test_what_is_no_quantity_is_refused_saying_what_was_expected(kind: Any, text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        kind.parse(text)
    assert str(caught.value) == f"expected {kind.expected}, got {text!r}"


@pytest.mark.parametrize("kind", [Count, Size, Rate, Duration], ids=lambda kind: kind.__name__)
def test_400_nines_are_no_quantity(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected .*a number that is too large"):
        kind.parse("9" * 400 + ("s" if kind is Duration else ""))


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (870, "870 ns"),
        (999.4, "999 ns"),
        (999.6, "1.00 us"),  # not "1,000 ns"
        (12_340, "12.3 us"),
        (999_600, "1.00 ms"),
        (4_560_000, "4.56 ms"),
        (9_996_000, "10.0 ms"),  # 9.996 rounds to 10.0, not to 10.00
        (250_000_000, "250 ms"),
        (1_200_000_000, "1.20 s"),
        (90 * 10**9, "90 s"),
        (1234.5 * 10**9, "1,234 s"),
        (-12_340, "-12.3 us"),
    ],
)
def test_durations_are_printed_with_three_significant_digits(ns: float, text: str) -> None:
    assert format_duration(ns) == text


def test_a_duration_that_is_no_number_is_not_printed() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        format_duration(math.nan)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (64, "64 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.50 KiB"),
        (1023.7, "1.00 KiB"),  # 1,023.7 / 1,024 = 0.9997
        (2 * 2**20, "2 MiB"),
        (3.5 * 2**30, "3.50 GiB"),
        (5 * 2**40, "5 TiB"),
    ],
)
def test_sizes_are_printed_in_binary_units(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("hz", "text"),
    [
        (0.5, "0.50/s"),
        (0.004, "0.004/s"),
        (0.0123, "0.012/s"),
        (1e-7, "0.0000001/s"),
        (7, "7/s"),
        (99.9, "99.90/s"),
        (12_345.4, "12,345/s"),
        (0, "0/s"),
    ],
)
def test_rates_are_printed_with_decimals_only_below_a_hundred(hz: float, text: str) -> None:
    assert format_rate(hz) == text


@given(st.floats(1e-12, 1e12))
def test_what_is_not_nothing_is_not_printed_as_0(value: float) -> None:
    for text in (format_rate(value), format_size(value), format_duration(value)):
        assert any(digit in text for digit in "123456789"), text


def test_counts_are_printed_with_thousands_separators() -> None:
    assert format_count(1_003_600) == "1,003,600"


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "error", "0 errors"),
        (1, "error", "1 error"),
        (1_000, "error", "1,000 errors"),
        (1, "reply", "1 reply"),
        (2, "reply", "2 replies"),
    ],
)
def test_a_noun_has_the_number_of_its_count(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text


@pytest.mark.parametrize("text", ["9" * 400, "1" + "0" * 400 + "/s"])
@pytest.mark.parametrize("kind", [Count, Size, Rate, Pace])
def test_a_number_beyond_all_is_refused(kind: type[Count | Size | Rate | Pace], text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        kind.parse(text)
    with pytest.raises(ValueError, match=r"^expected "):
        kind.parse(10**400)


@given(st.integers(0, 2**53))
def test_any_whole_number_of_bytes_is_read_back(number: int) -> None:
    assert Size.parse(str(number)) == Size.parse(f"{number}B") == number


@given(st.floats(1, 1e15))
def test_a_printed_duration_reads_back_to_three_digits(ns: float) -> None:
    printed = format_duration(ns).replace(",", "")
    read = Duration.parse(printed)
    # Half of the third digit, and half a nanosecond of a duration that is an integer.
    assert abs(read - ns) <= 0.0051 * ns + 0.5


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 s"),
        (999, "999 ns"),
        (1_000, "1 us"),
        (999_999, "999.999 us"),  # where three digits would say 1 ms
        (1_500_000, "1.5 ms"),
        (32_767 * 10**9, "32,767 s"),
        (36_000 * 10**9, "36,000 s"),
    ],
)
def test_a_duration_is_printed_with_all_its_digits(ns: int, text: str) -> None:
    assert exact_duration(ns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1, "1 B"), (1536, "1,536 B"), (65_536, "64 KiB"), (2**30 - 1, "1,073,741,823 B"), (2**31, "2 GiB")],
)
def test_a_size_is_printed_with_all_its_digits(size: int, text: str) -> None:
    assert exact_size(size) == text


@pytest.mark.parametrize(
    ("number", "text"), [(10, "10"), (10.0, "10"), (2.5, "2.5"), (1e-5, "0.00001"), (1e22, "1" + "0" * 22)]
)
def test_a_number_is_written_as_it_is_read(number: float, text: str) -> None:
    assert decimal(number) == text
    assert float(text) == number


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0"), (0.004, "0.004"), (0.931, "0.93"), (1.0, "1"), (1.534, "1.53"), (150.2, "150"), (12_345.6, "12,346")],
)
def test_ratios_have_three_digits_and_no_exponent(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text
