"""The echo: the reply to a message is the same bytes.

What a connection sends is one endless stream: the bytes 0, 1, … period - 1, over and over. A message is the next `size`
bytes of it, so successive messages differ, and a reply that is lost, doubled or shifted shows as wrong bytes. The check
needs no memory of what was sent: byte number n of the stream is n modulo period. The period is a prime that does not
divide the size, for else all messages would be alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from loadkit.wire.protocol import Unexpected
from loadkit.wire.script import Script, Stream

__all__ = ["WRONG_BYTES", "Echo", "EchoFraming", "echo_script"]

# Primes below 256, so that each place in a period has a byte of its own. No size below 3.3 GB is a multiple of all.
_PERIODS = (251, 241, 239, 233)
# Where the bytes are others than those sent, it is not known where the reply ends either. So this is no error of step
# `reply`, but one of the connection: OwnError of measure/names.py.
WRONG_BYTES = "WRONG_BYTES"


class Echo(msgspec.Struct, frozen=True, tag="echo"):
    """The reply is the message again; with `check` byte by byte, else by its length alone."""

    # Whether a probe may say hello (engine/probes.py): an echo sends anything back, other peers take it for an error.
    says_hello: ClassVar[bool] = True

    check: bool


def echo_script(size: int) -> Script:
    """Returns the messages of an echo of `size` bytes."""
    return Script(bytes(range(next(period for period in _PERIODS if size % period))), (size,))


class EchoFraming:
    """A reply is as long as its message, and has the same bytes. The progress is how many bytes have come."""

    __slots__ = ("_check", "_script", "_size", "_stream", "begin")

    def __init__(self, rule: Echo, stream: Stream) -> None:
        self.begin = 0
        self._stream = stream
        self._script = stream.script
        self._size = stream.script.size
        self._check = rule.check

    def feed(self, progress: int, chunk: bytes) -> tuple[int, Sequence[int]]:
        """Takes bytes: the replies end where the messages do. Raises Unexpected for other bytes, if it checks them."""
        if self._check and not self._stream.matches(progress, chunk):
            raise Unexpected(WRONG_BYTES)
        behind = progress + len(chunk)
        if self._size:
            return behind, range(self._size - progress % self._size, len(chunk) + 1, self._size)
        ends, end = [], progress
        for _ in range(self._script.count(behind) - self._script.count(progress)):
            end = self._script.end(end)
            ends.append(end - progress)
        return behind, ends
