"""What replies have to say: checks as text, and judges, whole and in pieces, in Python and in C."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.engine.compiled import native_missing
from loadkit.wire.check import NOTHING, Check, Judging, JudgingKind, judge_of
from loadkit.wire.delimited import LINE

_JUDGINGS = {
    "exact": NOTHING,
    "none": NOTHING,
    "same": Judging(JudgingKind.SAME),
    "starts:OK": Judging(JudgingKind.STARTS, b"OK"),
    r"starts:'OK \r\n'": Judging(JudgingKind.STARTS, b"OK \r\n"),
    r"contains:\x00\xff": Judging(JudgingKind.CONTAINS, b"\x00\xff"),
    "contains:a:b": Judging(JudgingKind.CONTAINS, b"a:b"),
}
_WRONG = {
    "": "expected exact, none",
    "start:OK": "did you mean starts:TEXT?",
    "starts": "did you mean starts:TEXT?",
    "starts:": "1 to 64 bytes, got 0",
    f"contains:{'x' * 65}": "1 to 64 bytes, got 65",
    r"starts:\q": r"unknown escape \q",
}


@pytest.mark.parametrize(("text", "judging"), _JUDGINGS.items())
def test_a_check_is_read(text: str, judging: Judging) -> None:
    assert Check.parse(text).judging == judging
    assert Check.parse(text) == text


@pytest.mark.parametrize(
    ("value", "text"), [(True, "exact"), (False, "none"), (0, "none"), ("true", "exact"), ("0", "none")]
)
def test_a_switch_is_a_check(value: object, text: str) -> None:
    assert Check.parse(value) == text


@pytest.mark.parametrize(("text", "said"), _WRONG.items())
def test_what_is_no_check_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        Check.parse(text)
    assert said in str(caught.value)


def _judge_python(judging: Judging, pieces: list[bytes]) -> bool:
    judge = judge_of(judging)
    assert judge
    progress = judge.begin
    for piece in pieces:
        progress = judge.feed(progress, piece)
    return judge.is_right(progress)


def _judge_c(judging: Judging, pieces: list[bytes]) -> bool:
    from loadkit.engine.native import _core
    from loadkit.engine.native.rows import rule_values

    return _core.judge_reply(rule_values(LINE, judging), tuple(pieces))


_JUDGES = [
    pytest.param(_judge_python, id="Python"),
    pytest.param(_judge_c, id="C", marks=pytest.mark.skipif(bool(native_missing()), reason=str(native_missing()))),
]


@pytest.mark.parametrize("judge", _JUDGES)
@given(st.text("ab", min_size=1, max_size=8), st.lists(st.text("ab", min_size=1, max_size=9), max_size=6))
def test_a_reply_is_judged_the_same_in_any_pieces(
    judge: Callable[[Judging, list[bytes]], bool], text: str, parts: list[str]
) -> None:
    content, pieces = text.encode(), [part.encode() for part in parts]
    whole = b"".join(pieces)
    single = [whole[at : at + 1] for at in range(len(whole))]
    for fed in (pieces, single, [whole] if whole else []):
        assert judge(Judging(JudgingKind.STARTS, content), fed) == whole.startswith(content)
        assert judge(Judging(JudgingKind.CONTAINS, content), fed) == (content in whole)


@given(st.binary(max_size=30), st.binary(max_size=30), st.integers(0, 30))
def test_replies_are_the_same_if_their_bytes_are(first: bytes, second: bytes, at: int) -> None:
    judge = judge_of(Judging(JudgingKind.SAME))
    assert judge
    assert judge.is_right(judge.feed(judge.begin, first))
    in_pieces = judge.feed(judge.feed(judge.begin, second[:at]), second[at:])
    assert judge.is_right(in_pieces) == (first == second)
    assert judge.is_right(judge.feed(judge.begin, first))


def test_nothing_that_is_asked_needs_no_judge() -> None:
    assert judge_of(NOTHING) is None
