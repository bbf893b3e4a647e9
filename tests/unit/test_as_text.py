"""What stands where in the text of a record; what it looks like as a whole, tests/golden shows."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.report.as_text import as_short_text, as_text
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
def test_the_headline_comes_first_then_the_reasons_then_the_findings(text: object) -> None:
    assert callable(text)
    lines = [line for line in text(_record()).splitlines() if line]
    assert lines[0].startswith("suspect: 400/s replies")
    assert lines[1:4] == [
        "  late: 12 ms late",
        "  finding peer-behind (target): held, 30 ms",
        "  finding stolen (machine): 5 % of it",
    ]


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
