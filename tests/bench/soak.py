"""What the parent of a long run takes: `make soak`, eleven minutes. tests/unit/test_series.py has a simulated day."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

MOST_MORE_BYTES = 2 * 2**20


def _resident_bytes(pid: int) -> int:
    _size, resident, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return int(resident) * resource.getpagesize()


@pytest.mark.lengthy
def test_the_parent_takes_no_more_after_ten_minutes_than_after_two(tmp_path: Path) -> None:
    record = str(tmp_path / "run.json")
    command = (sys.executable, "-m", "loadkit", "blast", "-c", "100", "-R", "2k", "-d", "625s", "-o", record)
    with subprocess.Popen([*command, "--no-progress"], stdout=subprocess.DEVNULL) as blast:
        began, taken = time.monotonic(), {}
        for minutes in (2, 10):
            time.sleep(max(0.0, began + minutes * 60 - time.monotonic()))
            taken[minutes] = _resident_bytes(blast.pid)
            print(f"after {minutes} minutes {taken[minutes] / 2**20:.2f} MiB")
        assert blast.wait(timeout=120) in (0, 4)
    assert taken[10] - taken[2] <= MOST_MORE_BYTES
