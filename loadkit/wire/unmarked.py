"""Replies that no byte ends: the end of the connection does, or a quiet time; and messages that have no reply at all.

Here is only what bytes have to do with it: how many a reply may have. The engines see the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from loadkit.wire.protocol import MOST_REPLY_BYTES, TOO_LONG, Unexpected

__all__ = ["Closed", "Quiet", "Silent", "UnmarkedFraming"]


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A reply ends where its connection does, which is opened again for the next message. whois, finger, HTTP/1.0."""

    says_hello: ClassVar[bool] = False

    most: int = MOST_REPLY_BYTES


class Quiet(msgspec.Struct, frozen=True, tag="quiet"):
    """A reply has ended if nothing came for `quiet_ns` behind its last byte. An approximation for unknown protocols."""

    says_hello: ClassVar[bool] = False

    quiet_ns: int
    most: int = MOST_REPLY_BYTES


class Silent(msgspec.Struct, frozen=True, tag="silent"):
    """A message has no reply: it is done when the socket has taken it. What comes is counted, and is no reply."""

    says_hello: ClassVar[bool] = False


class UnmarkedFraming:
    """The progress is how many bytes of a reply have come."""

    begin = 0

    def __init__(self, rule: Closed | Quiet | Silent) -> None:
        self._most = MOST_REPLY_BYTES if isinstance(rule, Silent) else rule.most

    def feed(self, progress: int, chunk: bytes) -> tuple[int, Sequence[int]]:
        """Takes bytes. Raises Unexpected for a reply that is too long."""
        progress += len(chunk)
        if progress > self._most:
            raise Unexpected(TOO_LONG)
        return progress, ()
