"""The seam of a protocol: what its replies are like is a rule, which is data, and the framing of a rule its only code.

A framing is one object per worker, shared by all connections. What it has to know of one is that connection's progress:
a value that it hands out and gets back with the next bytes. Each framing has a twin in C (engine/native/wire.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["MOST_REPLY_BYTES", "REPLY_ERRORS", "WRONG_REPLY", "Framing", "Unexpected"]

Progress = TypeVar("Progress")

# What can be wrong with a reply, in the order of native/wire.h, and how it is called in a record: at the step `reply`.
# report/advice.py says what each means.
TOO_LONG, BAD_LENGTH, BAD_CODE, WRONG_REPLY = REPLY_ERRORS = (
    "TOO_LONG",  # it has, or says that it has, more bytes than the rule allows
    "BAD_LENGTH",  # the length that it states cannot be one
    "BAD_CODE",  # its first line does not begin with a code of three digits
    "WRONG_REPLY",  # it ends where it should, and says something else than --check asks for: wire/check.py
)
# No rule allows a longer reply: native/wire.h.
MOST_REPLY_BYTES = 1 << 60


class Unexpected(Exception):
    """A reply is not what it should be.

    `error` says what is wrong, `ends` where whole replies ended within the same bytes before it. Nothing of the
    connection is read any more.
    """

    def __init__(self, error: str, ends: Sequence[int] = ()) -> None:
        super().__init__(error)
        self.error = error
        self.ends = ends


class Framing(Protocol[Progress]):
    """Where replies end, and whether they are right. Bytes in, facts out, in whatever pieces the bytes come.

    The law: a stream that is fed whole, byte by byte, or with the next reply behind it has the same replies.
    """

    begin: Progress  # of a connection on which nothing has come, or whose last reply is whole

    def feed(self, progress: Progress, chunk: bytes) -> tuple[Progress, Sequence[int]]:
        """Takes bytes. Returns the progress behind them, and where in them replies end. Raises Unexpected."""
