"""`loadkit report` of several records: each run once, one after another, the same load on the same target."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadkit.report.record import Reason, Verdict
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS, again

from .conftest import Loadkit

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of the same load, a copy and a link of the first, and one of both."""
    one = RUNS["open_loop"]()
    (tmp_path / "a.json").write_text(encode(one))
    (tmp_path / "b.json").write_text(encode(again(one)))
    shutil.copy(tmp_path / "a.json", tmp_path / "copy.json")
    (tmp_path / "link.json").symlink_to("a.json")
    return tmp_path


def test_two_runs_are_added_up_and_their_record_says_which_they_were(loadkit: Loadkit, runs: Path) -> None:
    done = loadkit("report", "a.json", "b.json", "-o", "both.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8,000 intended" in done.stdout
    ids = [_read(runs, name)["run"]["id"] for name in ("a.json", "b.json")]
    both = _read(runs, "both.json")
    assert (both["merged"], both["run"]["of"]) == (2, sorted(ids))
    assert loadkit("report", "both.json").returncode == 0


def test_a_record_is_judged_anew_whatever_verdict_stands_in_it(loadkit: Loadkit, runs: Path) -> None:
    old = msgspec.structs.replace(RUNS["open_loop"](), verdict=Verdict("suspect", (Reason("odd", "an older rule"),)))
    (runs / "old.json").write_text(encode(old))
    done = loadkit("report", "old.json", "-o", "new.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("valid: ")
    assert _read(runs, "new.json")["verdict"] == {"state": "valid", "reasons": []}


def test_two_runs_at_once_are_added_to_twice_the_rate(loadkit: Loadkit, runs: Path) -> None:
    other = msgspec.structs.replace(again(RUNS["open_loop"]()), started=RUNS["open_loop"]().started)
    (runs / "beside.json").write_text(encode(other))
    done = loadkit("report", "a.json", "beside.json", "-o", "both.json")
    assert (done.returncode, "requested of each run, " in done.stdout) == (0, True)
    one, both = _read(runs, "a.json"), _read(runs, "both.json")
    assert (both["merged"], both["in_a_row"]) == (2, 1)
    assert both["rates"]["replies_per_s"] == 2 * one["rates"]["replies_per_s"]


@pytest.mark.parametrize("other", ["a.json", "./a.json", "copy.json", "link.json", "both.json"])
def test_the_same_run_is_not_counted_twice(loadkit: Loadkit, runs: Path, other: str) -> None:
    assert loadkit("report", "a.json", "b.json", "-o", "both.json").returncode == 0
    done = loadkit("report", "a.json", other, "-o", "twice.json")
    assert (done.returncode, done.stdout) == (1, "")
    run = _read(runs, "a.json")["run"]["id"]
    assert done.stderr == (
        f"loadkit: a.json and {other} have the same run in them, {run}: it would count twice; leave one of them out\n"
    )
    assert not (runs / "twice.json").exists()


def _read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found
