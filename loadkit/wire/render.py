"""Messages from their texts: a pool of them, written before the run, that all connections send from.

With `turn` message number i of the pool is of text i modulo the number of texts, and each connection begins with the
first text, somewhere in the pool. At random, each message of the pool is of any text, and each connection begins
anywhere. Both are the same for the same seed.
"""

from __future__ import annotations

import enum
import math
import random
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from loadkit.wire.fields import Field, Fresh, Written, field_of
from loadkit.wire.script import Script, pack_patch
from loadkit.wire.texts import Slot, Text, TextError, parse_text

__all__ = ["MOST_MESSAGES", "MOST_POOL_BYTES", "Message", "Order", "files_of", "message_of", "pool_size", "render"]

# So many messages at most are written before the run. With fields that differ, connections send one again after so
# many; what a cache of the peer's has seen by then is more than it holds.
MOST_MESSAGES = 65_536
# And so many bytes, as long as each text has its message.
MOST_POOL_BYTES = 16 * 2**20
# Of messages that repeat all the same there are so many bytes, so that many go out in one piece (native/script.h).
_LEAST_POOL_BYTES = 256 * 1024


class Order(enum.StrEnum):
    """In which order a connection sends messages of several texts."""

    TURN = "turn"
    RANDOM = "random"


class Message(msgspec.Struct, frozen=True):
    """A message text with its fields understood and its file read."""

    parts: tuple[bytes | Field, ...]

    @property
    def mean(self) -> float:
        """How many bytes it has on the average."""
        return math.fsum(_mean(part) for part in self.parts)

    @property
    def fresh(self) -> int:
        """How many fields it has that are written just before it is sent."""
        return sum(isinstance(part, Fresh) for part in self.parts)

    @property
    def varies(self) -> bool:
        """Whether it is written differently each time."""
        return any(isinstance(part, Written) for part in self.parts)


def files_of(text: Text) -> tuple[str, ...]:
    """Returns the files whose contents a text needs."""
    if text.path is not None:
        return (text.path,)
    slots = (part.spec.partition(":") for part in text.parts if isinstance(part, Slot))
    return tuple(said for name, _, said in slots if name == "choice" and said)


def message_of(text: str, contents: Mapping[str, bytes]) -> Message:
    """Returns the message of a text. `contents` has those of its files. Raises TextError."""
    parsed = parse_text(text)
    if parsed.path is not None:
        if not contents[parsed.path]:
            raise TextError(2, "the file is empty")
        parts: tuple[bytes | Field, ...] = (contents[parsed.path],)
    else:
        parts = tuple(part if isinstance(part, bytes) else field_of(part, contents) for part in parsed.parts)
    if not any(parts):
        raise TextError(1, "an empty message cannot be sent")
    return Message(parts)


def pool_size(messages: Sequence[Message], order: Order) -> int:
    """Returns how many messages the pool of these texts has: a multiple of their number, unless they are at random."""
    texts, total = len(messages), math.fsum(message.mean for message in messages)
    if order is Order.TURN and not any(message.varies for message in messages):
        return texts * max(1, min(math.ceil(_LEAST_POOL_BYTES / total), MOST_MESSAGES // texts))
    count = min(MOST_MESSAGES, int(MOST_POOL_BYTES * texts / total))
    return texts * max(1, count // texts) if order is Order.TURN else max(texts, count)


def render(messages: Sequence[Message], order: Order, seed: int, count: int) -> Script:
    """Writes a pool of `count` messages, as pool_size returns it, for a seed."""
    chance = random.Random(seed)
    content, patches, ends = bytearray(), array("q"), array("q")
    for number in range(count):
        is_in_turn = order is Order.TURN
        message = messages[number % len(messages)] if is_in_turn else chance.choice(messages)
        for part in message.parts:
            if isinstance(part, bytes):
                content += part
            elif isinstance(part, Fresh):
                patches.append(pack_patch(len(content), part.digits, part.number))
                content += b"0" * part.digits
            else:
                content += part.write(chance)
        ends.append(len(content))
    block = len(messages) if order is Order.TURN else 1
    is_regular = all(end == ends[0] * number for number, end in enumerate(ends, 1))
    return Script(
        content,
        (ends[0],) if is_regular else ends,
        patches,
        block=block,
        starts=_starts(messages, order, count // block),
    )


def _starts(messages: Sequence[Message], order: Order, blocks: int) -> int:
    """Returns in how many places connections begin: one if they are all alike."""
    return blocks if order is Order.RANDOM or any(message.varies for message in messages) else 1


def _mean(part: bytes | Field) -> float:
    if isinstance(part, bytes):
        return len(part)
    return part.digits if isinstance(part, Fresh) else part.length.mean
