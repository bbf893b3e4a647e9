from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.echo import WRONG_BYTES, Echo, EchoFraming, echo_script
from loadkit.wire.protocol import Unexpected
from loadkit.wire.script import PIECE_BYTES, Script, Stream
from loadkit.wire.wires import Wire, framing_of

_SIZES = st.sampled_from([1, 2, 64, 241, 250, 251, 252, 502, 4096, 4097, 5 * 251])


def _framing(size: int, check: bool = True) -> EchoFraming:
    return EchoFraming(Echo(check), Stream(echo_script(size)))


def _feed(framing: EchoFraming, at: int, chunk: bytes) -> tuple[int, list[int]]:
    """Returns the progress, and where replies end in the bytes."""
    progress, ends = framing.feed(at, chunk)
    return progress, list(ends)


def _sent(size: int, length: int) -> bytes:
    """Returns the first bytes that a connection sends."""
    return bytes(itertools.islice(itertools.cycle(echo_script(size).content), length))


@pytest.mark.parametrize("size", [1, 64, 241, 251, 251 * 241, PIECE_BYTES])
def test_successive_messages_differ_whatever_the_size(size: int) -> None:
    script = echo_script(size)
    stream, period = Stream(script), len(script.content)
    messages = [stream.messages[n * size % stream.cycle] for n in range(period)]
    assert all(len(message) == size for message in messages)
    # Told apart by their first byte: as the period does not divide the size, each message begins elsewhere in it.
    assert len({message[0] for message in messages}) == period
    assert stream.messages[period * size % stream.cycle] == messages[0]


@given(_SIZES, st.integers(1, 500))
def test_a_message_that_is_missing_or_doubled_shows(size: int, n: int) -> None:
    framing, message = _framing(size), _sent(size, (n + 1) * size)[n * size :]
    assert _feed(framing, n * size, message) == ((n + 1) * size, [size])
    for at in ((n + 1) * size, (n - 1) * size):
        with pytest.raises(Unexpected) as caught:
            framing.feed(at, message)
        assert (caught.value.error, caught.value.ends) == (WRONG_BYTES, ())


def test_without_a_check_any_bytes_will_do() -> None:
    assert _feed(_framing(64, check=False), 60, b"x" * 100) == (160, [4, 68])  # at 64 and 128


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
    progress, found = _feed(_framing(64, check=False), position, bytes(length))
    assert (progress, len(found)) == (position + length, ends)
    assert all((position + end) % 64 == 0 for end in found)


@given(st.integers(1, 5000), st.lists(st.integers(0, 10_000), max_size=20))
def test_replies_counted_segment_by_segment_sum_to_the_whole(size: int, lengths: list[int]) -> None:
    framing, data = _framing(size), _sent(size, sum(lengths))
    at, replies = framing.begin, 0
    for length in lengths:
        at, ended = framing.feed(at, data[at : at + length])
        replies += len(ended)
    assert (at, replies) == (sum(lengths), sum(lengths) // size)
    assert _feed(framing, 0, data) == (at, [size * (n + 1) for n in range(replies)])


def test_replies_to_messages_of_several_lengths_end_where_these_do() -> None:
    framing = EchoFraming(Echo(check=True), Stream(Script(b"abc", (5, 6))))  # abcab c, abcab c, …
    fed = [len(framing.feed(at, b"abcabcabcabc"[at : at + 1])[1]) for at in range(12)]
    assert fed == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1]
    assert _feed(framing, 0, b"abcabcabcabc") == (12, [5, 6, 11, 12])
    assert _feed(framing, 3, b"abcabcabc") == (12, [2, 3, 8, 9])


def test_the_wire_of_an_echo_has_its_script_and_its_framing() -> None:
    wire = Wire(echo_script(64), Echo(check=False))
    assert wire.rule.says_hello
    progress, ends = framing_of(wire.rule, Stream(wire.script)).feed(0, b"x" * 64)
    assert (progress, list(ends)) == (64, [64])
