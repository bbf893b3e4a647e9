"""Message texts: escapes, braces, files, hexadecimal digits, base64; and errors that say where."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.wire.texts import Slot, Text, TextError, parse_text, unescape


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("PING", (b"PING",), id="plain"),
        pytest.param(r"GET\r\n\t\0\\", (b"GET\r\n\t\0\\",), id="escapes"),
        pytest.param(r"\x00\xfF\x7b", (b"\x00\xff{",), id="bytes in hexadecimal"),
        pytest.param("grün", ("grün".encode(),), id="UTF-8"),
        pytest.param("\udcff", (b"\xff",), id="a byte of the command line that is no UTF-8"),
        pytest.param("get {n}\\n", (b"get ", Slot("n", 5), b"\n"), id="a field"),
        pytest.param("{a}{b:1}", (Slot("a", 1), Slot("b:1", 4)), id="fields alone"),
        pytest.param('{{"k":{n}}}', (b'{"k":', Slot("n", 7), b"}"), id="braces around a field"),
        pytest.param("", (), id="empty"),
        pytest.param("hex:00 1d\nFf", (b"\x00\x1d\xff",), id="hexadecimal digits"),
        pytest.param("hex:", (), id="no digits"),
        pytest.param("base64:R0VU", (b"GET",), id="base64"),
        pytest.param("base64: R0 VUCg==", (b"GET\n",), id="base64 with blanks"),
        pytest.param("base64:e30=", (b"{}",), id="no fields in base64"),
        pytest.param(r"\x40file", (b"@file",), id="an at sign"),
        pytest.param(" @file", (b" @file",), id="an at sign further on"),
    ],
)
def test_a_text_is_taken_apart(text: str, parts: tuple[bytes | Slot, ...]) -> None:
    assert parse_text(text) == Text(parts)


def test_a_file_is_named_and_not_read() -> None:
    assert parse_text("@no/such file{n}") == Text(path="no/such file{n}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"ab\q", r"column 3: unknown escape \q: there are \r, \n, \t, \0, \xHH and \\"),
        (r"ab\x4", r"column 3: \x needs two hexadecimal digits"),
        (r"ab\xg0", r"column 3: \x needs two hexadecimal digits"),
        ("ab\\", r"column 3: a backslash at the end: write \\ for a backslash"),
        ("a {n", "column 3: this brace has no end: write {{ for a brace"),
        ("a } b", "column 3: this brace ends nothing: write }} for a brace"),
        ("{n}}", "column 4: this brace ends nothing: write }} for a brace"),
        ("\ud800", r"column 1: U+D800 cannot be encoded: write its bytes as \xHH"),
        ("@", r"column 2: @ needs the name of a file; a text that begins with @ is written \x40…"),
        ("hex:0g", "column 6: 'g' is not a hexadecimal digit"),
        ("hex:00 1", "column 8: a byte has two hexadecimal digits, and the last one has one"),
        ("base64:R0V!", "column 11: '!' is not a character of base64"),
        ("base64:R0V", "column 8: not base64: incorrect padding"),
    ],
)
def test_an_error_says_what_and_where(text: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_text(text)
    assert str(caught.value) == message
    assert message.startswith(f"column {caught.value.column}:")


def test_a_literal_has_no_field() -> None:
    assert parse_text(r"AUTH x\r\n").literal() == b"AUTH x\r\n"
    assert parse_text("").literal() == b""
    with pytest.raises(TextError, match=r"column 3: no field can stand here: write \{\{ for a brace, got \{n\}"):
        parse_text("a {n}").literal()


def test_what_is_only_unescaped_may_have_braces() -> None:
    assert unescape(r"}\r\n{") == b"}\r\n{"
    with pytest.raises(TextError, match=r"column 8: unknown escape"):
        unescape(r"a\q", first_column=7)


@given(st.binary())
def test_bytes_in_any_spelling_are_the_same_bytes(content: bytes) -> None:
    escaped = "".join(f"\\x{byte:02x}" for byte in content)
    assert parse_text(escaped).literal() == unescape(escaped) == content
    assert parse_text(f"hex:{content.hex()}").literal() == content
    assert parse_text(f"base64:{base64.b64encode(content).decode()}").literal() == content


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\\@"), max_size=40))
def test_a_text_with_its_braces_doubled_is_itself(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    if not doubled.startswith(("hex:", "base64:")):
        assert parse_text(doubled).literal() == text.encode()
