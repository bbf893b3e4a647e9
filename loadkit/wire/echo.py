"""The fixed-size echo: every message has `size` bytes, and the reply is the same bytes.

What a connection sends is one endless stream: the bytes 0, 1, … period - 1, over and over. A message is the next `size`
bytes of it, so successive messages differ, and a reply that is lost, doubled or shifted shows as wrong bytes. The check
needs no memory of what was sent: byte number n of the stream is n modulo period. The period is a prime that does not
divide the size, for else all messages would be alike.
"""

from __future__ import annotations

__all__ = ["PIECE_BYTES", "EchoFraming", "period_of"]

# Primes below 256, so that each place in a period has a byte of its own. No size below 3.3 GB is a multiple of all.
_PERIODS = (251, 241, 239, 233)
# Up to this size each of the `period` different messages is kept as bytes of its own (1 MB in all); longer ones are
# slices of one buffer.
_KEPT_BYTES = 4096
# Longer messages go out in pieces: no buffer is longer than this, however long a message. The compiled engine's stream
# (engine/native/stream.c) has the same.
PIECE_BYTES = 256 * 1024


def period_of(size: int) -> int:
    """Returns the period of the stream whose messages have `size` bytes."""
    return next(period for period in _PERIODS if size % period)


class EchoFraming:
    """The messages of one run. Stateless: a connection keeps only how many bytes it has sent and received.

    `messages[n % period]` is the message that starts at byte n of the stream; of one longer than PIECE_BYTES the first
    piece, and `piece` has the others.
    """

    __slots__ = ("_stream", "messages", "period", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.period = period_of(size)
        cycle, longest = bytes(range(self.period)), min(size, PIECE_BYTES)
        self._stream = memoryview(cycle * (longest // self.period + 2))
        self.messages: tuple[bytes | memoryview, ...] = tuple(
            bytes(self._stream[at : at + size]) if size <= _KEPT_BYTES else self._stream[at : at + longest]
            for at in range(self.period)
        )

    def piece(self, position: int, wanted: int) -> memoryview:
        """Returns the stream from byte `position` on: `wanted` bytes of it, or PIECE_BYTES if those are fewer."""
        start = position % self.period
        return self._stream[start : start + min(wanted, PIECE_BYTES)]

    def matches(self, position: int, chunk: bytes) -> bool:
        """Whether `chunk` is what the stream holds from byte `position` on, however long it is."""
        at = 0
        while at < len(chunk):
            start = (position + at) % self.period
            length = min(len(chunk) - at, len(self._stream) - start)
            if self._stream[start : start + length] != chunk[at : at + length]:
                return False
            at += length
        return True

    def completed(self, position: int, length: int) -> int:
        """Returns how many replies end within the `length` bytes from `position` on."""
        return (position + length) // self.size - position // self.size
