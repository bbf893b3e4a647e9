"""A record as text, for a terminal and a tired reader: the verdict and the headline first, the detail below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadkit.printable import WIDTH, wrapped
from loadkit.printable import page as printable_page
from loadkit.report.page import (
    DEFAULT,
    Column,
    Command,
    Depth,
    Layout,
    Note,
    Objective,
    Page,
    Part,
    Point,
    Row,
    Strip,
    Table,
)
from loadkit.report.record import RunRecord
from loadkit.report.run_page import run_page
from loadkit.report.serve import ServeRecord
from loadkit.report.serve_page import serve_page

__all__ = ["as_short_text", "as_text", "page_text"]

_NAMES = 15  # columns that the name of a row takes


def as_text(
    record: RunRecord | ServeRecord, path: str | None = None, layout: Layout = DEFAULT, width: int = WIDTH
) -> str:
    """Returns the report, at most `width` columns wide; only commands to be copied may be longer.

    `path` is where the record was written, if it was. A table that is too wide goes on below itself.

    Raises RecordError if a percentile of the layout has to be worked out, and the histogram is damaged.
    """
    page = serve_page(record) if isinstance(record, ServeRecord) else run_page(record, path, layout)
    return page_text(page, Depth.FULL, width)


def as_short_text(record: RunRecord) -> str:
    """Returns what a failed test reports: the verdict, SLOs, the target, the load, latencies and errors."""
    return page_text(run_page(record), Depth.BRIEF)


def page_text(page: Page, depth: Depth, width: int = WIDTH) -> str:
    """Returns a page as text: its sections stand apart by an empty line."""
    sections = ("\n".join(line for part in parts for line in _lines(part, width)) for parts in page.parts(depth))
    return printable_page("\n\n".join(("\n".join(_headline(page.headline, width)), *sections)))


def _headline(text: str, width: int) -> list[str]:
    """Breaks it only for a terminal that is narrower than the report elsewhere: programs read the first line."""
    return [text] if width >= WIDTH else _wrapped(text, 0, 2, width)


def _lines(part: Part, width: int) -> Iterator[str]:
    match part:
        case Point():
            finding = f"finding {part.code} ({part.party})" if part.party else part.code
            yield from _wrapped(f"{finding}: {part.text}", 2, 4, width)
        case Objective():
            met = "met   " if part.is_met else "MISSED"
            yield from _wrapped(f"SLO {met}  {part.expr}  ({part.value})", 0, 12, width)
        case Row():
            yield from wrapped(
                part.text, width, initial_indent=f"{part.name:<{_NAMES}}", subsequent_indent=" " * _NAMES
            )
        case Note():
            yield from _wrapped(part.text, part.first, part.indent, width)
        case Command():
            yield f"next ({part.what_for}):"
            yield f"  {part.text}"  # not wrapped, however long: it is there to be copied
        case Table():
            yield from _table(part, width)
        case Strip():
            pass


def _wrapped(text: str, first: int, indent: int, width: int) -> list[str]:
    return wrapped(text, width, initial_indent=" " * first, subsequent_indent=" " * indent)


def _table(table: Table, width: int) -> Iterator[str]:
    for number, picked in enumerate(_folded(table.columns, width)):
        columns = [table.columns[at] for at in picked]
        yield from _cells(columns, [column.title for column in columns], width)
        for row in table.rows:
            if not isinstance(row, Note):
                yield from _cells(columns, [row[at] for at in picked], width)
            elif number == 0:  # it spans the columns
                yield from _lines(row, width)


def _folded(columns: Sequence[Column], width: int) -> Iterator[list[int]]:
    """Yields the columns of each block of a table, as many as the width has room for, each with the first column."""
    block, taken = [0], columns[0].width
    for at, column in enumerate(columns[1:], 1):
        if len(block) > 1 and taken + column.width > width:
            yield block
            block, taken = [0], columns[0].width
        block.append(at)
        taken += column.width
    yield block


def _cells(columns: Sequence[Column], cells: Sequence[str], width: int) -> Iterator[str]:
    """Yields a row: numbers end where their column does, or later, if they are too long for the room before them."""
    line, end = "", 0
    for column, cell in zip(columns, cells, strict=True):
        start, end = end, end + column.width
        if not column.is_text:
            line += " " * max(end - len(line) - len(cell), 1 if line else 0) + cell
        elif column.width:
            line = line.ljust(start + column.gap) + cell
        else:
            lines = wrapped(cell, width, initial_indent=line.ljust(start), subsequent_indent=" " * start)
            yield from lines or [line]
            return
    yield line.rstrip()
