"""One line of the doctor."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level"]


class Level(enum.StrEnum):
    """How bad it is. `warn` works, but slower or less surely than it could."""

    FAIL = "fail"
    WARN = "warn"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at. `why` and `fix` are empty where all is well; `fix` is a line to paste."""

    code: str
    level: Level
    seen: str
    needed: str
    why: str = ""
    fix: str = ""
