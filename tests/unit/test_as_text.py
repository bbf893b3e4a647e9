"""What stands where in the text of a record; what it looks like as a whole, tests/golden shows."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.report.as_text import as_short_text, as_text, page_text
from loadkit.report.page import Column, Depth, Note, Page, Section, Table
from loadkit.report.record import Finding, Reason, RunRecord, Standstills, Verdict
from tests.golden.made_up import MS, RUNS, S


def _record() -> RunRecord:
    return msgspec.structs.replace(
        RUNS["open_loop"](),
        verdict=Verdict("suspect", (Reason("late", "12 ms late"),)),
        findings=(Finding("peer-behind", "held, 30 ms", "target"), Finding("stolen", "5 % of it", "machine")),
        standstills=Standstills(3, S, 700 * MS, 4 * S, 1),
    )


@pytest.mark.parametrize("text", [as_text, as_short_text])
def test_what_decides_comes_first_then_what_to_do_next_then_the_findings(text: object) -> None:
    assert callable(text)
    lines = [line for line in text(_record()).splitlines() if line]
    assert lines[0].startswith("suspect: 400/s replies")
    expected = [
        "  late: 12 ms late",
        "SLO met     latency.p99<5ms  (1.98 ms)",
        "SLO met     received_bytes_per_s>=1KiB  (25 KiB/s)",
        "next (a rate that both ends can keep):",
        "  loadkit blast db.example:7000 -R 200 -o lower.json",
        "  finding peer-behind (target): held, 30 ms",
        "  finding stolen (machine): 5 % of it",
    ]
    if text is as_short_text:  # for a failed test, which has no use for a command
        del expected[3:5]
    assert lines[1 : 1 + len(expected)] == expected


def test_standstills_are_told_where_there_were_some() -> None:
    lines = as_text(_record()).splitlines()
    assert (
        "standstills    3 in the blast workers, 1 s in total; longest 700 ms (worker 1, 4 s after the start)" in lines
    )
    assert "standstills" not in as_text(RUNS["open_loop"]())


def test_a_closed_loop_has_no_rows_of_a_schedule() -> None:
    for name, has in (("open_loop", True), ("closed_loop", False)):
        rows = {line.split()[0] for line in as_text(RUNS[name]()).splitlines() if line.strip()}
        assert ({"lateness", "held"} <= rows) is has
        assert has or not {"lateness", "held"} & rows


@pytest.mark.parametrize("name", RUNS)
def test_a_terminal_of_80_columns_gets_all_of_it_and_no_line_that_is_wider_but_a_command(name: str) -> None:
    record = RUNS[name]()
    narrow = as_text(record, f"{name}.json", width=80)
    assert [line for line in narrow.splitlines() if len(line) > 80 and not line.startswith("  loadkit ")] == []
    assert set(as_text(record, f"{name}.json").split()) <= set(narrow.split())


def test_a_table_that_is_too_wide_goes_on_below_itself_with_the_names_of_its_rows() -> None:
    columns = (Column("name", 6, is_text=True), *(Column(title, 5) for title in "abc"))
    table = Table(columns, (("x", "1", "2", "3"), Note("a note"), ("y", "4", "5", "6")))
    page = Page("valid", (Section("t", (table,)),))
    assert page_text(page, Depth.FULL, 17).splitlines()[2:] == [
        "name      a    b",
        "x         1    2",
        "a note",
        "y         4    5",
        "name      c",
        "x         3",
        "y         6",
    ]
