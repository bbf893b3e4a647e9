"""docs/performance.md has a place for each bench that writes into it, and a bench fills its own alone."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from typing import Any

import pytest

from tests.pages import ROOT, page

BENCH = ROOT / "tests" / "bench"
WRITING = re.findall(r"tests/bench/page\.py (.*)", (ROOT / "Makefile").read_text())
NAMES = [name for line in WRITING for name in line.split()]


@pytest.fixture(scope="module")
def bench_page() -> dict[str, Any]:
    return runpy.run_path(str(BENCH / "page.py"))


def test_every_bench_that_writes_has_its_place_and_the_page_has_no_other() -> None:
    assert len(NAMES) >= 9
    assert sorted(re.findall(r"<!-- bench (\w+) -->", page("performance"))) == sorted(NAMES)
    assert all((BENCH / f"{name}.py").exists() for name in NAMES)


def test_every_table_says_when_and_where_it_was_measured() -> None:
    for place in re.findall(r"<!-- bench \w+ -->\n(.*?)<!-- end of", page("performance"), re.DOTALL):
        assert re.match(r"\n\*(Measured on \d{4}-\d\d-\d\d: .*kernel|Not measured)", place)


@pytest.mark.parametrize("name", NAMES)
def test_a_bench_fills_its_own_place_alone(bench_page: dict[str, Any], name: str) -> None:
    before = page("performance")
    after = bench_page["updated"](before, name, "\n| a |\n| -: |\n| 7 |\n", "*Measured here.*")
    assert (
        f"<!-- bench {name} -->\n\n*Measured here.*\n\n| a |\n| -: |\n| 7 |\n\n<!-- end of bench {name} -->\n" in after
    )
    for other in NAMES:
        place = before.partition(f"<!-- bench {other} -->")[2].partition("<!-- end")[0]
        assert other == name or f"<!-- bench {other} -->{place}<!-- end" in after


def test_a_bench_without_a_place_is_refused(bench_page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"performance\.md has no place for the bench neighbours"):
        bench_page["updated"](page("performance"), "neighbours", "", "")


def test_the_line_above_names_the_machine(bench_page: dict[str, Any]) -> None:
    line = bench_page["measured_on"]()
    assert re.fullmatch(r"\*Measured on \d{4}-\d\d-\d\d: \d+ CPUs \(.+\), kernel \S+, CPython .*\*", line)


@pytest.mark.slow
def test_the_bench_of_recording_measures_what_there_is() -> None:
    command = [sys.executable, "recording.py", "1", "2000"]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""  # its status says whether this machine was quick enough
    assert re.findall(r"^\| (\S+) .*\d", done.stdout, re.MULTILINE)[:2] == ["hdrhistogram", "tally"]


def test_a_table_is_markdown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    table = runpy.run_path(str(BENCH / "markdown.py"))["Table"]("What it is", {"": 6, "ratio": 5, "asked": 8})
    table.row("native", "1.02", "0.95: ok")
    table.row("uvloop", "0.77")
    assert capsys.readouterr().out.splitlines()[3:] == [
        "|        | ratio |    asked |",
        "| :----- | ----: | -------: |",
        "| native |  1.02 | 0.95: ok |",
        "| uvloop |  0.77 |          |",
    ]
