from __future__ import annotations

import msgspec
import pytest
from lxml import etree
from markdown_it import MarkdownIt

from loadkit.report.as_markdown import as_markdown, shortened
from loadkit.report.record import Finding, SloRecord
from loadkit.report.summary import headline
from tests.golden.made_up import RUNS, awkward

MADE_UP = RUNS | {"awkward": awkward}


def _page(text: str) -> etree._Element:
    return etree.fromstring(f"<page>{MarkdownIt('commonmark').enable('table').render(text)}</page>")


@pytest.mark.parametrize("name", MADE_UP)
def test_the_verdict_and_its_headline_come_first(name: str) -> None:
    record = MADE_UP[name]()
    assert _page(as_markdown(record))[0].text == f"loadkit: {headline(record)}"


@pytest.mark.parametrize("name", MADE_UP)
def test_every_row_has_the_cells_of_its_table(name: str) -> None:
    tables = _page(as_markdown(MADE_UP[name]())).findall("table")
    assert len(tables) >= 2
    for table in tables:
        assert len({len(row) for row in table.iter("tr")}) == 1


def test_findings_come_behind_the_reasons_with_their_party() -> None:
    record = msgspec.structs.replace(
        awkward(), findings=(Finding("stolen", "5 % of it", "machine"), Finding("uneven", "1.3 x", "target"))
    )
    items = ["".join(item.itertext()).strip() for item in _page(as_markdown(record)).iter("li")]
    assert items[0].startswith("name: phase")
    assert items[1:] == ["finding stolen (machine): 5 % of it", "finding uneven (target): 1.3 x"]


def test_no_markup_comes_from_a_name() -> None:
    tags = {element.tag for element in _page(as_markdown(awkward())).iter()}
    ours = {"page", "h2", "ul", "li", "strong", "code", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags == ours


def test_an_objective_has_its_outcome_and_its_value() -> None:
    slo = (SloRecord("latency.p99<5ms", 30_000_000, False), SloRecord("errors==0", 0, True))
    [table] = _page(as_markdown(msgspec.structs.replace(RUNS["open_loop"](), slo=slo))).xpath("table[.//th='SLO']")
    rows = [["".join(cell.itertext()) for cell in row] for row in table.find("tbody")]
    assert rows == [["latency.p99<5ms", "missed", "30 ms"], ["errors==0", "met", "0"]]


def test_what_fits_is_not_shortened() -> None:
    text = as_markdown(RUNS["saturated"]())
    assert shortened(text, len(text.encode())) == text


@pytest.mark.parametrize("most", [10, 100, 200, 1_000, 2_000])
def test_a_text_that_does_not_fit_ends_after_a_whole_line_and_says_so(most: int) -> None:
    text = as_markdown(awkward()).replace("phase", "µµµµ")
    cut = shortened(text, most)
    assert len(cut.encode()) <= most
    if most >= 200:
        kept, _, rest = cut.partition("\n\n*The rest")
        assert text.startswith(f"{kept}\n")
        assert rest == " did not fit; the record has it all.*\n"
    else:
        assert cut == ""
