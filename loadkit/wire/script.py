"""What a connection sends: one endless stream, and the messages in it. Data, the same for every engine and connection.

The stream repeats its content, and the messages repeat by themselves. So a connection knows all about its next message,
and about the reply that it waits for, from how many bytes it has sent and received. native/script.c is the same in C.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from math import lcm

import msgspec

__all__ = ["PIECE_BYTES", "Script", "Stream"]

# Up to this size each message is kept as bytes of its own, once it was sent; longer ones are slices of one buffer.
_KEPT_BYTES = 4096
# Of so many different messages at most (1 MiB of the shortest kind); what is beyond that is cut each time.
_MOST_KEPT = 1024
# Longer messages go out in pieces: no buffer is longer than this, however long a message. The compiled engine's script
# (engine/native/script.c) has the same.
PIECE_BYTES = 256 * 1024


class Script(msgspec.Struct, frozen=True):
    """Byte number n of the stream is byte n modulo len(content) of the content.

    `ends` are the positions behind the messages of a cycle; the next message begins there. A cycle begins where the
    one before ended, wherever that is in the content: so successive messages differ, even if `ends` is a single one.
    """

    content: bytes
    ends: tuple[int, ...]

    @property
    def size(self) -> int:
        """How long every message is; 0 if they have several lengths."""
        return self.ends[0] if len(self.ends) == 1 else 0

    @property
    def longest(self) -> int:
        """How long the longest message is."""
        return max(end - begin for begin, end in zip((0, *self.ends), self.ends, strict=False))

    def length(self, position: int) -> int:
        """Returns how long the message is that byte `position` belongs to."""
        number = bisect_right(self.ends, position % self.ends[-1])
        return self.ends[number] - (self.ends[number - 1] if number else 0)

    def end(self, position: int) -> int:
        """Returns where the message ends that byte `position` belongs to."""
        cycles, place = divmod(position, self.ends[-1])
        return cycles * self.ends[-1] + self.ends[bisect_right(self.ends, place)]

    def count(self, position: int) -> int:
        """Returns how many whole messages are before byte `position`."""
        cycles, place = divmod(position, self.ends[-1])
        return cycles * len(self.ends) + bisect_right(self.ends, place)


class Stream:
    """A script as a worker has it: cut into messages, and to be compared with.

    `messages[n % cycle]` is the message that begins at byte n of the stream; of one longer than PIECE_BYTES the first
    piece, and `piece` has the others.
    """

    __slots__ = ("_buffer", "_period", "cycle", "messages", "script")

    def __init__(self, script: Script) -> None:
        self.script = script
        self._period = len(script.content)
        self.cycle = lcm(self._period, script.ends[-1])
        longest = min(script.longest, PIECE_BYTES)
        self._buffer = memoryview(script.content * (longest // self._period + 2))
        self.messages: Mapping[int, bytes | memoryview] = _Messages(self)

    def piece(self, position: int, wanted: int) -> memoryview:
        """Returns the stream from byte `position` on: `wanted` bytes of it, or PIECE_BYTES if those are fewer."""
        start = position % self._period
        return self._buffer[start : start + min(wanted, PIECE_BYTES)]

    def matches(self, position: int, chunk: bytes) -> bool:
        """Whether `chunk` is what the stream holds from byte `position` on, however long it is."""
        at = 0
        while at < len(chunk):
            start = (position + at) % self._period
            length = min(len(chunk) - at, len(self._buffer) - start)
            if self._buffer[start : start + length] != chunk[at : at + length]:
                return False
            at += length
        return True


class _Messages(dict[int, bytes | memoryview]):
    """Messages by where they begin, cut when they are first asked for."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def __missing__(self, start: int) -> bytes | memoryview:
        message: bytes | memoryview = self._stream.piece(start, self._stream.script.length(start))
        if len(message) <= _KEPT_BYTES:
            message = bytes(message)
        if len(self) < _MOST_KEPT:
            self[start] = message
        return message
