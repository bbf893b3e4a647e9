"""A page: what a report says, and in which order, whatever its format.

A page is built once from a record (run_page.py, serve_page.py); as_text.py and as_markdown.py only render it. Each part
has a depth, and a format shows the parts up to its own depth: BRIEF is for a failed test, SUMMARY for a comment or a
job summary, FULL for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from loadkit.units import format_count, format_duration

__all__ = [
    "Column",
    "Command",
    "Depth",
    "Note",
    "Objective",
    "Page",
    "Part",
    "Point",
    "Row",
    "Section",
    "Strip",
    "Table",
    "count_or_dash",
    "share_or_dash",
    "time_or_dash",
]


class Depth(IntEnum):
    """How much of a page is shown."""

    BRIEF = 0
    SUMMARY = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Point:
    """A reason of the verdict, or a finding: its code, what was seen, and the party of a finding."""

    code: str
    text: str
    party: str | None = None
    depth: Depth = Depth.BRIEF


@dataclass(frozen=True, slots=True)
class Objective:
    """An SLO, what its figure came to, and whether it was met."""

    expr: str
    is_met: bool
    value: str
    depth: Depth = Depth.BRIEF


@dataclass(frozen=True, slots=True)
class Row:
    """A line of text with a name; a row without a name continues the row before."""

    name: str
    text: str
    depth: Depth = Depth.FULL


@dataclass(frozen=True, slots=True)
class Note:
    """A line of text by itself; inside a table it spans the columns. `indent` is of its later lines in plain text."""

    text: str
    first: int = 0
    indent: int = 3
    depth: Depth = Depth.BRIEF


@dataclass(frozen=True, slots=True)
class Command:
    """A command to be copied, and what it is for."""

    what_for: str
    text: str
    depth: Depth = Depth.SUMMARY


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: in plain text `width` wide, with `gap` blanks before a text. Without a width it wraps."""

    title: str
    width: int = 0
    is_text: bool = False
    gap: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Cells in columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...] | Note, ...]
    depth: Depth = Depth.FULL


@dataclass(frozen=True, slots=True)
class Strip:
    """A figure over time as a line of marks, and what they stand for. Plain text may lack them, and has none."""

    name: str
    marks: str
    text: str
    depth: Depth = Depth.SUMMARY


Part = Point | Objective | Row | Note | Command | Table | Strip


@dataclass(frozen=True, slots=True)
class Section:
    """Parts about one subject, which the title names."""

    title: str
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, title: str, parts: Iterable[Part | None]) -> Section:
        """Returns a section of the parts that are not None."""
        return cls(title, tuple(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class Page:
    """A headline, and sections: first what most readers need, last what few do."""

    headline: str
    sections: tuple[Section, ...]

    def parts(self, depth: Depth) -> Iterator[tuple[Part, ...]]:
        """Yields the parts of each section that are shown at this depth; no section without parts."""
        for section in self.sections:
            shown = tuple(part for part in section.parts if part.depth <= depth)
            if shown:
                yield shown


def time_or_dash(ns: float | None) -> str:
    """Returns a time, `-` if it is not known."""
    return "-" if ns is None else format_duration(ns)


def count_or_dash(count: int | None) -> str:
    """Returns a count, `-` if it is not known."""
    return "-" if count is None else format_count(count)


def share_or_dash(share: float | None) -> str:
    """Returns a share in whole percent, `-` if it is not known."""
    return "-" if share is None else f"{share:.0%}"
