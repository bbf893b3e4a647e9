"""A record in a page: every text comes back as it was, and what is not one of ours is refused and takes no room."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadkit.measure.encoding import encode_used
from loadkit.measure.histogram import Histogram
from loadkit.report import rice
from loadkit.report.packing import packed, unpacked

_MOST = 2**20
_HIGHEST_NS = 60 * 10**9


def _encoded(values: list[int]) -> str:
    return Histogram.of(values, _HIGHEST_NS).encode()


def _stored(encoded: str) -> str:
    """The same histogram, not compressed."""
    data = base64.b64decode(encoded)
    payload = zlib.compress(zlib.decompress(data[8:]), 0)
    return base64.b64encode(data[:4] + len(payload).to_bytes(4, "big") + payload).decode()


def _in_base(data: bytes) -> bytes:
    return base64.b85encode(data).replace(b"<", b",")


def _page_of(lean: bytes, heads: object, numbers: bytes | list[int] = b"") -> bytes:
    data = numbers if isinstance(numbers, bytes) else rice.as_bytes(np.array(numbers, np.int64))
    return _in_base(zlib.compress(b"\n".join((lean, json.dumps(heads).encode(), data))))


_HISTOGRAMS = some.lists(some.integers(0, _HIGHEST_NS), max_size=300).map(_encoded)
_TEXTS = some.text(max_size=20) | some.sampled_from(['"hdr":~', '"hdr":"AAAA"', "~0", "hdr"])
_VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | _TEXTS | some.fixed_dictionaries({"hdr": _HISTOGRAMS | _TEXTS}),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_any_json_comes_back_as_it_was(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"))
    assert unpacked(packed(text).encode(), _MOST) == text.encode()


def test_a_histogram_that_stands_several_times_is_packed_once() -> None:
    chance = np.random.default_rng(1)
    one, other = (_encoded(chance.integers(0, 10**9, 3_000).tolist()) for _ in range(2))
    rows = [{"hdr": text} for text in (one, other, one, one)]
    text = json.dumps(rows, separators=(",", ":"))
    assert unpacked(packed(text).encode(), _MOST) == text.encode()
    assert len(packed(text)) < 1.05 * len(packed(json.dumps(rows[:2], separators=(",", ":"))))


def test_many_histograms_are_smaller_than_they_are_deflated() -> None:
    chance = np.random.default_rng(1)
    rows = [{"hdr": _encoded(chance.lognormal(12, 0.6, 2_000).astype(np.int64).tolist())} for _ in range(20)]
    text = json.dumps(rows, separators=(",", ":"))
    assert len(packed(text)) < 0.7 * len(base64.b64encode(zlib.compress(text.encode(), 9)))


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("AAAA", id="no histogram"),
        pytest.param("====", id="no base64"),
    ],
)
def test_what_cannot_be_decoded_stays_as_it_is(encoded: str) -> None:
    text = json.dumps({"hdr": encoded}, separators=(",", ":"))
    assert unpacked(packed(text).encode(), _MOST) == text.encode()
    assert text.encode() in zlib.decompress(base64.b85decode(packed(text).replace(",", "<")))


@given(some.lists(some.integers(0, _HIGHEST_NS), max_size=300))
def test_what_another_zlib_has_deflated_comes_back_with_the_same_counts(values: list[int]) -> None:
    text = json.dumps([{"hdr": one(_encoded(values))} for one in (_stored, str)], separators=(",", ":"))
    ours = json.dumps([{"hdr": _encoded(values)}] * 2, separators=(",", ":"))
    assert unpacked(packed(text).encode(), _MOST) == ours.encode()


_ONE = [_HIGHEST_NS, 1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[]", id="another base"),
        pytest.param(_in_base(b"no zlib"), id="no zlib"),
        pytest.param(_in_base(zlib.compress(b"{}\n[]\n")[:-4]), id="cut off"),
        pytest.param(_in_base(zlib.compress(b"{}")), id="one line"),
        pytest.param(_page_of(b"{}", {}), id="no list of histograms"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS]]), id="a histogram without a size"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS, 2**62]]), id="counters beyond all"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS, 2**62], [_HIGHEST_NS, -(2**62)]]), id="less than no counters"),
        pytest.param(_page_of(b"{}", [[2**64, 1]], [0, 0]), id="a range beyond all"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS, 65]], [0, 0]), id="too few numbers"),
        pytest.param(_page_of(b"{}", [_ONE], [0] * 65), id="too many numbers"),
        pytest.param(_page_of(b"{}", [_ONE], b"\x36" + bytes(400)), id="numbers of too many bits"),
        pytest.param(_page_of(b"{}", [_ONE], b"\0" + bytes(7)), id="numbers without an end"),
        pytest.param(_page_of(b"{}", [_ONE], [2**50, 0]), id="a gap beyond all"),
        pytest.param(_page_of(b"{}", [[2_000, 1]], [9_999, 0]), id="no such counter"),
        pytest.param(_page_of(b"{}", [_ONE], [0, 2**53]), id="too many values"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS, 2]], [0, 0, 2**52, 2**52]), id="too many values together"),
        pytest.param(_page_of(b'{"hdr":~}', []), id="a histogram that is not there"),
        pytest.param(_page_of(b'{"hdr":~7}', [_ONE], [0, 0]), id="a number that no histogram has"),
        pytest.param(_page_of(b'{"hdr":~' + b"9" * 5_000 + b"}", []), id="a number of 5,000 digits"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 0, 2]], [0, 0]), id="the sum of what is not there"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 0, 1]], [0, 0]), id="the sum of itself"),
        pytest.param(_page_of(b"{}", [[_HIGHEST_NS, 0, 1], [_HIGHEST_NS, 0, 0]]), id="sums of each other"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 0, -2]], [0, 0]), id="the sum of one before all"),
        pytest.param(_page_of(b"{}", [_ONE, [2_000, 0, 0]], [9_999, 0]), id="a sum beyond its range"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 0, 0, 0]], [0, 2**52]), id="a sum of too many values"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 1, 0]], [0, 0, 0, 1]), id="a sum that has less"),
        pytest.param(_page_of(b"{}", [_ONE, [_HIGHEST_NS, 1, 0]], [0, 9, 0, 0]), id="a sum that has not so much"),
    ],
)
def test_what_is_not_packed_by_us_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpacked(text, _MOST)


_LARGE = [2**62, 20_000]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_page_of(b" " * 2**26, []), id="much of nothing"),
        pytest.param(
            _page_of(b'{"hdr":~},' + b'{"hdr":~0},' * 90_000, [_LARGE], [0] * 40_000), id="one histogram many times"
        ),
        pytest.param(_page_of(b"{}", [[2**62, 0]] * 50_000), id="many histograms of nothing"),
        pytest.param(
            _page_of(b"{}", [_LARGE, *[[2**62, 0, *[0] * 100]] * 300], [0] * 40_000), id="many sums of many histograms"
        ),
        pytest.param(_page_of(b"{}", [[2**62, 2_999_999]], b"\x35" * 2_000), id="many numbers of many bits"),
    ],
)
def test_what_inflates_to_more_than_there_may_be_is_refused_within_bounds(text: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"."):
            unpacked(text, _MOST)
        assert tracemalloc.get_traced_memory()[1] < 30 * _MOST
    finally:
        tracemalloc.stop()


def test_an_empty_histogram_is_one_too() -> None:
    text = json.dumps({"hdr": Histogram.empty(_HIGHEST_NS).encode()}, separators=(",", ":"))
    assert unpacked(packed(text).encode(), _MOST) == text.encode()
    nothing = np.zeros(0, np.int64)
    assert encode_used(_HIGHEST_NS, nothing, nothing) == Histogram.empty(_HIGHEST_NS).encode()


# -- sums


def test_a_histogram_that_is_the_sum_of_others_is_packed_as_their_numbers() -> None:
    chance = np.random.default_rng(1)
    parts = [chance.integers(0, 10**9, 1_000).tolist() for _ in range(3)]
    rows, total = [_encoded(values) for values in parts], _encoded([value for part in parts for value in part])
    text = json.dumps([{"hdr": one} for one in (total, *rows)], separators=(",", ":"))
    without, with_sum = packed(text), packed(text, {total: rows})
    assert unpacked(with_sum.encode(), _MOST) == unpacked(without.encode(), _MOST) == text.encode()
    assert len(with_sum) < 0.7 * len(without)


def test_a_histogram_that_is_most_of_another_is_packed_as_the_rest_of_it() -> None:
    chance = np.random.default_rng(1)
    values = chance.integers(0, 10**9, 3_000).tolist()
    rows, total, most = [_encoded(values[::2]), _encoded(values[1::2])], _encoded(values), _encoded(values[:2_900])
    text = json.dumps([{"hdr": one} for one in (total, most, *rows)], separators=(",", ":"))
    without, with_rest = packed(text, {total: rows}), packed(text, {total: rows, most: [total]})
    assert unpacked(with_rest.encode(), _MOST) == unpacked(without.encode(), _MOST) == text.encode()
    assert len(with_rest) < 0.7 * len(without)


@pytest.mark.parametrize("of", ["others", "too few", "itself", "what is not there"])
def test_what_is_no_sum_is_packed_as_it_is(of: str) -> None:
    rows = [_encoded([at, 5, 10**6 * at]) for at in (1, 2, 3)]
    total = _encoded([1, 5, 10**6, 2, 5, 2 * 10**6])
    text = json.dumps([{"hdr": one} for one in (total, *rows)], separators=(",", ":"))
    assert unpacked(packed(text, {total: rows[:2], rows[0]: [total]}).encode(), _MOST) == text.encode()
    said = {"others": rows, "too few": rows[:1], "itself": [total, *rows], "what is not there": [*rows[:2], "AAAA"]}
    assert unpacked(packed(text, {total: said[of]}).encode(), _MOST) == text.encode()


def test_it_ends_no_block_of_data() -> None:
    chance = np.random.default_rng(1)
    text = json.dumps({"hdr": _encoded(chance.integers(0, 10**9, 9_000).tolist())}, separators=(",", ":"))
    assert "<" not in packed(text)
    assert "," in packed(text)  # what stands for it
