"""A page is the same in every format, as deep as each goes, and begins with what most readers need."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_short_text, as_text, page_text
from loadkit.report.escape import markdown
from loadkit.report.kernel import KERNEL_RULES
from loadkit.report.page import Column, Depth, Note, Page, Part, Row, Section, Table
from loadkit.report.record import Finding, RunRecord
from loadkit.report.run_page import run_page
from loadkit.report.verdict import FINDINGS
from tests.golden.made_up import RUNS

_WHOLE = [name for name, made in RUNS.items() if made().verdict.state == "valid"]


@pytest.mark.parametrize("width", [100, 80])
@pytest.mark.parametrize("name", _WHOLE)
def test_the_first_24_lines_hold_what_most_readers_need(name: str, width: int) -> None:
    record = RUNS[name]()
    lines = as_text(record, "run.json", width=width).splitlines()[:24]
    names = [line.split()[0] for line in lines if line.strip()]
    assert all(figure in lines[0] for figure in ("valid", "replies", "p50", "p99", " error"))
    assert len([line for line in lines if line.startswith("SLO ")]) == len(record.slo)
    for needed in (
        "next",
        "target",
        "load",
        "connections",
        "messages",
        "measured",
        "connect",
        "latency",
        "service",
    ):
        assert needed in names


def _with_findings(record: RunRecord) -> RunRecord:
    """The record with each finding that there is, in a text as long as the longest."""
    text = " ".join(["a word"] * 50)
    return msgspec.structs.replace(
        record,
        findings=tuple(Finding(code, text, "machine") for code in (rule.code for rule in (*KERNEL_RULES, *FINDINGS))),
    )


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("change", [lambda record: record, _with_findings], ids=["as it is", "with every finding"])
def test_what_to_do_next_is_in_the_first_24_lines(name: str, change: Callable[[RunRecord], RunRecord]) -> None:
    lines = as_text(change(RUNS[name]()), "run.json").splitlines()[:24]
    [at] = [number for number, line in enumerate(lines) if line.startswith("next (")]
    assert lines[at + 1].startswith("  loadkit ")


@pytest.mark.parametrize("name", RUNS)
def test_what_is_brief_is_in_every_format(name: str) -> None:
    record = RUNS[name]()
    page = run_page(record)
    texts = ["".join(text.split()) for text in (as_text(record), as_short_text(record))]
    marked = as_markdown(record)
    for part in (part for parts in page.parts(Depth.BRIEF) for part in parts):
        said = [part.text] if isinstance(part, Row | Note) else _cells(part)
        for text in said:
            assert markdown(text) in marked
            assert all("".join(text.split()) in one for one in texts if isinstance(part, Row | Note))


def _cells(part: Part) -> list[str]:
    rows = part.rows if isinstance(part, Table) else ()
    return [cell for row in rows for cell in (row.text if isinstance(row, Note) else row)]


def test_a_page_shows_no_part_that_is_deeper_and_no_section_without_parts() -> None:
    first = Section.of("first", [Row("a", "brief", Depth.BRIEF), None, Row("b", "full", Depth.FULL)])
    page = Page("headline", (first, Section("second", (Note("summary", depth=Depth.SUMMARY),)), Section("third", ())))
    assert page_text(page, Depth.BRIEF) == "headline\n\na              brief"
    assert page_text(page, Depth.SUMMARY) == "headline\n\na              brief\n\nsummary"
    assert page_text(page, Depth.FULL) == "headline\n\na              brief\nb              full\n\nsummary"


def test_a_cell_that_is_too_long_takes_the_room_before_it_and_never_touches_its_neighbour() -> None:
    columns = (Column("name", 6, is_text=True), Column("n", 6), Column("m", 6))
    table = Table(columns, (("a", "1", "2"), ("a", "123456789", "2"), ("abcdef", "123456", "2"), ("", "", "2")))
    assert page_text(Page("x", (Section("t", (table,)),)), Depth.FULL).splitlines()[2:] == [
        "name       n     m",
        "a          1     2",
        "a  123456789     2",
        "abcdef 123456    2",
        "                 2",
    ]
