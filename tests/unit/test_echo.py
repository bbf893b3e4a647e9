from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.echo import PIECE_BYTES, EchoFraming

_SIZES = st.sampled_from([1, 2, 64, 241, 250, 251, 252, 502, 4096, 4097, 5 * 251])
_CUTS = st.lists(st.floats(0, 1), max_size=8)


def _stream(framing: EchoFraming, length: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(range(framing.period)), length))


def _segments(data: bytes, cuts: list[float]) -> list[tuple[int, bytes]]:
    at = sorted({0, len(data), *(round(cut * len(data)) for cut in cuts)})
    return [(start, data[start:end]) for start, end in itertools.pairwise(at)]


@given(_SIZES)
def test_messages_one_after_another_are_the_stream(size: int) -> None:
    framing = EchoFraming(size)
    count = framing.period + 2
    sent = b"".join(bytes(framing.messages[n * size % framing.period]) for n in range(count))
    assert sent == _stream(framing, count * size)


@pytest.mark.parametrize("size", [1, 64, 241, 251, 251 * 241, PIECE_BYTES])
def test_successive_messages_differ_whatever_the_size(size: int) -> None:
    framing = EchoFraming(size)
    assert all(len(message) == size for message in framing.messages)
    # Told apart by their first byte: as the period does not divide the size, each message begins elsewhere in it.
    starts = [n * size % framing.period for n in range(framing.period)]
    assert len({framing.messages[start][0] for start in starts}) == framing.period


@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 3 * PIECE_BYTES, 251 * 241 * 239])
def test_a_long_message_is_the_stream_piece_by_piece(size: int) -> None:
    framing = EchoFraming(size)
    assert {len(message) for message in framing.messages} == {PIECE_BYTES}
    for start in (0, size, 7 * size):
        sent = b""
        while len(sent) < size:
            piece = framing.piece(start + len(sent), size - len(sent))
            assert 0 < len(piece) <= PIECE_BYTES
            sent += piece
        assert len(sent) == size
        assert framing.matches(start, sent)
        assert not framing.matches(start + size, sent)


def test_the_longest_message_takes_no_more_memory_than_a_piece() -> None:
    tracemalloc.start()
    try:
        framing = EchoFraming(2**30)
        assert framing.matches(2**40, bytes(framing.piece(2**40, 2**30)))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * PIECE_BYTES


@given(_SIZES, st.integers(0, 3000), _CUTS)
def test_whole_is_byte_by_byte_is_any_segmentation(size: int, length: int, cuts: list[float]) -> None:
    framing = EchoFraming(size)
    data = _stream(framing, length)
    single = [(at, data[at : at + 1]) for at in range(0, length, 7)]
    for segments in ([(0, data)], single, _segments(data, cuts)):
        assert all(framing.matches(at, chunk) for at, chunk in segments)


@given(_SIZES, st.integers(1, 3000), st.data())
def test_a_wrong_byte_anywhere_is_found_in_whatever_segment(size: int, length: int, data: st.DataObject) -> None:
    framing = EchoFraming(size)
    received = bytearray(_stream(framing, length))
    wrong = data.draw(st.integers(0, length - 1))
    received[wrong] ^= data.draw(st.integers(1, 255))
    segments = _segments(bytes(received), data.draw(_CUTS))
    assert [framing.matches(at, chunk) for at, chunk in segments].count(False) == 1
    assert not framing.matches(0, bytes(received))


@given(_SIZES, st.integers(1, 500))
def test_a_message_that_is_missing_or_doubled_shows(size: int, n: int) -> None:
    framing = EchoFraming(size)
    message = bytes(framing.messages[n * size % framing.period])
    assert framing.matches(n * size, message)
    assert not framing.matches((n + 1) * size, message)
    assert not framing.matches((n - 1) * size, message)


def test_nothing_received_is_right_at_any_position() -> None:
    assert EchoFraming(64).matches(12_345, b"")


@pytest.mark.parametrize(
    ("position", "length", "ends"),
    [
        (0, 63, 0),
        (0, 64, 1),
        (63, 1, 1),
        (64, 64, 1),
        (1, 640, 10),  # bytes 1 … 640: ends at 63, 127, … 639
        (60, 200, 4),  # 260 // 64 - 0
        (64, 0, 0),
    ],
)
def test_replies_end_at_multiples_of_the_size(position: int, length: int, ends: int) -> None:
    assert EchoFraming(64).completed(position, length) == ends


@given(st.integers(1, 5000), st.lists(st.integers(0, 10_000), max_size=20))
def test_replies_counted_segment_by_segment_sum_to_the_whole(size: int, lengths: list[int]) -> None:
    framing = EchoFraming(size)
    starts = [0, *itertools.accumulate(lengths)]
    parts = sum(framing.completed(at, length) for at, length in zip(starts, lengths, strict=False))
    assert parts == framing.completed(0, sum(lengths)) == sum(lengths) // size
