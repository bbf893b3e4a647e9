"""A disk that is full, a small one in a mount namespace: what was measured is kept, and one line says where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.namespaces import small_disk

pytestmark = pytest.mark.slow

BLAST = ("blast", "-c", "2", "-w", "1", "-n", "20", "--no-progress", "--slo", "replied<=1")
SERVE = ("serve", "127.0.0.1:0", "-w", "1")
RECORD = Path(__file__).parents[1] / "golden" / "native.json"


def start(disk: Path, *words: str, cwd: Path | None = None, before: str = "true") -> subprocess.Popen[str]:
    """Starts `loadkit …` with a disk that has room for 4 KiB, after `before` was done there."""
    return subprocess.Popen(
        [*small_disk(disk, 4096, cwd or disk, before), sys.executable, "-m", "loadkit", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(disk)},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Returns the exit status of a command, and what it has printed."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("suffix", ["json", "html"])
def test_a_record_that_a_full_disk_does_not_take_is_put_elsewhere(suffix: str, tmp_path: Path) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other"
    for folder in (disk, other):
        folder.mkdir()
    status, out, err = ended(start(disk, *BLAST, "-o", f"{disk}/run.{suffix}", cwd=other))
    [kept] = other.iterdir()
    assert status == 3
    assert err == (
        f"loadkit: {disk}/run.{suffix}: cannot be written: No space left on device; the record is in {kept.name}\n"
    )
    assert json.loads(kept.read_text())["messages"]["replied"] >= 20
    assert "SLO MISSED" in out
    assert "again: loadkit report" not in out  # the file that it would name is not there


def test_a_record_that_no_disk_takes_is_printed(tmp_path: Path) -> None:
    status, out, err = ended(start(tmp_path, *BLAST, "-o", "run.json"))
    assert status == 3
    assert json.loads(out)["messages"]["replied"] >= 20
    *report, line = err.splitlines()
    assert line == (
        "loadkit: run.json: cannot be written: No space left on device; no other folder takes the record; it is on "
        "standard output"
    )
    assert any("SLO MISSED" in line for line in report)


def test_a_serve_end_s_record_that_no_disk_takes_is_printed(tmp_path: Path) -> None:
    process = start(tmp_path, *SERVE, "-o", "serve.json")
    assert process.stderr
    assert "ready on" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    status, out, err = ended(process)
    assert status == 1
    assert json.loads(out)["format"] == "loadkit-serve-record"
    assert err.splitlines()[-1].endswith("; no other folder takes the record; it is on standard output")


def test_a_disk_that_takes_not_even_a_byte_is_refused_before_the_run(tmp_path: Path) -> None:
    for words in ((*BLAST, "-o", "run.json"), (*SERVE, "-o", "serve.json"), (*SERVE, "--ready-file", "ready.json")):
        status, out, err = ended(start(tmp_path, *words, before="head -c 4096 /dev/zero > filling"))
        assert (status, out) == (1, "")
        assert err == f"loadkit: {words[-1]}: cannot be written: No space left on device; give another\n"


def test_a_report_that_a_full_disk_does_not_take_puts_nothing_elsewhere(tmp_path: Path) -> None:
    status, out, err = ended(start(tmp_path, "report", str(RECORD), "-o", "run.html"))
    assert (status, err) == (1, "loadkit: run.html: cannot be written: No space left on device\n")
    assert out.startswith("valid: ")
