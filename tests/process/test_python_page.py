"""The Python of docs/python.md is run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import blocks, chapter

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow


def programs(title: str) -> list[str]:
    """Returns the Python of a chapter."""
    return [block.text for block in blocks(chapter("python", title)) if block.language == "python"]


def test_there_are_as_many_as_are_run() -> None:
    assert (len(programs("As a library")), len(programs("In your tests"))) == (2, 1)


@pytest.mark.parametrize("number", range(2))
def test_a_program_of_the_page_runs(number: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(programs("As a library")[number])
    command = [sys.executable, "-W", "error", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("valid", "suspect", "invalid"))  # where other tests keep this machine from sending


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_orders=programs("In your tests")[0])
    # Here other tests may keep this machine from sending on time.
    options = ("-p", "no:cacheprovider", "--strict-markers", "-W", "error", "-o", "loadkit_invalid=skip")
    result = pytester.runpytest_subprocess(*options)
    outcomes = result.parseoutcomes()
    assert outcomes.get("errors", 0) == 0
    assert sum(outcomes.values()) == 2
    # … and from answering in time, and then the failure is the objective's.
    failed = [line for line in result.outlines if line.startswith("FAILED ")]
    assert outcomes.get("failed", 0) == len(failed)
    assert all("Failed: SLO missed" in line for line in failed)
