"""The parts of a page as HTML: rows, notes, tables, points, objectives and commands."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from loadkit.report.html_tree import Child, element, quoted
from loadkit.report.page import Command, Note, Objective, Part, Point, Row, Table

__all__ = ["block", "in_details", "table_of", "table_of_texts"]


def block(parts: Iterable[Part]) -> Iterator[Element]:
    """Yields the parts: those of a kind that follow one another are one list or one table."""
    for kind, alike in itertools.groupby(parts, type):
        yield from _alike(kind, list(alike))


def _alike(kind: type[Part], parts: list[Part]) -> Iterator[Element]:
    points = [part for part in parts if isinstance(part, Point)]
    if points:
        yield element("ul", map(_point, points), class_="points")
    objectives = [part for part in parts if isinstance(part, Objective)]
    if objectives:
        head = _head(("objective", "", "value", "margin"))
        yield _scrolled(element("table", head, element("tbody", map(_objective, objectives))), "objectives")
    rows = [part for part in parts if isinstance(part, Row)]
    if rows:
        body = element("tbody", (_row(part) for part in rows))
        yield element("table", body, class_="rows")
    for part in parts:
        if isinstance(part, Table):
            yield table_of(part)
        elif isinstance(part, Note):
            yield element("p", quoted(part.text), class_="note")
        elif isinstance(part, Command):
            yield element("p", f"Next ({part.what_for}): ", element("code", part.text, class_="command"))


def table_of(table: Table, says: str = "table") -> Element:
    """Returns a table of cells; one that is too wide for its reader can be moved aside by itself."""
    texts = [column.is_text for column in table.columns]
    body = []
    for row in table.rows:
        if isinstance(row, Note):
            body.append(element("tr", element("td", quoted(row.text), colspan=str(len(texts)), class_="t")))
        else:
            body.append(element("tr", map(_cell, row, texts, itertools.chain([True], itertools.repeat(False)))))
    head = _head([column.title for column in table.columns], texts)
    return _scrolled(element("table", head, element("tbody", body)), says)


def table_of_texts(titles: Sequence[str], rows: Iterable[Sequence[str]], says: str) -> Element:
    """Returns a table whose cells are all texts, of any length."""
    cells = (element("tr", element("th", first), (element("td", text) for text in others)) for first, *others in rows)
    head = element("thead", element("tr", (element("th" if title else "td", title) for title in titles)))
    return _scrolled(element("table", head, element("tbody", cells), class_="t"), says)


def in_details(summary: str, children: Iterable[Child], *, is_open: bool = False) -> Element:
    """Returns what a reader opens who wants it."""
    more = {"open": ""} if is_open else {}
    return element("details", element("summary", summary), children, **more)


def _scrolled(table: Element, says: str) -> Element:
    # Whoever has no pointer moves it by the arrow keys, once it has the focus.
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=says)


def _head(titles: Sequence[str], texts: Sequence[bool] | None = None) -> Element:
    are_texts = texts or [True] * len(titles)
    cells = (
        element("th" if title else "td", title, **({"class_": "t"} if is_text else {}))
        for title, is_text in zip(titles, are_texts, strict=True)
    )
    return element("thead", element("tr", cells))


def _cell(text: str, is_text: bool, is_first: bool) -> Element:
    if is_first:  # a browser takes it for the head of its row, for cells with data stand below it in its column
        return element("th", text)
    return element("td", quoted(text), **({"class_": "t"} if is_text else {}))


def _row(part: Row) -> Element:
    return element("tr", element("th", part.name), element("td", quoted(part.text), class_="t"))


def _point(part: Point) -> Element:
    code = element("b", part.code)
    finding: list[Child] = ["finding ", code, f" ({part.party})"] if part.party else [code]
    return element("li", finding, ": ", quoted(part.text))


def _objective(part: Objective) -> Element:
    state = element("b", "met" if part.is_met else "missed", class_="good" if part.is_met else "bad")
    cells = (element("code", part.expr), state, part.value, part.margin)
    return element("tr", (element("td", cell, class_="t") for cell in cells))
