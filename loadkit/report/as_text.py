"""A record as text, for a terminal and a tired reader: the verdict and the headline first, the detail below."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.printable import page as printable_page
from loadkit.printable import wrapped
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

_WIDTH = 100
_NAMES = 15  # columns that the name of a row takes


def as_text(record: RunRecord | ServeRecord, path: str | None = None, layout: Layout = DEFAULT) -> str:
    """Returns the report, at most 100 columns wide. `path` is where the record was written, if it was.

    Raises RecordError if a percentile of the layout has to be worked out, and the histogram is damaged.
    """
    page = serve_page(record) if isinstance(record, ServeRecord) else run_page(record, path, layout)
    return page_text(page, Depth.FULL)


def as_short_text(record: RunRecord) -> str:
    """Returns what a failed test reports: the verdict, SLOs, the target, the load, latencies and errors."""
    return page_text(run_page(record), Depth.BRIEF)


def page_text(page: Page, depth: Depth) -> str:
    """Returns a page as text: its sections stand apart by an empty line."""
    sections = ("\n".join(line for part in parts for line in _lines(part)) for parts in page.parts(depth))
    return printable_page("\n\n".join((page.headline, *sections)))


def _lines(part: Part) -> Iterator[str]:
    match part:
        case Point():
            finding = f"finding {part.code} ({part.party})" if part.party else part.code
            yield from _wrapped(f"{finding}: {part.text}", first=2, indent=4)
        case Objective():
            yield f"SLO {'met   ' if part.is_met else 'MISSED'}  {part.expr}  ({part.value})"
        case Row():
            yield from wrapped(
                part.text, _WIDTH, initial_indent=f"{part.name:<{_NAMES}}", subsequent_indent=" " * _NAMES
            )
        case Note():
            yield from _wrapped(part.text, part.first, part.indent)
        case Command():
            yield f"next ({part.what_for}):"
            yield f"  {part.text}"  # not wrapped, however long: it is there to be copied
        case Table():
            yield from _table(part)
        case Strip():
            pass


def _wrapped(text: str, first: int, indent: int) -> list[str]:
    return wrapped(text, _WIDTH, initial_indent=" " * first, subsequent_indent=" " * indent)


def _table(table: Table) -> Iterator[str]:
    yield from _cells(table.columns, tuple(column.title for column in table.columns))
    for row in table.rows:
        yield from _lines(row) if isinstance(row, Note) else _cells(table.columns, row)


def _cells(columns: tuple[Column, ...], cells: tuple[str, ...]) -> Iterator[str]:
    """Yields a row: numbers end where their column does, or later, if they are too long for the room before them."""
    line, end = "", 0
    for column, cell in zip(columns, cells, strict=True):
        start, end = end, end + column.width
        if not column.is_text:
            line += " " * max(end - len(line) - len(cell), 1 if line else 0) + cell
        elif column.width:
            line = line.ljust(start + column.gap) + cell
        else:
            lines = wrapped(cell, _WIDTH, initial_indent=line.ljust(start), subsequent_indent=" " * start)
            yield from lines or [line]
            return
    yield line.rstrip()
