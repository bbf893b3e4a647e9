"""A reply of lines that begin with a code of three digits: `250-` continues, `250 ` ends. SMTP, FTP and NNTP.

RFC 5321, 4.2.1, has every line with the code. RFC 959, 4.2, lets lines between the first and the last be any text, and
has a server that begins one with three digits set blanks before them. So one rule does for both: the last line is the
first whose code is followed by a blank, or by the line's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec

from loadkit.wire.protocol import BAD_CODE, MOST_REPLY_BYTES, TOO_LONG, Unexpected

__all__ = ["Coded", "CodedFraming"]

_CODE_DIGITS = 3
_ENDS_CODE = b" \r\n"


class Coded(msgspec.Struct, frozen=True, tag="coded"):
    """A reply ends with the line whose code is followed by a blank. It has at most `most` bytes, all lines together."""

    says_hello: ClassVar[bool] = False

    most: int = MOST_REPLY_BYTES


class _Progress(NamedTuple):
    """How many bytes of a reply have come; the line's first four; and whether that is a line behind the first."""

    length: int
    head: bytes
    is_later: bool


class CodedFraming:
    """The code of the first line is judged as it comes: a peer that speaks otherwise need not end its line."""

    begin = _Progress(0, b"", False)

    def __init__(self, rule: Coded) -> None:
        self._most = rule.most

    def feed(self, progress: _Progress, chunk: bytes) -> tuple[_Progress, Sequence[int]]:
        """Takes bytes. Raises Unexpected for a first line without a code, and for a reply that is too long."""
        length, head, is_later = progress
        ends: list[int] = []
        at = 0
        while at < len(chunk):
            newline = chunk.find(b"\n", at)
            end = newline + 1 or len(chunk)
            head = (head + chunk[at : min(end, at + _CODE_DIGITS + 1)])[: _CODE_DIGITS + 1]
            if not is_later and not _may_be_code(head):
                raise Unexpected(BAD_CODE, ends)
            length += end - at
            if length > self._most:
                raise Unexpected(TOO_LONG, ends)
            at = end
            if newline < 0:
                break
            if _is_last(head):
                ends.append(at)
                length, is_later = 0, False
            else:
                is_later = True
            head = b""
        return _Progress(length, head, is_later), ends


def _may_be_code(head: bytes) -> bool:
    """Whether these may be the first bytes of a first line."""
    digits, behind = head[:_CODE_DIGITS], head[_CODE_DIGITS:]
    return digits.isdigit() and (not behind or behind in b"-" + _ENDS_CODE)


def _is_last(head: bytes) -> bool:
    return len(head) > _CODE_DIGITS and head[:_CODE_DIGITS].isdigit() and head[_CODE_DIGITS:] in _ENDS_CODE
