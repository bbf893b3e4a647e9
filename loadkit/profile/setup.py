"""`--first`, `--first-expect` and `--first-check`: what is said on each connection before its first message.

What is said there is mostly a login. So no record, page or printed command has it: they show three asterisks and a
digest, by which two runs can be told to have said the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadkit.errors import OptionError
from loadkit.units import format_size
from loadkit.wire.check import EXACT, NOTHING, Check
from loadkit.wire.echo import Echo
from loadkit.wire.expect import Expect
from loadkit.wire.setup import Step
from loadkit.wire.texts import parse_text
from loadkit.wire.unmarked import Closed, Quiet, Silent
from loadkit.wire.wires import Rule

__all__ = [
    "HIDDEN",
    "MOST_STEPS",
    "MOST_STEP_BYTES",
    "First",
    "FirstCheck",
    "FirstExpect",
    "Talk",
    "hidden",
    "steps_of",
    "talks_of",
]

# engine/native/blast.h has as many.
MOST_STEPS = 64
MOST_STEP_BYTES = 2**20
HIDDEN = "***"
# So many hexadecimal digits tell texts apart, and say too little to find one out by.
_DIGITS = 8
_NONE = "none"


class First(str):
    r"""A text that is said before the first message, such as `AUTH x\r\n`. It is checked when it is read."""

    expected = r"a text such as 'AUTH x\r\n', or @FILE, hex:… or base64:…"

    @classmethod
    def parse(cls, value: object) -> First:
        """Reads it from text. Raises ValueError saying what was expected."""
        if not isinstance(value, str):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        parse_text(value).literal()
        return cls(value)


class FirstExpect(Expect):
    """Where the reply to such a text ends, as text; `none`: nothing is replied. It is checked when it is read."""

    expected = "none, line, line-code, bytes:N, until:'TEXT' or len:FIELD, such as len:u32be,offset=4"

    @classmethod
    def parse(cls, value: object) -> FirstExpect:
        """Reads it from text. Raises ValueError saying what was expected."""
        if value == _NONE:
            return cls(_NONE)
        text = cls(super().parse(value))
        if isinstance(text.rule, Echo | Closed | Quiet | Silent):
            raise ValueError(f"expected {cls.expected}, got {str(value)!r}, which does not say where a reply ends")
        return text

    @property
    def answer(self) -> Rule | None:
        """The rule of the reply; None if there is no reply."""
        return None if self == _NONE else self.rule


class FirstCheck(Check):
    """What the reply to such a text has to say, as text. It is checked when it is read."""

    expected = "none, same, starts:TEXT or contains:TEXT, such as starts:+OK"

    @classmethod
    def parse(cls, value: object) -> FirstCheck:
        """Reads it from text. Raises ValueError saying what was expected."""
        text = cls(super().parse(value))
        if text == EXACT:
            raise ValueError(f"expected {cls.expected}, got {value!r}: nothing comes back as it was sent")
        return text


class Talk(msgspec.Struct, frozen=True):
    """One text, where its reply ends and what that has to say."""

    text: First
    expect: FirstExpect
    check: FirstCheck


_LINE, _UNCHECKED = FirstExpect("line"), FirstCheck(_NONE)


def talks_of(texts: Sequence[First], expected: Sequence[FirstExpect], checks: Sequence[FirstCheck]) -> tuple[Talk, ...]:
    """Returns what --first, --first-expect and --first-check ask for. Raises OptionError if they do not fit."""
    if len(texts) > MOST_STEPS:
        raise OptionError(f"--first: {len(texts)} are given; at most {MOST_STEPS} can be")
    _check_count("--first-expect", len(expected), len(texts), "each reply is a line")
    _check_count("--first-check", len(checks), len(texts), "a reply may be anything")
    rows = zip(texts, expected or [_LINE] * len(texts), checks or [_UNCHECKED] * len(texts), strict=True)
    return tuple(Talk(*row) for row in rows)


def steps_of(talks: Sequence[Talk]) -> tuple[Step, ...]:
    """Returns the same as steps, with the contents of files. Raises OptionError."""
    return tuple(map(_step_of, talks))


def hidden(content: bytes) -> str:
    """Returns what a record has of a text: its length and a digest; "" if it is empty."""
    if not content:
        return ""
    return f"{HIDDEN} ({format_size(len(content))}, sha256 {hashlib.sha256(content).hexdigest()[:_DIGITS]})"


def _check_count(option: str, count: int, texts: int, otherwise: str) -> None:
    if count not in (0, texts):
        given = f"{count} for {texts} --first" if texts else "given without a --first"
        raise OptionError(f"{option}: {given}; give one for each --first, or none: then {otherwise}")


def _step_of(talk: Talk) -> Step:
    content, rule = _content(talk.text), talk.expect.answer
    if not content and rule is None:
        raise OptionError("--first: '' says nothing, and --first-expect none waits for nothing; leave both out")
    if rule is None and talk.check.judging != NOTHING:
        raise OptionError(f"--first-check: {talk.check} is of a reply, and --first-expect none waits for nothing")
    return Step(content, rule, talk.check.judging)


def _content(text: First) -> bytes:
    parsed = parse_text(text)
    if parsed.path is None:
        return parsed.literal()
    try:
        with Path(parsed.path).open("rb") as file:
            content = file.read(MOST_STEP_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a 0 byte in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise OptionError(f"--first: @{parsed.path} cannot be read: {reason}") from None
    if len(content) > MOST_STEP_BYTES:
        raise OptionError(f"--first: @{parsed.path} has more than {format_size(MOST_STEP_BYTES)}")
    return content
