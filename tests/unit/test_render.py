"""Pools of messages: how large they are, and what is in them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from loadkit.wire.render import (
    MOST_MESSAGES,
    MOST_POOL_BYTES,
    Message,
    Order,
    files_of,
    message_of,
    pool_size,
    render,
)
from loadkit.wire.script import Script
from loadkit.wire.texts import TextError, parse_text


def _messages(*texts: str) -> list[Message]:
    return [message_of(text, {"file": b"{n} as it is\\n"}) for text in texts]


def _texts_of(script: Script) -> list[bytes]:
    """Returns the messages of a pool, each by itself."""
    count = script.count(len(script.content))
    begins = [script.begin(number) for number in range(count + 1)]
    return [bytes(script.content[begin:end]) for begin, end in itertools.pairwise(begins)]


def _render(texts: Sequence[str], order: Order = Order.TURN, seed: int = 1, count: int = 12) -> Script:
    return render(_messages(*texts), order, seed, count)


def test_texts_are_in_turn() -> None:
    assert _texts_of(_render(["a", "bb", "ccc"], count=6)) == [b"a", b"bb", b"ccc"] * 2


def test_at_random_each_text_comes_about_as_often() -> None:
    texts = _texts_of(_render(["a", "bb", "ccc"], Order.RANDOM, count=3000))
    assert {text: round(texts.count(text) / 1000, 1) for text in set(texts)} == {b"a": 1.0, b"bb": 1.0, b"ccc": 1.0}


def test_a_file_is_taken_as_it_is() -> None:
    assert _texts_of(_render(["@file"], count=2)) == [b"{n} as it is\\n"] * 2
    assert files_of(parse_text("@file")) == ("file",)
    assert files_of(parse_text("{n} {choice:a b} {rand:1-2} {choice:c:d}")) == ("a b", "c:d")


def test_the_same_seed_writes_the_same_pool_and_another_one_another() -> None:
    texts = ["{rand:1-999} {hex:8}", "{uuid} {bytes:9}"]
    one, again, other = (_render(texts, Order.RANDOM, seed) for seed in (1, 1, 2))
    assert (bytes(one.content), list(one.ends)) == (bytes(again.content), list(again.ends))
    assert bytes(one.content) != bytes(other.content)


def test_what_differs_is_different_in_each_message() -> None:
    texts = _texts_of(_render(["{hex:16}"], count=100))
    assert len(set(texts)) == 100


def test_what_is_fresh_has_a_place_in_each_message() -> None:
    script = _render(["get {n:4}\n", "{conn:2}{rand:1-9}"], count=4)
    # get 0000\n 00r get 0000\n 00r
    assert [(patch >> 16, patch >> 8 & 0xFF, patch & 0xFF) for patch in script.patches] == [
        (4, 4, 0),
        (9, 2, 1),
        (16, 4, 0),
        (21, 2, 1),
    ]
    assert script.content[4:8] == b"0000"


def test_messages_of_one_length_are_found_without_a_search() -> None:
    assert _render(["get {rand:1-9}", "put {rand:1-9}"]).size == 5
    assert _render(["get {rand:1-1000}"], count=100).size == 0


def test_connections_begin_with_the_first_text_and_elsewhere_at_random() -> None:
    fixed, turn = _render(["a", "bb"]), _render(["{hex:4}", "bb"])
    assert (fixed.starts, turn.starts, turn.block) == (1, 6, 2)
    # 12 messages in turn: connections begin with a first one.
    begins = {turn.origin(conn) for conn in range(100)}
    assert begins == {number * (4 + 2) for number in range(6)}
    anywhere = _render(["a", "bb"], Order.RANDOM)
    assert {anywhere.origin(conn) for conn in range(100)} == {anywhere.begin(number) for number in range(12)}


def test_connections_are_spread_over_the_pool() -> None:
    script = _render(["{hex:4}"], count=1000)
    begins = sorted(script.origin(conn) for conn in range(100))
    # Of a thousand messages a hundred connections leave no more than three times the even gap.
    assert max(b - a for a, b in itertools.pairwise(begins)) <= 3 * 4 * 10


@pytest.mark.parametrize(
    ("texts", "order", "size"),
    [
        # Those that repeat: 256 KiB of them, in whole rounds.
        pytest.param(["x" * 1024], Order.TURN, 256, id="one text"),
        pytest.param(["x" * 1024, "y" * 1024, "{n:1}" + "y" * 1023], Order.TURN, 86 * 3, id="three texts"),
        pytest.param(["x"], Order.TURN, MOST_MESSAGES, id="a byte"),
        pytest.param(["x" * 1_000_000], Order.TURN, 1, id="a long one"),
        # Those that differ: as many as there may be.
        pytest.param(["{hex:8}"], Order.TURN, MOST_MESSAGES, id="short ones that differ"),
        pytest.param(["{bytes:1KiB}"], Order.TURN, 16 * 1024, id="long ones that differ"),
        pytest.param(["{bytes:1MiB}", "x"], Order.TURN, 30, id="two in turn"),
        pytest.param(["{bytes:64MiB}"], Order.TURN, 1, id="one that is longer than the pool"),
        pytest.param(["x" * 1024, "y" * 1024], Order.RANDOM, 16 * 1024, id="at random"),
        pytest.param([f"{number:06}" for number in range(MOST_MESSAGES + 1)], Order.TURN, MOST_MESSAGES + 1, id="many"),
    ],
)
def test_how_many_messages_a_pool_has(texts: list[str], order: Order, size: int) -> None:
    messages = _messages(*texts)
    assert pool_size(messages, order) == size
    assert size % len(texts) == 0 or order is Order.RANDOM
    mean = sum(message.mean for message in messages) / len(messages)
    assert size == len(texts) or size * mean <= MOST_POOL_BYTES


@pytest.mark.parametrize("text", ["", "hex:", "base64:"])
def test_an_empty_message_cannot_be_sent(text: str) -> None:
    with pytest.raises(TextError, match="column 1: an empty message cannot be sent"):
        message_of(text, {})
    with pytest.raises(TextError, match="column 2: the file is empty"):
        message_of("@file", {"file": b""})
