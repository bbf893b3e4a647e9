"""The compiled core's scripts and Python's, run against each other over fields, orders and positions."""

from __future__ import annotations

import itertools
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadkit.wire.render import Message, Order, message_of, pool_size, render
from loadkit.wire.script import FRESH, PIECE_BYTES, Script, Stream, stretched

from .by_hand import _core, script_values

_TEXTS = st.lists(
    st.lists(
        st.sampled_from(
            ["a", r"GET\r\n", "{n}", "{n:3}", "{conn}", "{worker:1}", "{now_ns}", "{rand:1-5000}", "{hex:3}", "{uuid}"]
        ),
        min_size=1,
        max_size=5,
    ).map("".join),
    min_size=1,
    max_size=4,
)
_POOLS = st.builds(
    lambda texts, order, seed, count: render(
        [message_of(text, {}) for text in texts], order, seed, -(-count // len(texts)) * len(texts)
    ),
    _TEXTS,
    st.sampled_from(Order),
    st.integers(0, 3),
    st.integers(1, 30),
)
_SCRIPTS = st.builds(
    Script,
    st.binary(min_size=1, max_size=40),
    st.lists(st.integers(1, 60), min_size=1, max_size=30).map(lambda sizes: tuple(itertools.accumulate(sizes))),
    starts=st.integers(1, 9),
    block=st.integers(1, 3),
)
_VALUES = st.tuples(*[st.integers(0, 2**63 - 1)] * len(FRESH))


def _sent(stream: Stream, position: int, wanted: int, values: tuple[int, ...], step: int) -> bytes:
    """Returns what Python sends from a position on, message by message; the values are those of message 0."""
    script = stream.script
    at = script.begin(script.count(position))
    skipped, sent = position - at, b""
    while len(sent) < skipped + wanted:
        fresh = (values[0] + script.count(at) * step, *values[1:])
        sent += stream.patched(stream.messages[at % stream.cycle], at, fresh)
        at += script.length(at)
    return sent[skipped : skipped + wanted]


@settings(deadline=None, max_examples=300)
@given(_POOLS | _SCRIPTS, st.integers(0, 3000), st.integers(0, 300), st.integers(0, 2**40), _VALUES, st.integers(1, 9))
def test_both_engines_send_the_same_bytes(
    script: Script, position: int, wanted: int, conn: int, values: tuple[int, ...], step: int
) -> None:
    values = (values[0] // 2**20, *values[1:])  # with all its steps it is within 63 bits
    stream = Stream(script)
    sent = _sent(stream, position, wanted, values, step)
    found = _core.try_script(script_values(script, 1), (position, wanted, conn), (*values, step), sent)
    assert found == (sent, script.length(position), script.count(position), script.origin(conn), True)
    assert stream.matches(position, sent)
    # Any other byte is wrong for both, or fresh for both.
    for at in range(0, len(sent), 7):
        other = sent[:at] + bytes([sent[at] ^ 0x55]) + sent[at + 1 :]
        *_, is_right = _core.try_script(script_values(script, 1), (position, wanted, conn), (*values, step), other)
        assert is_right == stream.matches(position, other)


@given(_SCRIPTS, st.integers(1, 5))
def test_the_core_has_a_period_and_a_stretch(script: Script, depth: int) -> None:
    content = bytes(stretched(script, depth))
    assert len(content) >= len(script.content) + 16 * 1024
    assert content == bytes(itertools.islice(itertools.cycle(bytes(script.content)), len(content)))


def test_a_pool_is_not_copied() -> None:
    messages = [message_of("get {rand:1-9}", {})]
    script = render(messages, Order.TURN, 1, 1 + PIECE_BYTES // 5)
    assert stretched(script, 16) is script.content
    assert script_values(script, 16)[2] is script.ends or len(script.ends) == 1
    assert Stream(script).piece(0, 5).obj is script.content


def test_messages_are_found_whatever_their_lengths() -> None:
    # Small ones between some that are a thousand times as long: the index has stretches with many, and many with none.
    lengths = [1, 1, 1, 5000, 2, 7000, 1, *[3] * 200, 10_000, 1]
    ends = array("q", itertools.accumulate(lengths))
    script = Script(bytes(range(251)), ends)
    for position in (*ends, *(end - 1 for end in ends), ends[-1] * 3 + 17):
        found = _core.try_script(script_values(script, 1), (position, 0, 0), (0, 0, 0, 0, 1), b"")
        assert found[1:3] == (script.length(position), script.count(position))


@pytest.mark.parametrize("order", Order)
def test_pools_of_a_real_size_are_the_same_everywhere(order: Order) -> None:
    messages: list[Message] = [message_of(text, {}) for text in ("get {rand:1-100000}\\r\\n", "set {n} {hex:8}\\r\\n")]
    script = render(messages, order, 7, min(pool_size(messages, order), 4000))
    stream, length = Stream(script), len(script.content)
    for conn in range(50):
        position = script.origin(conn) + length * conn
        sent = _sent(stream, position, 500, (conn, 2, 3, 4), 2)
        found = _core.try_script(script_values(script, 1), (position, 500, conn), (conn, 2, 3, 4, 2), sent)
        assert found == (sent, script.length(position), script.count(position), script.origin(conn), True)
