"""Framings as text, to rules."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.coded import Coded
from loadkit.wire.delimited import LINE, Delimited
from loadkit.wire.echo import Echo
from loadkit.wire.expect import MOST_EXPECTED_BYTES, Expect
from loadkit.wire.fixed import Fixed
from loadkit.wire.prefixed import Prefixed
from loadkit.wire.unmarked import Closed, Quiet
from loadkit.wire.wires import Rule

_RULES = {
    "echo": Echo(check=True),
    "line": Delimited(LINE.delimiter, MOST_EXPECTED_BYTES),
    "line,max=4KiB": Delimited(b"\n", 4096),
    "line-code": Coded(MOST_EXPECTED_BYTES),
    "line-code,max=512": Coded(512),
    "close": Closed(MOST_EXPECTED_BYTES),
    "close,max=1k": Closed(1000),
    "idle:5ms": Quiet(5_000_000, MOST_EXPECTED_BYTES),
    "idle:1s,max=1k": Quiet(10**9, 1000),
    "bytes:64": Fixed(64),
    "bytes:1KiB": Fixed(1024),
    r"until:'\n.\n'": Delimited(b"\n.\n", MOST_EXPECTED_BYTES),
    r"until:\r\n": Delimited(b"\r\n", MOST_EXPECTED_BYTES),
    r"until:'it\x27s, max=1',max=1k": Delimited(b"it's, max=1", 1000),
    'until:"a\'b"': Delimited(b"a'b", MOST_EXPECTED_BYTES),
    r"until:\xff\0": Delimited(b"\xff\x00", MOST_EXPECTED_BYTES),
    "until:é": Delimited(b"\xc3\xa9", MOST_EXPECTED_BYTES),
    "len:u8": Prefixed(0, 1, most=MOST_EXPECTED_BYTES),
    "len:u16be": Prefixed(0, 2, most=MOST_EXPECTED_BYTES),
    "len:u24le,adjust=1": Prefixed(0, 3, is_little=True, adjust=1, most=MOST_EXPECTED_BYTES),
    "len:u32be,offset=1,adjust=-4,max=1MiB": Prefixed(1, 4, adjust=-4, most=2**20),
    "len:u32be,offset=1,adjust=-4,until=Z": Prefixed(1, 4, adjust=-4, most=MOST_EXPECTED_BYTES, until=b"Z"),
    r"len:u16le,until=\x00": Prefixed(0, 2, is_little=True, most=MOST_EXPECTED_BYTES, until=b"\x00"),
    "len:u64le": Prefixed(0, 8, is_little=True, most=MOST_EXPECTED_BYTES),
    "len:varint,offset=1": Prefixed(1, 0, most=MOST_EXPECTED_BYTES),
}
# text -> a word of the line that says what is wrong
_WRONG = {
    "": "expected echo, line",
    "lines": "did you mean line?",
    "line:": "expected echo, line",
    "line,min=1": "expected max=",
    "line,max=0": "from 1 B",
    "line,max=2GiB": "from 1 B to 1 GiB",
    "echo,max=1k": "echo takes no max=",
    "line-code,max=3": "at least 4 B",
    "len:u8,until=": "the byte that the last message begins with",
    "len:u8,until=ZZ": "the byte that the last message begins with",
    "idle": "lacks its argument",
    "idle:": "expected",
    "idle:10us": "from 100 us to 60 s",
    "idle:2m": "from 100 us to 60 s",
    "idle:5": "expected",
    "bytes": "lacks its argument",
    "bytes:": "expected",
    "bytes:0": "from 1 B",
    "bytes:-1": "expected",
    "until:": "1 to 16 bytes, got 0",
    "until:''": "1 to 16 bytes, got 0",
    "until:'abc": "not closed",
    "until:'a'b": "not closed, or more than",
    "until:'a',offset=1": "expected max=",
    "until:12345678901234567": "got 17",
    r"until:\q": r"unknown escape \q",
    r"until:\x1": "two hexadecimal digits",
    "until:\\": "a backslash at the end",
    "len": "lacks its argument",
    "len:u32": "u16be",
    "len:u12be": "u16be",
    "len:varintle": "u16be",
    "len:u8,offset=70000": "offset= from 0 to 65,536",
    "len:u8,offset=1,offset=2": "once each",
    "len:u8,adjust=one": "expected adjust=",
    "len:u8,": "expected offset=",
    "len:u8,width=2": "expected offset=, adjust=, max=, until=",
}


@pytest.mark.parametrize(("text", "rule"), _RULES.items())
def test_a_framing_is_read(text: str, rule: Rule) -> None:
    assert Expect.parse(text).rule == rule
    assert Expect.parse(text) == text


@pytest.mark.parametrize(("text", "said"), _WRONG.items())
def test_what_is_no_framing_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        Expect.parse(text)
    assert said in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="expected echo, line"):
        Expect.parse(64)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_as_a_wrong_value(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert Expect.parse(text) == text
