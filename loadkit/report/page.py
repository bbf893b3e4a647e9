"""A page: what a report says, and in which order, whatever its format.

A page is built once from a record (run_page.py, serve_page.py); as_text.py and as_markdown.py only render it. Each part
has a depth, and a format shows the parts up to its own depth: BRIEF is for a failed test, SUMMARY for a comment or a
job summary, FULL for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from loadkit.units import format_count, format_duration

__all__ = [
    "DEFAULT",
    "MOST_PERCENTILES",
    "Column",
    "Command",
    "Depth",
    "Layout",
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
    "parse_percentiles",
    "share_or_dash",
    "time_or_dash",
]


# As many as a line of 100 columns has room for.
MOST_PERCENTILES = 7
_PERCENTILE = re.compile(r"(?=.*[1-9])[0-9]{1,2}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a reader wants of a page: a title of their own, and which percentiles its tables have, as text."""

    title: str | None = None
    percentiles: tuple[str, ...] = ("50", "75", "90", "95", "99", "99.9", "99.99")


def parse_percentiles(text: str) -> tuple[str, ...]:
    """Reads a list such as `50,90,99.5`. Raises ValueError saying what was expected."""
    found = [one.strip().removeprefix("p") for one in text.split(",")]
    if not all(map(_PERCENTILE.fullmatch, found)):
        raise ValueError(f"expected percentiles between 0 and 100 such as 50,90,99.5, got {text!r}")
    known = dict.fromkeys(_shortest(one) for one in found)
    if len(known) > MOST_PERCENTILES:
        raise ValueError(
            f"expected at most {MOST_PERCENTILES} percentiles, which a line has room for, got {len(known)}"
        )
    return tuple(sorted(known, key=float))


def _shortest(percentile: str) -> str:
    """Returns 99.90 as 99.9 and 05 as 5, as a record has them."""
    whole, _, part = percentile.partition(".")
    return f"{int(whole)}.{part.rstrip('0')}".rstrip(".")


DEFAULT = Layout()


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
    """An SLO, what its figure came to, whether it was met, and how far from its bound that is, where that is known."""

    expr: str
    is_met: bool
    value: str
    margin: str = ""
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

    def section(self, title: str) -> tuple[Part, ...]:
        """Returns the parts of the section of this title; none if the page has no such section."""
        return next((section.parts for section in self.sections if section.title == title), ())

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
