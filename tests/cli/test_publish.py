"""What was measured reaches somebody, whatever becomes of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadkit.cli.publish import publish
from loadkit.report.as_text import as_text
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS


def test_the_files_are_written_and_the_report_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, summary = tmp_path / "run.md", tmp_path / "summary.md"
    record = RUNS["open_loop"]()
    assert publish(record, [str(path)], str(summary), "run.json")
    assert path.read_text() == summary.read_text() != ""
    report = as_text(record, "run.json")
    assert capsys.readouterr() == (f"{report}\n", "")
    assert publish(record, [], None, None, quiet=True)
    assert capsys.readouterr() == (f"{report.splitlines()[0]}\n", "")


def test_with_the_record_on_stdout_all_else_is_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = RUNS["saturated"]()
    assert publish(record, ["-", str(tmp_path / "run.md")], str(tmp_path / "summary.md"), None)
    out, err = capsys.readouterr()
    assert out == encode(record)
    report = f"{as_text(record, None)}\n"
    assert err.startswith(report)
    assert all(line.startswith("::") for line in err.removeprefix(report).splitlines())
    assert publish(record, ["-"], None, None, quiet=True)
    assert capsys.readouterr() == (encode(record), f"{report.splitlines()[0]}\n")


@pytest.mark.parametrize(
    ("output", "summary", "named"),
    [("no/run.json", "summary.md", "no/run.json: cannot be written"), ("run.json", ".", ".: cannot be added to")],
    ids=["no record", "no summary"],
)
def test_a_failing_file_keeps_nothing_else_from_being_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    summary: str,
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    record = RUNS["saturated"]()
    assert not publish(record, [output], summary, None)
    assert (tmp_path / (summary if output == "no/run.json" else output)).exists()
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith(f"loadkit: {named}: ")
    report = f"{as_text(record, None)}\n"
    assert out.startswith(report)
    annotations = out.removeprefix(report).splitlines()
    assert [line.split()[0] for line in annotations] == ["::error"] * 4 + ["::notice"]  # verdict, 3 SLOs; findings
    assert all(" title=" in line for line in annotations)
