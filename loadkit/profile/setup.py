"""`--first` and `--first-expect`: what is said on each connection before its first message.

What is said there is mostly a login. So no record, page or printed command has it: they show three asterisks and a
digest, by which two runs can be told to have said the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadkit.errors import OptionError
from loadkit.units import format_size
from loadkit.wire.echo import Echo
from loadkit.wire.expect import Expect
from loadkit.wire.setup import Step
from loadkit.wire.texts import parse_text
from loadkit.wire.unmarked import Closed, Quiet, Silent
from loadkit.wire.wires import Rule

__all__ = ["HIDDEN", "MOST_STEPS", "MOST_STEP_BYTES", "First", "FirstExpect", "expected_of", "hidden", "steps_of"]

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


_DEFAULT = FirstExpect("line")


def steps_of(texts: Sequence[First], expected: Sequence[FirstExpect]) -> tuple[Step, ...]:
    """Returns what --first and --first-expect ask for, with the contents of files. Raises OptionError."""
    return tuple(_steps(texts, expected))


def expected_of(texts: Sequence[First], expected: Sequence[FirstExpect]) -> Sequence[FirstExpect]:
    """Returns what each text is replied to with. Raises OptionError if it cannot be told."""
    if len(expected) not in (0, len(texts)):
        count = f"{len(expected)} for {len(texts)} --first" if texts else "given without a --first"
        raise OptionError(f"--first-expect: {count}; give one for each --first, or none: then each reply is a line")
    return expected or (_DEFAULT,) * len(texts)


def hidden(content: bytes) -> str:
    """Returns what a record has of a text: its length and a digest; "" if it is empty."""
    if not content:
        return ""
    return f"{HIDDEN} ({format_size(len(content))}, sha256 {hashlib.sha256(content).hexdigest()[:_DIGITS]})"


def _steps(texts: Sequence[First], expected: Sequence[FirstExpect]) -> Iterator[Step]:
    if len(texts) > MOST_STEPS:
        raise OptionError(f"--first: {len(texts)} are given; at most {MOST_STEPS} can be")
    for text, expect in zip(texts, expected_of(texts, expected), strict=True):
        content, rule = _content(text), expect.answer
        if not content and rule is None:
            raise OptionError("--first: '' says nothing, and --first-expect none waits for nothing; leave both out")
        yield Step(content, rule)


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
