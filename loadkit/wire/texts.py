r"""Message texts, as they are typed: `get {n}\r\n`, `@FILE`, `hex:00 1d`, `base64:R0VU`.

In a text `\r \n \t \0 \xHH \\` are escapes, `{…}` is a field, and `{{` and `}}` are braces; the rest is UTF-8. What
stands in a file, in hexadecimal digits or in base64 is taken as it is: it has no escapes and no fields.
Nothing here reads a file: a Text says which one it needs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import msgspec

__all__ = ["Slot", "Text", "TextError", "parse_text", "unescape"]

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_HEX_BYTE = re.compile(r"x([0-9A-Fa-f]{2})")
_KNOWN = r"\r, \n, \t, \0, \xHH and \\"


class TextError(ValueError):
    """A text cannot be read. `column` is where, from 1 on; the message names it."""

    def __init__(self, column: int, what: str) -> None:
        super().__init__(f"column {column}: {what}")
        self.column = column


class Slot(msgspec.Struct, frozen=True):
    """A place for a field: what stands between the braces, and the column of the first of them."""

    spec: str
    column: int


class Text(msgspec.Struct, frozen=True):
    """A message text, taken apart: the file at `path`, or `parts` one after the other."""

    parts: tuple[bytes | Slot, ...] = ()
    path: str | None = None

    def literal(self) -> bytes:
        """Returns the bytes of a text without fields and without a file. Raises TextError for a field."""
        for part in self.parts:
            if isinstance(part, Slot):
                raise TextError(part.column, f"no field can stand here: write {{{{ for a brace, got {{{part.spec}}}")
        return b"".join(part for part in self.parts if isinstance(part, bytes))


def parse_text(text: str) -> Text:
    """Takes a text apart. Raises TextError, which says what is wrong and in which column.

    Whether a field is known, and whether the file is there, is for others to find out.
    """
    if text.startswith("@"):
        if len(text) == 1:
            raise TextError(2, r"@ needs the name of a file; a text that begins with @ is written \x40…")
        return Text(path=text[1:])
    if text.startswith("hex:"):
        return Text(_parts(_from_hex(text, 4)))
    if text.startswith("base64:"):
        return Text(_parts(_from_base64(text, 7)))
    return Text(tuple(_joined(_pieces(text))))


def unescape(text: str, first_column: int = 1) -> bytes:
    r"""Returns a text with its escapes replaced; braces mean themselves. Raises TextError for an unknown escape.

    `first_column` is where the text begins within what was typed.
    """
    found, at = [], 0
    while at < len(text):
        piece, at = _character(text, at, first_column)
        found.append(piece)
    return b"".join(found)


def _parts(content: bytes) -> tuple[bytes, ...]:
    return (content,) if content else ()


def _pieces(text: str) -> Iterator[bytes | Slot]:
    at = 0
    while at < len(text):
        character = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            yield character.encode()
            at += 2
        elif character == "{":
            end = text.find("}", at)
            if end < 0:
                raise TextError(at + 1, "this brace has no end: write {{ for a brace")
            yield Slot(text[at + 1 : end], at + 1)
            at = end + 1
        elif character == "}":
            raise TextError(at + 1, "this brace ends nothing: write }} for a brace")
        else:
            piece, at = _character(text, at)
            yield piece


def _joined(pieces: Iterator[bytes | Slot]) -> Iterator[bytes | Slot]:
    """Yields the same with neighbouring bytes in one piece."""
    literal = bytearray()
    for piece in pieces:
        if isinstance(piece, bytes):
            literal += piece
            continue
        if literal:
            yield bytes(literal)
            literal.clear()
        yield piece
    if literal:
        yield bytes(literal)


def _character(text: str, at: int, first_column: int = 1) -> tuple[bytes, int]:
    """Returns the bytes of a character or an escape, and where the next one begins."""
    column = at + first_column
    if text[at] != "\\":
        try:
            # What a command line has that is no UTF-8 comes as lone surrogates: PEP 383.
            return text[at].encode("utf-8", "surrogateescape"), at + 1
        except UnicodeEncodeError:
            raise TextError(column, rf"U+{ord(text[at]):04X} cannot be encoded: write its bytes as \xHH") from None
    following = text[at + 1 : at + 2]
    if following in _ESCAPES:
        return _ESCAPES[following], at + 2
    if found := _HEX_BYTE.match(text, at + 1):
        return bytes.fromhex(found[1]), found.end()
    if following == "x":
        raise TextError(column, r"\x needs two hexadecimal digits")
    if not following:
        raise TextError(column, r"a backslash at the end: write \\ for a backslash")
    raise TextError(column, rf"unknown escape \{following}: there are {_KNOWN}")


def _from_hex(text: str, at: int) -> bytes:
    digits, first = "", 0
    for index in range(at, len(text)):
        if text[index].isspace():
            continue
        if text[index] not in "0123456789abcdefABCDEF":
            raise TextError(index + 1, f"{text[index]!r} is not a hexadecimal digit")
        first = index
        digits += text[index]
    if len(digits) % 2:
        raise TextError(first + 1, "a byte has two hexadecimal digits, and the last one has one")
    return bytes.fromhex(digits)


def _from_base64(text: str, at: int) -> bytes:
    for index in range(at, len(text)):
        if not re.match(r"[A-Za-z0-9+/=\s]", text[index]):
            raise TextError(index + 1, f"{text[index]!r} is not a character of base64")
    try:
        return base64.b64decode("".join(text[at:].split()), validate=True)
    except ValueError as error:
        raise TextError(at + 1, f"not base64: {str(error)[:1].lower()}{str(error)[1:]}") from None
