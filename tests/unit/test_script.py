from __future__ import annotations

import itertools
import tracemalloc
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.echo import echo_script
from loadkit.wire.script import PIECE_BYTES, Script, Stream

_SIZES = st.sampled_from([1, 2, 64, 241, 250, 251, 252, 502, 4096, 4097, 5 * 251])
_CUTS = st.lists(st.floats(0, 1), max_size=8)
_SCRIPTS = st.builds(
    Script,
    st.binary(min_size=1, max_size=40),
    st.lists(st.integers(1, 60), min_size=1, max_size=8).map(lambda sizes: tuple(itertools.accumulate(sizes))),
)


def _bytes_of(script: Script, length: int) -> bytes:
    return bytes(itertools.islice(itertools.cycle(script.content), length))


def _begins(script: Script, count: int) -> list[int]:
    """Returns where the first messages begin, by adding up their lengths."""
    lengths = [end - begin for begin, end in itertools.pairwise((0, *script.ends))]
    return [0, *itertools.accumulate(itertools.islice(itertools.cycle(lengths), count))]


def segments(data: bytes, cuts: list[float]) -> list[tuple[int, bytes]]:
    at = sorted({0, len(data), *(round(cut * len(data)) for cut in cuts)})
    return [(start, data[start:end]) for start, end in itertools.pairwise(at)]


@given(_SCRIPTS)
def test_messages_one_after_another_are_the_stream(script: Script) -> None:
    stream = Stream(script)
    begins = _begins(script, 2 * len(script.ends) + len(script.content) + 2)
    for _ in range(2):  # what was cut once is the same again
        sent = b"".join(bytes(stream.messages[at % stream.cycle]) for at in begins[:-1])
        assert sent == _bytes_of(script, begins[-1])


@given(_SCRIPTS, st.integers(0, 500))
def test_lengths_and_counts_follow_from_the_position(script: Script, position: int) -> None:
    begins = _begins(script, 600)
    number = bisect_right(begins, position) - 1
    assert script.length(position) == begins[number + 1] - begins[number]
    assert script.count(position) == number


def test_a_script_with_messages_of_one_length_says_so() -> None:
    assert (Script(b"ab", (5,)).size, Script(b"ab", (5,)).longest) == (5, 5)
    # 5 and 7 bytes, then 2.
    assert (Script(b"ab", (5, 12, 14)).size, Script(b"ab", (5, 12, 14)).longest) == (0, 7)


@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 3 * PIECE_BYTES, 251 * 241 * 239])
def test_a_long_message_is_the_stream_piece_by_piece(size: int) -> None:
    stream = Stream(echo_script(size))
    assert len(stream.messages[0]) == PIECE_BYTES
    for start in (0, size, 7 * size):
        sent = b""
        while len(sent) < size:
            piece = stream.piece(start + len(sent), size - len(sent))
            assert 0 < len(piece) <= PIECE_BYTES
            sent += piece
        assert len(sent) == size
        assert stream.matches(start, sent)
        assert not stream.matches(start + size, sent)


def test_the_longest_message_takes_no_more_memory_than_a_piece() -> None:
    tracemalloc.start()
    try:
        stream = Stream(echo_script(2**30))
        assert stream.matches(2**40, bytes(stream.piece(2**40, 2**30)))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * PIECE_BYTES


def test_many_different_messages_are_not_all_kept() -> None:
    # 2,000 messages of 1,000 bytes to 3 KB: each is a slice where it is not kept.
    stream = Stream(Script(bytes(range(251)), tuple(itertools.accumulate(range(1000, 3000)))))
    tracemalloc.start()
    try:
        for at in _begins(stream.script, 5000):
            assert len(stream.messages[at % stream.cycle]) == stream.script.length(at)
        now, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 5 * 2**20


@given(_SIZES, st.integers(0, 3000), _CUTS)
def test_whole_is_byte_by_byte_is_any_segmentation(size: int, length: int, cuts: list[float]) -> None:
    stream = Stream(echo_script(size))
    data = _bytes_of(stream.script, length)
    single = [(at, data[at : at + 1]) for at in range(0, length, 7)]
    for pieces in ([(0, data)], single, segments(data, cuts)):
        assert all(stream.matches(at, chunk) for at, chunk in pieces)


@given(_SIZES, st.integers(1, 3000), st.data())
def test_a_wrong_byte_anywhere_is_found_in_whatever_segment(size: int, length: int, data: st.DataObject) -> None:
    stream = Stream(echo_script(size))
    received = bytearray(_bytes_of(stream.script, length))
    wrong = data.draw(st.integers(0, length - 1))
    received[wrong] ^= data.draw(st.integers(1, 255))
    pieces = segments(bytes(received), data.draw(_CUTS))
    assert [stream.matches(at, chunk) for at, chunk in pieces].count(False) == 1
    assert not stream.matches(0, bytes(received))


def test_nothing_received_is_right_at_any_position() -> None:
    assert Stream(echo_script(64)).matches(12_345, b"")
