r"""What a reply has to say, beside ending where it should: `--check starts:OK`, judged as its bytes come.

Nothing of a reply is kept. A judge's progress is a small number for each connection: how much of the text is matched,
or a digest of what came. Each judge has a twin in C (engine/native/judge.h).
"""

from __future__ import annotations

import difflib
import enum
import re
import zlib
from typing import Protocol

import msgspec

from loadkit.wire.texts import unescape

__all__ = ["EXACT", "JUDGES", "MOST_CHECKED_BYTES", "NOTHING", "Check", "Judge", "Judging", "JudgingKind", "judge_of"]

MOST_CHECKED_BYTES = 64
# How a switch says it, in a profile, in the environment and in the records of older runs.
_SWITCH = {"true": "exact", "1": "exact", "yes": "exact", "on": "exact"} | dict.fromkeys(
    ("false", "0", "no", "off"), "none"
)
_QUOTED = re.compile(r"""(['"])(.*)\1""", re.DOTALL)


class JudgingKind(enum.StrEnum):
    """What is asked of a reply, in the order of native/judge.h."""

    NONE = "none"
    STARTS = "starts"
    CONTAINS = "contains"
    SAME = "same"


class Judging(msgspec.Struct, frozen=True):
    """What is asked of each reply; `content` is what it has to start with, or to contain."""

    kind: JudgingKind
    content: bytes = b""


NOTHING = Judging(JudgingKind.NONE)
# Of an echo: the reply is known to the byte, and compared in its framing (echo.py).
EXACT = "exact"


class Check(str):
    """A check as text. It is read once it is asked for."""

    expected = "exact, none, same, starts:TEXT or contains:TEXT"

    @classmethod
    def parse(cls, value: object) -> Check:
        """Reads a check from text, or from a switch. Raises ValueError saying what was expected."""
        if isinstance(value, int) and value in (False, True):
            value = str(bool(value))
        if not isinstance(value, str):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        text = cls(_SWITCH.get(value.lower(), value))
        text.judging  # noqa: B018
        return text

    @property
    def judging(self) -> Judging:
        """What it asks of a reply beside its framing."""
        kind, colon, text = self.partition(":")
        if self in (EXACT, "none"):
            return NOTHING
        if self == "same":
            return Judging(JudgingKind.SAME)
        if kind in ("starts", "contains") and colon:
            quoted = _QUOTED.fullmatch(text)
            content = unescape(quoted[2] if quoted else text)
            if not 1 <= len(content) <= MOST_CHECKED_BYTES:
                raise ValueError(f"expected {kind}: with 1 to {MOST_CHECKED_BYTES} bytes, got {len(content)}")
            return Judging(JudgingKind(kind), content)
        near = difflib.get_close_matches(kind, [EXACT, *JudgingKind], n=1)
        hint = f"; did you mean {near[0]}{':TEXT' if near[0] in ('starts', 'contains') else ''}?" if near else ""
        raise ValueError(f"expected {self.expected}, got {str(self)!r}{hint}")


class Judge(Protocol):
    """Judges replies; one object per worker. The progress of a connection is a number; `begin` between replies."""

    begin: int

    def feed(self, progress: int, piece: bytes) -> int:
        """Takes bytes of one reply. Returns the progress behind them."""

    def is_right(self, progress: int) -> bool:
        """Whether a reply that is whole now says what it should."""


class _Starts:
    """The progress: how many bytes are as they should be; -1: one was not."""

    begin = 0

    def __init__(self, content: bytes) -> None:
        self._content = content

    def feed(self, progress: int, piece: bytes) -> int:
        if not 0 <= progress < len(self._content):
            return progress
        wanted = self._content[progress : progress + len(piece)]
        return progress + len(wanted) if piece.startswith(wanted) else -1

    def is_right(self, progress: int) -> bool:
        return progress == len(self._content)


class _Contains:
    """The progress: how many of the text's first bytes are matched at the end of what came; all: it was found."""

    begin = 0

    def __init__(self, content: bytes) -> None:
        self._content = content

    def feed(self, progress: int, piece: bytes) -> int:
        if progress == len(self._content):
            return progress
        text = self._content[:progress] + piece
        if self._content in text:
            return len(self._content)
        most = min(len(text), len(self._content) - 1)
        return next(count for count in range(most, -1, -1) if text.endswith(self._content[:count]))

    def is_right(self, progress: int) -> bool:
        return progress == len(self._content)


class _Same:
    """The progress: a digest of what came. The worker's first reply says what it has to be."""

    begin = 0

    def __init__(self) -> None:
        self._first: int | None = None

    def feed(self, progress: int, piece: bytes) -> int:
        return zlib.crc32(piece, progress & 0xFFFFFFFF) | (progress >> 32) + len(piece) << 32

    def is_right(self, progress: int) -> bool:
        if self._first is None:
            self._first = progress
        return progress == self._first


JUDGES = tuple(kind.value for kind in JudgingKind)


def judge_of(judging: Judging) -> Judge | None:
    """Returns a judge; None if nothing is asked."""
    match judging.kind:
        case JudgingKind.STARTS:
            return _Starts(judging.content)
        case JudgingKind.CONTAINS:
            return _Contains(judging.content)
        case JudgingKind.SAME:
            return _Same()
        case _:
            return None
