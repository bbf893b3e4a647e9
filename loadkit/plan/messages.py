"""What is sent: messages of one size, of sizes that differ, or of texts. The last two are in a pool.

A load has the texts as they were given, and of the files that they name no more than the length and a digest.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from array import array
from collections.abc import Mapping, Sequence

import msgspec

from loadkit.chance import MESSAGES, stream
from loadkit.distribution import Shape, Sizes
from loadkit.errors import OptionError
from loadkit.profile.blast import Profile
from loadkit.units import format_size, plural
from loadkit.wire.echo import echo_script
from loadkit.wire.render import MOST_MESSAGES, Message, Order, files_of, message_of, pool_size, render
from loadkit.wire.script import Script
from loadkit.wire.texts import TextError, parse_text

__all__ = ["Asked", "Pool", "SentFile", "facts_of", "files_named", "messages_of", "script_of"]

# A message's end, a patch, and a word of the index of a core, in bytes.
_END_BYTES, _PATCH_BYTES, _INDEX_BYTES = 8, 8, 4
_DIGITS = 16


class SentFile(msgspec.Struct, frozen=True):
    """A file that message texts name: its length, and the beginning of its SHA-256. The rest of it is in no record."""

    name: str
    size_bytes: int
    sha256: str
    content: str = "***"


class Pool(msgspec.Struct, frozen=True):
    """How many messages are made before the run, their mean length, and the memory that they take, which workers share.

    `is_random`: the seed decides what is in it, or in which order.
    """

    messages: int
    mean_bytes: float
    memory_bytes: int
    is_random: bool


class Asked(msgspec.Struct, frozen=True):
    """What a profile asks to be sent. Without a pool all messages have `size_bytes`; else that is the mean, rounded."""

    size_bytes: int
    pool: Pool | None = None
    files: tuple[SentFile, ...] = ()


def files_named(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the files that texts name, each once. Raises OptionError for a text that cannot be read."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            found |= dict.fromkeys(files_of(parse_text(text)))
        except TextError as error:
            raise _refuse(text, error) from None
    return tuple(found)


def messages_of(profile: Profile, contents: Mapping[str, bytes], memory: int | None = None) -> Asked:
    """Returns what a profile asks to be sent. `contents` has the files that its texts name.

    `memory` is how many bytes of it there are, if that is known. Raises OptionError for what cannot be sent.
    """
    if not profile.send:
        return _of_sizes(profile.size)
    messages = _read(profile.send, contents)
    count = pool_size(messages, profile.order)
    mean = math.fsum(message.mean for message in messages) / len(messages)
    fresh = sum(message.fresh for message in messages) / len(messages)
    each = mean + _END_BYTES + _INDEX_BYTES + fresh * _PATCH_BYTES
    is_random = profile.order is Order.RANDOM or any(message.varies for message in messages)
    pool = Pool(count, mean, round(count * each), is_random)
    # It is written by a process, from the files, and then into the memory that workers share.
    needed = 2 * pool.memory_bytes + sum(map(len, contents.values()))
    if memory is not None and needed > memory:
        raise OptionError(
            f"--send: a pool of {plural(count, 'message')} takes {format_size(pool.memory_bytes)}, and "
            f"{format_size(needed)} while it is made; {format_size(memory)} of memory are available: send shorter "
            f"messages, or fewer"
        )
    files = tuple(facts_of(name, contents[name]) for name in files_named(profile.send))
    return Asked(max(1, round(mean)), pool, files)


def _of_sizes(sizes: Sizes) -> Asked:
    if sizes.shape is Shape.CONSTANT:
        return Asked(sizes.values[0])
    return Asked(
        max(1, round(sizes.mean)), Pool(MOST_MESSAGES, sizes.mean, MOST_MESSAGES * (_END_BYTES + _INDEX_BYTES), True)
    )


def script_of(
    texts: Sequence[str], contents: Mapping[str, bytes], order: Order, sizes: str | None, pool: Pool, seed: int
) -> Script:
    """Returns what is in a pool: of texts, or of messages whose sizes differ as the text `sizes` says."""
    seed = stream(seed, MESSAGES)
    if texts:
        return render(_read(texts, contents), order, seed, pool.messages)
    drawn = Sizes.parse(sizes).drawn(seed, pool.messages)
    content = echo_script(drawn[0]).content
    return Script(content, array("q", itertools.accumulate(drawn)), starts=pool.messages)


def _read(texts: Sequence[str], contents: Mapping[str, bytes]) -> list[Message]:
    messages = []
    for text in texts:
        try:
            messages.append(message_of(text, contents))
        except TextError as error:
            raise _refuse(text, error) from None
    return messages


def _refuse(text: str, error: TextError) -> OptionError:
    return OptionError(f"--send '{text}': {error}")


def facts_of(name: str, content: bytes) -> SentFile:
    """Returns what is told of a file."""
    return SentFile(name, len(content), hashlib.sha256(content).hexdigest()[:_DIGITS])
