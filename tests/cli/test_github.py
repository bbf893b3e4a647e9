"""What `--github` writes, where GitHub Actions reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadkit.cli.github import MOST_BYTES

from .conftest import Loadkit

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden"
SATURATED = GOLDEN / "saturated.json"
MARKDOWN = (GOLDEN / "saturated.md").read_text()


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    return tmp_path / "step_summary"


def test_the_summary_is_added_to_and_the_annotations_follow_the_report(loadkit: Loadkit, summary: Path) -> None:
    summary.write_text("a table |")
    plain = loadkit("report", SATURATED)
    done = loadkit("report", SATURATED, "--github", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert (done.returncode, done.stderr) == (0, "")
    assert summary.read_text() == f"a table |\n\n{MARKDOWN}"
    assert done.stdout.startswith(plain.stdout)
    annotations = done.stdout.removeprefix(plain.stdout).splitlines()
    assert [line.partition("::")[2].partition("::")[0] for line in annotations] == [
        "error title=loadkit%3A the run is invalid",
        "error title=SLO missed%3A latency.p99<5ms",
        "error title=SLO missed%3A errors==0",
        "error title=SLO missed%3A latency.p99.999<1s",
        "notice title=loadkit%3A 1 finding",
    ]
    # A line of the report itself must not be taken for a command.
    assert [line for line in plain.stdout.splitlines() if line.lstrip().startswith("::")] == []


def test_a_blast_that_misses_its_slo_says_so_in_the_summary_and_exits_3(
    loadkit: Loadkit, summary: Path, tmp_path: Path
) -> None:
    options = ("-c", "2", "-n", "100", "--slo", "errors==0", "--slo", "replies_per_s>=100m")
    outputs = ("-o", "run.md", "-o", "run.xml", "-o", "run.json")
    done = loadkit("blast", *options, *outputs, "--github", "-q", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 3, done.stderr
    verdict, *annotations = done.stdout.splitlines()
    assert verdict.startswith(("valid: ", "suspect: "))
    # A busy machine may have a finding besides.
    missed = "::error title=SLO missed%3A replies_per_s>=100m::replies_per_s>=100m was not met"
    assert [line.startswith(missed) for line in annotations].count(True) == 1
    assert "| `replies_per_s>=100m` | **missed** |" in summary.read_text()
    assert summary.read_text() == (tmp_path / "run.md").read_text()
    assert json.loads((tmp_path / "run.json").read_text())["slo"][1]["ok"] is False
    assert '<testcase classname="loadkit.slo" name="errors==0" time="0.000"/>' in (tmp_path / "run.xml").read_text()


def test_a_plan_can_be_looked_at_elsewhere(loadkit: Loadkit) -> None:
    assert loadkit("blast", "-c", "2", "--github", "--dry-run").returncode == 0


@pytest.mark.parametrize("room", [400, 2_000])
def test_what_does_not_fit_into_the_summary_is_left_out(loadkit: Loadkit, summary: Path, room: int) -> None:
    there = "x" * (MOST_BYTES - room)
    summary.write_text(there)
    done = loadkit("report", SATURATED, "--github", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert (done.returncode, done.stderr) == (0, "")
    assert summary.stat().st_size <= MOST_BYTES
    added = summary.read_text().removeprefix(there).strip()
    assert added.startswith("## loadkit: invalid")
    assert added.endswith("*The rest did not fit; the record has it all.*")


def test_a_full_summary_is_left_as_it_is_and_that_is_said(loadkit: Loadkit, summary: Path) -> None:
    summary.write_text("x" * MOST_BYTES)
    done = loadkit("report", SATURATED, "--github", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 0
    assert done.stderr == f"loadkit: {summary}: nothing was added, the job summary is full (1 MiB a step)\n"
    assert summary.stat().st_size == MOST_BYTES
    assert "::error title=loadkit%3A the run is invalid" in done.stdout


@pytest.mark.parametrize(
    ("path", "names"),
    [
        pytest.param("no/such/folder", ["cannot be written", "No such file or directory"], id="no such folder"),
        pytest.param(".", ["GITHUB_STEP_SUMMARY names it", "not a file"], id="a directory"),
    ],
)
def test_a_summary_that_cannot_be_written_is_said_before_the_run(
    loadkit: Loadkit, tmp_path: Path, path: str, names: list[str]
) -> None:
    done = loadkit("blast", "-c", "2", "-n", "2", "-o", "run.json", "--github", env={"GITHUB_STEP_SUMMARY": path})
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    for name in names:
        assert name in line
    assert list(tmp_path.iterdir()) == []
