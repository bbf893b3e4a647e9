"""Fields of message texts, `{rand:1-100}`: what they say, how long they are, and how they are written.

Most are written before the run, into the pool of messages (wire/render.py). The fresh ones, FRESH, say something of
the message, the connection or the time. They are written into a copy of the message just before it is sent, so they
have a fixed number of digits, with zeros in front; of a longer number the last digits are left.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from loadkit.units import Size
from loadkit.wire.script import FRESH
from loadkit.wire.texts import Slot, TextError

__all__ = ["Field", "Fresh", "Written", "field_of"]

# Digits without a width of their own: ten thousand million messages, a hundred million connections, a thousand workers,
# and all of a nanosecond's until the year 2286.
_DIGITS = {"n": 10, "conn": 8, "worker": 3, "now_ns": 19}
_MOST_DIGITS = 19  # of 63 bits
_MOST_HEX = 4096
_MOST_NUMBER = 2**63 - 1
_RANGE = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9]+))?")
_KNOWN = "{n} {conn} {worker} {now_ns} {rand:a-b} {hex:16} {uuid} {choice:FILE} {bytes:SIZE}"


class Fresh(msgspec.Struct, frozen=True):
    """A field that is written just before the message is sent. `number` is its place in FRESH."""

    number: int
    digits: int


class Length(NamedTuple):
    """How many bytes a field has: on the average, and at most."""

    mean: float
    most: int


class Written(msgspec.Struct, frozen=True):
    """A field that is written before the run. `write` returns another value each time."""

    length: Length
    write: Callable[[random.Random], bytes]


Field = Fresh | Written


def field_of(slot: Slot, contents: Mapping[str, bytes]) -> Field:
    """Returns the field of a slot. `contents` has those of the files that fields name.

    Raises TextError for a field that is unknown or cannot be as it is written.
    """
    name, colon, said = slot.spec.partition(":")
    if name in FRESH:
        return Fresh(FRESH.index(name), _digits(slot, said) if colon else _DIGITS[name])
    if name == "choice":
        return _choice(slot, said, contents)
    make = _MAKERS.get(name)
    if make is None:
        raise TextError(slot.column, f"unknown field {_shown(slot)}: there are {_KNOWN}; write {{{{ for a brace")
    return make(slot, said)


def _shown(slot: Slot) -> str:
    return f"{{{slot.spec}}}"


def _refuse(slot: Slot, what: str) -> TextError:
    return TextError(slot.column, f"{_shown(slot)}: {what}")


def _digits(slot: Slot, said: str) -> int:
    if not said.isascii() or not said.isdigit() or not 1 <= int(said[:9]) <= _MOST_DIGITS:
        raise _refuse(slot, f"expected a number of digits from 1 to {_MOST_DIGITS}, such as :08")
    return int(said)


def _rand(slot: Slot, said: str) -> Written:
    found = _RANGE.fullmatch(said)
    if not found:
        raise _refuse(slot, "expected two whole numbers, such as {rand:1-1000}, or with digits {rand:1-1000:04}")
    low, high = (int(text[:40]) for text in found.groups()[:2])
    if high > _MOST_NUMBER:
        raise _refuse(slot, f"the most is {_MOST_NUMBER}")
    if low > high:
        raise _refuse(slot, f"{low} is above {high}")
    digits = _digits(slot, found[3]) if found[3] else 1
    if digits > 1 and len(str(high)) > digits:
        raise _refuse(slot, f"{high} has more than {digits} digits")
    length = Length(_mean_digits(low, high, digits), max(digits, len(str(high))))
    return Written(length, lambda chance: b"%0*d" % (digits, chance.randint(low, high)))


def _mean_digits(low: int, high: int, least: int) -> float:
    """Returns how many digits a number from `low` to `high` has on the average, `least` at the least."""
    total = 0
    for digits in range(1, len(str(high)) + 1):
        numbers = min(high, 10**digits - 1) - max(low, 10 ** (digits - 1) if digits > 1 else 0) + 1
        total += max(0, numbers) * max(digits, least)
    return total / (high - low + 1)


def _hex(slot: Slot, said: str) -> Written:
    if not said.isascii() or not said.isdigit() or not 1 <= int(said[:9]) <= _MOST_HEX:
        raise _refuse(slot, f"expected a number of hexadecimal digits from 1 to {_MOST_HEX}, such as {{hex:16}}")
    digits = int(said)
    return Written(Length(digits, digits), lambda chance: b"%0*x" % (digits, chance.getrandbits(4 * digits)))


def _uuid(slot: Slot, said: str) -> Written:
    if slot.spec != "uuid":
        raise _refuse(slot, "{uuid} takes nothing more")
    return Written(Length(36, 36), _write_uuid)


def _write_uuid(chance: random.Random) -> bytes:
    """A random one, version 4: RFC 9562, 5.4."""
    bits = chance.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62
    text = b"%032x" % bits
    return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _bytes(slot: Slot, said: str) -> Written:
    try:
        size = Size.parse(said)
    except ValueError as error:
        raise _refuse(slot, str(error)) from None
    if not 1 <= size <= 2**30:
        raise _refuse(slot, "the size has to be from 1 B to 1 GiB")
    return Written(Length(size, size), lambda chance: chance.randbytes(size))


def _choice(slot: Slot, said: str, contents: Mapping[str, bytes]) -> Written:
    if not said:
        raise _refuse(slot, "expected the name of a file whose lines are the choices")
    lines = [line for line in contents[said].replace(b"\r\n", b"\n").split(b"\n") if line]
    if not lines:
        raise _refuse(slot, "the file has no line with anything in it")
    length = Length(math.fsum(map(len, lines)) / len(lines), max(map(len, lines)))
    return Written(length, lambda chance: chance.choice(lines))


_MAKERS: Mapping[str, Callable[[Slot, str], Written]] = {"rand": _rand, "hex": _hex, "uuid": _uuid, "bytes": _bytes}
