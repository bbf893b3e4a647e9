"""What a connection sends: one endless stream, and the messages in it. Data, the same for every engine and connection.

The stream repeats its content, and the messages repeat by themselves. So a connection knows all about its next message,
and about the reply that it waits for, from where it began and how many bytes it has sent and received. native/script.c
is the same in C.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from math import lcm

import msgspec

from loadkit.chance import GOLDEN

__all__ = ["FRESH", "PATCH_DIGITS_SHIFT", "PATCH_SHIFT", "PIECE_BYTES", "Script", "Stream", "pack_patch", "stretched"]

# Up to this size each message is kept as bytes of its own, once it was sent; longer ones are slices of one buffer.
_KEPT_BYTES = 4096
# Of so many different messages at most (1 MiB of the shortest kind); what is beyond that is cut each time.
_MOST_KEPT = 1024
# Longer messages go out in pieces: no buffer is longer than this, however long a message. The compiled engine's script
# (engine/native/script.c) has the same.
PIECE_BYTES = 256 * 1024
# What the compiled engine sends from, and compares with, is at least as long as the first beyond one period, so that it
# is seldom cut; for small messages that will do, and there may be a hundred workers.
_LEAST_STRETCH_BYTES = 16 * 1024
# What is written anew in each message, just before it is sent: the message's number in the run, the connection's, the
# worker's, and the time of day. In the order of native/script.h.
FRESH = ("n", "conn", "worker", "now_ns")
# A patch is one number: where it is, how many digits it has, and which of FRESH.
PATCH_SHIFT, PATCH_DIGITS_SHIFT = 16, 8
_MASK = (1 << 64) - 1


class Script(msgspec.Struct, frozen=True):
    """Byte number n of the stream is byte n modulo len(content) of the content.

    `ends` are the positions behind the messages of a cycle; the next message begins there. A cycle begins where the
    one before ended, wherever that is in the content: so successive messages differ, even if `ends` is a single one.

    `patches`, in order, are the places in the content that are written anew just before they are sent (pack_patch). If
    there are any, the content is made of whole messages.

    A connection begins at any of `starts` places of the stream, each `block` messages behind the one before: origin().
    """

    content: bytes | bytearray | memoryview
    ends: Sequence[int]
    patches: Sequence[int] = ()
    block: int = 1
    starts: int = 1

    @property
    def size(self) -> int:
        """How long every message is; 0 if they have several lengths."""
        return self.ends[0] if len(self.ends) == 1 else 0

    @property
    def longest(self) -> int:
        """How long the longest message is."""
        return max(end - begin for begin, end in zip((0, *self.ends), self.ends, strict=False))

    @property
    def is_whole(self) -> bool:
        """Whether the content is made of whole messages."""
        return len(self.content) % self.ends[-1] == 0

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

    def begin(self, number: int) -> int:
        """Returns where message number `number` begins."""
        cycles, place = divmod(number, len(self.ends))
        return cycles * self.ends[-1] + (self.ends[place - 1] if place else 0)

    def origin(self, connection: int) -> int:
        """Returns where connection number `connection` of a run begins."""
        if self.starts == 1:
            return 0
        return self.begin(((connection * GOLDEN & _MASK) >> 32) * self.starts // 2**32 * self.block)


def pack_patch(place: int, digits: int, number: int) -> int:
    """Returns the patch that has so many digits at a place of the content; `number` says what of (FRESH)."""
    return place << PATCH_SHIFT | digits << PATCH_DIGITS_SHIFT | number


def stretched(script: Script, depth: int) -> bytes | bytearray | memoryview:
    """Returns the content, repeated as far as the compiled engine needs it for `depth` messages under way."""
    under_way = min(script.longest * depth, PIECE_BYTES)
    if script.is_whole and len(script.content) >= PIECE_BYTES:
        return script.content
    period = len(script.content)
    length = max(_LEAST_STRETCH_BYTES, under_way) + period
    return (bytes(script.content) * (length // period + 1))[:length]


class Stream:
    """A script as a worker has it: cut into messages, and to be compared with.

    `messages[n % cycle]` is the message that begins at byte n of the stream; of one longer than PIECE_BYTES the first
    piece, and `piece` has the others. Where it has patches, `patched` writes them.
    """

    __slots__ = ("_buffer", "_patches", "_period", "cycle", "messages", "script")

    def __init__(self, script: Script) -> None:
        self.script = script
        self._period = len(script.content)
        self._patches = script.patches
        self.cycle = lcm(self._period, script.ends[-1])
        # Whole messages do not go on at its beginning. A pool of them is large, and shared by all workers.
        copies = 1 if script.is_whole else min(script.longest, PIECE_BYTES) // self._period + 2
        self._buffer = memoryview(script.content if copies == 1 else bytes(script.content) * copies)
        self.messages: Mapping[int, bytes | memoryview] = _Messages(self)

    def piece(self, position: int, wanted: int) -> memoryview:
        """Returns the stream from byte `position` on: `wanted` bytes of it, or PIECE_BYTES if those are fewer."""
        start = position % self._period
        return self._buffer[start : start + min(wanted, PIECE_BYTES)]

    def patched(self, piece: bytes | bytearray | memoryview, position: int, values: Sequence[int]) -> bytearray:
        """Returns a copy of a piece of a message, at byte `position` of the stream, with its patches written.

        `values` are those of the message, in the order of FRESH.
        """
        copy = bytearray(piece)
        for at, digits, number in self._patches_in(position % self._period, len(copy)):
            _write(copy, at, b"%0*d" % (digits, values[number] % 10**digits))
        return copy

    def matches(self, position: int, chunk: bytes) -> bool:
        """Whether `chunk` is what the stream holds from byte `position` on, however long it is; but for its patches."""
        at = 0
        while at < len(chunk):
            start = (position + at) % self._period
            length = min(len(chunk) - at, len(self._buffer) - start)
            part = chunk[at : at + length]
            if self._patches:
                part = self._without_patches(part, start)
            if self._buffer[start : start + length] != part:
                return False
            at += length
        return True

    def _without_patches(self, part: bytes, start: int) -> bytes:
        """Returns bytes that begin at a place of the content as the content has them where it has patches."""
        copy = bytearray(part)
        for at, digits, _number in self._patches_in(start, len(copy)):
            _write(copy, at, b"0" * digits)
        return bytes(copy)

    def _patches_in(self, start: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yields the patches of that part of the content: where they begin in it, their digits, and what they are."""
        patches = self._patches
        # One that begins before has its last digit in it, if any.
        at = max(0, bisect_left(patches, start << PATCH_SHIFT) - 1)
        for patch in patches[at : bisect_left(patches, start + length << PATCH_SHIFT, at)]:
            place, digits = (patch >> PATCH_SHIFT) - start, patch >> PATCH_DIGITS_SHIFT & 0xFF
            if place + digits > 0:
                yield place, digits, patch & 0xFF


def _write(copy: bytearray, at: int, text: bytes) -> None:
    """Writes the part of a text that is within `copy`, at a place that may be before it."""
    begin, end = max(at, 0), min(at + len(text), len(copy))
    copy[begin:end] = text[begin - at : end - at]


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
