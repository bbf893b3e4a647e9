"""A reply of a fixed number of bytes, whatever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

__all__ = ["Fixed", "FixedFraming"]


class Fixed(msgspec.Struct, frozen=True, tag="fixed"):
    """A reply has `length` bytes."""

    says_hello: ClassVar[bool] = False

    length: int


class FixedFraming:
    """The progress is how many bytes of a reply have come."""

    begin = 0

    def __init__(self, rule: Fixed) -> None:
        self._length = rule.length

    def feed(self, progress: int, chunk: bytes) -> tuple[int, Sequence[int]]:
        """Takes bytes: a reply ends with each `length` of them."""
        ends = range(self._length - progress, len(chunk) + 1, self._length)
        return (progress + len(chunk)) % self._length, ends
