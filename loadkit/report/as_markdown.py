"""A record as Markdown, for a job summary or a comment: the verdict, its reasons, the objectives, the headline figures.

GitHub's dialect: tables, and no line breaks inside a paragraph. Every line stands by itself, so that a text that is too
long can end after any of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from loadkit.printable import page as printable_page
from loadkit.report.escape import markdown, markdown_code
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

__all__ = ["as_markdown", "shortened"]

_CUT = "\n\n*The rest did not fit; the record has it all.*\n"


def as_markdown(record: RunRecord | ServeRecord, layout: Layout = DEFAULT) -> str:
    """Returns the report in Markdown, ending in a line feed.

    Raises RecordError if a percentile of the layout has to be worked out, and the histogram is damaged.
    """
    page = serve_page(record) if isinstance(record, ServeRecord) else run_page(record, layout=layout)
    return printable_page("\n\n".join(_blocks(page, layout.title or "loadkit")) + "\n")


def shortened(text: str, most_bytes: int) -> str:
    """Returns the lines of the text that fit into this number of bytes of UTF-8, and says so; "" if no line fits."""
    if len(text.encode()) <= most_bytes:
        return text
    room = most_bytes - len(_CUT.encode())
    kept = text.encode()[: max(0, room)].rpartition(b"\n")[0].decode()
    return kept.rstrip() + _CUT if kept else ""


def _blocks(page: Page, title: str) -> Iterator[str]:
    """Yields the headline, and the parts. Parts of one kind that follow one another are one list or one table."""
    yield f"## {markdown(title)}: {markdown(page.headline)}"
    for parts in page.parts(Depth.SUMMARY):
        for kind, alike in itertools.groupby(parts, type):
            yield from _block(kind, list(alike))


def _block(kind: type[Part], parts: list[Part]) -> Iterator[str]:
    points = [part for part in parts if isinstance(part, Point)]
    if points:
        yield "\n".join(map(_point, points))
    objectives = [part for part in parts if isinstance(part, Objective)]
    if objectives:
        columns = (Column("SLO", is_text=True), Column("", is_text=True), Column("value", is_text=True))
        yield _table(columns, map(_objective, objectives))
    rows = [part for part in parts if isinstance(part, Row)]
    if rows:
        unnamed = Column("", is_text=True)
        yield _table((unnamed, unnamed), ((part.name, markdown(part.text)) for part in rows))
    for part in parts:
        if isinstance(part, Table):
            yield _table(part.columns, map(_cells_of, part.rows))
        elif isinstance(part, Note):
            yield _paragraph(part.text)
        elif isinstance(part, Strip):
            yield f"{part.name}: {markdown_code(part.marks)} {markdown(part.text)}"
        elif isinstance(part, Command):
            yield f"Next ({markdown(part.what_for)}): {markdown_code(part.text)}"


def _paragraph(text: str) -> str:
    """Returns text that does not begin a list."""
    return f"\\{markdown(text)}" if text.startswith("-") else markdown(text)


def _point(part: Point) -> str:
    finding = f"finding **{markdown(part.code)}** ({part.party})" if part.party else f"**{markdown(part.code)}**"
    return f"- {finding}: {markdown(part.text)}"


def _objective(part: Objective) -> tuple[str, ...]:
    return markdown_code(part.expr), "met" if part.is_met else "**missed**", markdown(part.value)


def _cells_of(row: tuple[str, ...] | Note) -> tuple[str, ...]:
    return (markdown(row.text),) if isinstance(row, Note) else tuple(map(markdown, row))


def _table(columns: tuple[Column, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [
        tuple(column.title for column in columns),
        tuple("---" if column.is_text else "---:" for column in columns),
        *rows,
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
