"""What was measured reaches somebody, whatever becomes of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadkit.cli.publish import publish
from loadkit.errors import OutputError
from tests.golden.made_up import RUNS


def test_the_files_are_written_and_the_text_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, summary = tmp_path / "run.md", tmp_path / "summary.md"
    publish(RUNS["open_loop"](), "the report", [str(path)], str(summary))
    assert path.read_text() == summary.read_text() != ""
    assert capsys.readouterr().out == "the report\n"


@pytest.mark.parametrize(
    ("output", "summary", "named"),
    [("no/run.json", "summary.md", "no/run.json"), ("run.json", ".", r"\.: cannot be added to")],
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
    with pytest.raises(OutputError, match=named):
        publish(RUNS["saturated"](), "the report", [output], summary)
    assert [path.name for path in tmp_path.iterdir()] == [summary if output == "no/run.json" else output]
    text, *annotations = capsys.readouterr().out.splitlines()
    assert text == "the report"
    assert [line.split()[0] for line in annotations] == ["::error"] * 4 + ["::notice"]  # verdict, 3 SLOs; findings
    assert all(" title=" in line for line in annotations)
