"""Where replies end: the Python reference on a corpus of streams, and its twin in C on the same and on any other."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.engine.compiled import native_missing
from loadkit.wire.coded import Coded
from loadkit.wire.delimited import Delimited
from loadkit.wire.echo import echo_script
from loadkit.wire.fixed import Fixed
from loadkit.wire.prefixed import Prefixed
from loadkit.wire.protocol import REPLY_ERRORS, Unexpected
from loadkit.wire.script import Stream
from loadkit.wire.unmarked import Closed, Quiet, Silent
from loadkit.wire.wires import RULES, Rule, framing_of

_CORPUS = Path(__file__).with_name("framings")


class Case(NamedTuple):
    """A stream, where replies end in it, and what is wrong behind the last of them."""

    rule: Rule
    stream: bytes
    ends: tuple[int, ...]
    wrong: str | None
    splits: tuple[tuple[int, ...], ...]


class Fed(NamedTuple):
    """How many replies ended within each piece, and what was wrong with the next one."""

    replies: tuple[int, ...]
    wrong: str | None


Feed = Callable[[Rule, list[bytes]], Fed]


def _read() -> Iterator[Any]:
    for file in sorted(_CORPUS.glob("*.toml")):
        for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]:
            fields = {
                name: value.encode("latin-1") if isinstance(value, str) else value
                for name, value in case["rule"].items()
            }
            splits = tuple(map(tuple, case.get("splits", ())))
            rule = RULES[file.stem](**fields)
            stream = case["stream"].encode("latin-1")
            yield pytest.param(
                Case(rule, stream, tuple(case["ends"]), case.get("wrong"), splits), id=f"{file.stem}: {case['name']}"
            )


def _feed_python(rule: Rule, pieces: list[bytes]) -> Fed:
    framing = framing_of(rule, Stream(echo_script(1)))
    progress, replies = framing.begin, []
    for piece in pieces:
        try:
            progress, ends = framing.feed(progress, piece)
        except Unexpected as unexpected:
            return Fed((*replies, len(unexpected.ends)), unexpected.error)
        replies.append(len(ends))
    return Fed(tuple(replies), None)


def _feed_c(rule: Rule, pieces: list[bytes]) -> Fed:
    from loadkit.engine.native import _core
    from loadkit.engine.native.rows import rule_values

    values, progress, replies = rule_values(rule), (0, 0), []
    for piece in pieces:
        progress, ended, wrong = _core.take_replies(values, progress, piece)
        replies.append(ended)
        if wrong:
            return Fed(tuple(replies), REPLY_ERRORS[wrong - 1])
    return Fed(tuple(replies), None)


def _cut(stream: bytes, at: tuple[int, ...]) -> list[bytes]:
    return [stream[begin:end] for begin, end in itertools.pairwise((0, *at, len(stream)))]


def _ends(fed: Fed, pieces: list[bytes]) -> list[int]:
    """Returns where replies ended, of a stream that was fed byte by byte."""
    assert all(len(piece) == 1 for piece in pieces)
    return [at + 1 for at, ended in enumerate(fed.replies) if ended]


_FEEDS = [
    pytest.param(_feed_python, id="Python"),
    pytest.param(_feed_c, id="C", marks=pytest.mark.skipif(bool(native_missing()), reason=str(native_missing()))),
]


@pytest.mark.parametrize("feed", _FEEDS)
@pytest.mark.parametrize("case", [*_read()])
def test_replies_end_where_the_corpus_says_whole_byte_by_byte_and_in_pieces(case: Case, feed: Feed) -> None:
    single = [case.stream[at : at + 1] for at in range(len(case.stream))]
    fed = feed(case.rule, single)
    assert (_ends(fed, single), fed.wrong) == (list(case.ends), case.wrong)
    for at in ((), *case.splits):
        pieces = _cut(case.stream, at)
        fed = feed(case.rule, pieces)
        assert (sum(fed.replies), fed.wrong) == (len(case.ends), case.wrong)
        # Each in the piece that its last byte is in.
        for number, end in enumerate((*at, len(case.stream))[: len(fed.replies)]):
            assert sum(fed.replies[: number + 1]) == sum(reply <= end for reply in case.ends)


@pytest.mark.parametrize("feed", _FEEDS)
@pytest.mark.parametrize("case", [*_read()])
def test_a_reply_is_the_same_with_the_next_one_behind_it(case: Case, feed: Feed) -> None:
    begins = (0, *case.ends)
    replies = [case.stream[begin:end] for begin, end in itertools.pairwise(begins)]
    for reply, following in itertools.product(replies, replies):
        assert feed(case.rule, [reply]) == Fed((1,), None)
        assert feed(case.rule, [reply + following]) == Fed((2,), None)


_FEW = st.integers(0, 3)
_RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Fixed, st.integers(1, 9)),
    st.builds(Delimited, st.text("ab\n", min_size=1, max_size=16).map(str.encode), st.integers(1, 40)),
    st.builds(Prefixed, _FEW, st.integers(0, 8), st.booleans(), st.integers(-6, 6), st.integers(0, 40)),
    st.builds(Prefixed, _FEW, st.integers(0, 8), st.booleans(), st.sampled_from([-(2**31), 2**31 - 1])),
    st.builds(
        Prefixed,
        _FEW,
        st.integers(0, 8),
        st.booleans(),
        st.integers(-6, 6),
        st.integers(0, 40),
        st.sampled_from([b"\x00", b"a", b"\x80"]),
    ),
    st.builds(Coded, st.integers(4, 40)),
    st.builds(Closed, st.integers(1, 40)),
    st.builds(Quiet, st.integers(1, 40), st.integers(1, 40)),
    st.builds(Silent),
)
# Few different bytes, so that delimiters are found, and lengths are short; and any.
_BYTES = st.one_of(
    st.text("ab\n", max_size=60).map(str.encode),
    st.lists(st.sampled_from(["250-", "250 ", "250\n", "\n", "25", "0", "a", "\r\n"]), max_size=20).map(
        lambda pieces: "".join(pieces).encode()
    ),
    st.lists(st.sampled_from([0, 0, 0, 1, 2, 5, 0x80, 0x81, 0xFF]), max_size=60).map(bytes),
    st.binary(max_size=60),
)


@pytest.mark.skipif(bool(native_missing()), reason=str(native_missing()))
@given(_RULES, _BYTES, st.lists(st.integers(0, 60), max_size=6))
def test_python_and_c_find_the_same_replies_in_any_bytes_in_any_pieces(
    rule: Rule, stream: bytes, at: list[int]
) -> None:
    pieces = _cut(stream, tuple(sorted(min(one, len(stream)) for one in at)))
    fed = _feed_python(rule, pieces)
    assert _feed_c(rule, pieces) == fed
    single = [stream[place : place + 1] for place in range(len(stream))]
    byte_by_byte = _feed_python(rule, single)
    assert _feed_c(rule, single) == byte_by_byte
    assert (sum(byte_by_byte.replies), byte_by_byte.wrong) == (sum(fed.replies), fed.wrong)


def test_every_rule_but_the_echo_has_a_corpus() -> None:
    assert {file.stem for file in _CORPUS.glob("*.toml")} == set(RULES) - {"echo"}
