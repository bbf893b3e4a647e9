"""The seam of a protocol: what its replies are like is a rule, which is data, and the framing of a rule its only code.

A framing is one object per worker, shared by all connections. What it has to know of one is that connection's progress:
a value that it hands out and gets back with the next bytes. Each framing has a twin in C (engine/native/wire.h).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

__all__ = ["MOST_REPLY_BYTES", "REPLY_ERRORS", "Framing", "Unexpected"]

Progress = TypeVar("Progress")

# What can be wrong with a reply, in the order of native/wire.h, and how it is called in a record: at the step `reply`.
TOO_LONG, BAD_LENGTH = REPLY_ERRORS = (
    "TOO_LONG",  # it has, or says that it has, more bytes than the rule allows
    "BAD_LENGTH",  # the length that it states cannot be one
)
# No rule allows a longer reply: native/wire.h.
MOST_REPLY_BYTES = 1 << 60


class Unexpected(Exception):
    """A reply is not what it should be.

    `error` says what is wrong, `replies` how many whole ones ended within the same bytes before it. Nothing of the
    connection is read any more.
    """

    def __init__(self, error: str, replies: int) -> None:
        super().__init__(error)
        self.error = error
        self.replies = replies


class Framing(Protocol[Progress]):
    """Where replies end, and whether they are right. Bytes in, facts out, in whatever pieces the bytes come.

    The law: a stream that is fed whole, byte by byte, or with the next reply behind it has the same replies.
    """

    begin: Progress  # of a connection on which nothing has come, or whose last reply is whole

    def feed(self, progress: Progress, chunk: bytes) -> tuple[Progress, int]:
        """Takes bytes. Returns the progress behind them, and how many replies end within them. Raises Unexpected."""
