"""A reply that ends with a delimiter: a line, or a text up to a mark of up to 16 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from loadkit.wire.protocol import MOST_REPLY_BYTES, TOO_LONG, Unexpected

__all__ = ["LINE", "Delimited", "DelimitedFraming"]


class Delimited(msgspec.Struct, frozen=True, tag="delimited"):
    """A reply ends with the first `delimiter` (1 to 16 bytes) in it. It has at most `most` bytes, with it."""

    says_hello: ClassVar[bool] = False

    delimiter: bytes
    most: int = MOST_REPLY_BYTES


LINE = Delimited(b"\n")


class DelimitedFraming:
    """The progress: how many bytes of a reply have come, and the last of them, which may begin a delimiter."""

    begin = (0, b"")

    def __init__(self, rule: Delimited) -> None:
        self._delimiter = rule.delimiter
        self._most = rule.most

    def feed(self, progress: tuple[int, bytes], chunk: bytes) -> tuple[tuple[int, bytes], Sequence[int]]:
        """Takes bytes. Raises Unexpected for a reply that is too long."""
        length, tail = progress
        kept = len(tail)
        text, at = tail + chunk, 0
        ends: list[int] = []
        length -= kept  # of the reply before the text
        while (found := text.find(self._delimiter, at)) >= 0:
            end = found + len(self._delimiter)
            if length + end - at > self._most:
                raise Unexpected(TOO_LONG, ends)
            length, at = 0, end
            ends.append(end - kept)
        length += len(text) - at
        if length > self._most:
            raise Unexpected(TOO_LONG, ends)
        return (length, text[max(at, len(text) - len(self._delimiter) + 1) :]), ends
