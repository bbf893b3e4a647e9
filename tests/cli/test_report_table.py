"""`loadkit report --table`: a row for each record that can be read, on stdout or in a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from loadkit.report.writing import encode
from tests.golden.made_up import RUNS, again

from .conftest import Loadkit

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two records, and one that was cut off as it was written."""
    one = encode(RUNS["open_loop"]())
    (tmp_path / "a.json").write_text(one)
    (tmp_path / "b.json").write_text(encode(again(RUNS["saturated"]())))
    (tmp_path / "cut.json").write_text(one[: len(one) // 2])
    return tmp_path


def files_of(text: str) -> list[str]:
    """The column `file` of a table."""
    return [row["file"] for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)]


def test_records_that_would_not_merge_have_a_row_each(loadkit: Loadkit, runs: Path) -> None:
    done = loadkit("report", "a.json", "b.json", "--table", "-o", "runs.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files_of((runs / "runs.csv").read_bytes().decode()) == ["a.json", "b.json"]


def test_a_record_that_was_cut_off_is_one_line_and_the_others_have_their_rows(loadkit: Loadkit, runs: Path) -> None:
    done = loadkit("report", "a.json", "cut.json", "b.json", "missing.json", "--table")
    assert done.returncode == 1
    assert files_of(done.stdout) == ["a.json", "b.json"]
    [line] = done.stderr.splitlines()
    assert line.startswith("loadkit: cut.json: damaged, or not a record: ")
    assert "; missing.json: cannot be read: " in line


def test_without_any_record_that_can_be_read_nothing_is_written(loadkit: Loadkit, runs: Path) -> None:
    (runs / "runs.csv").write_text("of yesterday")
    done = loadkit("report", "cut.json", "missing.json", "--table", "-o", "runs.csv", "-o", "-")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("loadkit: cut.json: damaged, or not a record: ")
    assert line.endswith("; no table was written, for no record could be read")
    assert (runs / "runs.csv").read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a.json", "--table", "-o", "runs.json"), "runs.json: the suffix chooses the format; use one of .csv"),
        (
            ("a.json", "--table", "--server", "b.json"),
            "--table prints a row for each record in place of a report; leave --server",
        ),
    ],
)
def test_what_goes_with_no_table_is_a_usage_error(
    loadkit: Loadkit, runs: Path, words: tuple[str, ...], says: str
) -> None:
    done = loadkit("report", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
