"""`--title` and `--percentiles`: what a reader wants of a report, in every form of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_text
from loadkit.report.page import Layout, parse_percentiles
from loadkit.report.reading import load
from tests.cli.conftest import Loadkit

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("50", ("50",), id="one"),
        pytest.param("99.9,p50, 90", ("50", "90", "99.9"), id="in any order, with a p"),
        pytest.param("99.90,99.9,05", ("5", "99.9"), id="the same twice"),
    ],
)
def test_percentiles_are_read_and_sorted(text: str, found: tuple[str, ...]) -> None:
    assert parse_percentiles(text) == found


@pytest.mark.parametrize("text", ["", "0", "100", "50,", "x", "1e1", "-5", "99.1234567", "1,2,3,4,5,6,7,8"])
def test_what_is_no_list_of_percentiles_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected (percentiles between|at most 7)"):
        parse_percentiles(text)


def test_text_and_markdown_have_the_percentiles_that_were_asked_for() -> None:
    record, layout = load(str(GOLDEN / "closed_loop.json")), Layout(percentiles=("10", "99.5"))
    for text in (as_text(record, None, layout), as_markdown(record, layout)):
        [head] = [line for line in text.splitlines() if "came back" in line]
        assert head.replace("|", " ").split()[2:] == ["count", "min", "p10", "p99.5", "max", "mean"]
        [row] = [line for line in text.splitlines() if line.lstrip("| ").startswith("latency ")]
        # 20,000 latencies evenly from 100 us to 2 ms: a tenth of them below 290 us, one in 200 above 1.99 ms.
        assert "290 us" in row
        assert "1.99 ms" in row
    assert as_markdown(record, Layout(title="a|b")).startswith("## a\\|b: ")


@pytest.mark.slow
def test_a_record_is_written_as_a_page_and_read_back(loadkit: Loadkit, tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "open_loop.json", tmp_path / "run.json")
    done = loadkit("report", "run.json", "-o", "run.html", "--title", "Monday", "--percentiles", "50,99.5")
    assert done.returncode == 0, done.stderr
    assert "p99.5" in done.stdout
    assert "<title>Monday</title>" in (tmp_path / "run.html").read_text()
    again = loadkit("report", "run.html")
    assert again.returncode == 0, again.stderr
    assert again.stdout == loadkit("report", "run.json").stdout.replace("run.json", "run.html")
    wrong = loadkit("report", "run.html", "--percentiles", "0")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "expected percentiles between 0 and 100" in wrong.stderr
