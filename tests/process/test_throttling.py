"""A CPU quota that is used up, in a real control group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadkit.report.reading import load

from .control_groups import control_group

pytestmark = pytest.mark.slow


def test_a_quota_that_was_used_up_in_the_window_stands_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    options = ("-c", "10", "-d", "1s", "--warmup", "0s", "-q", "--no-progress", "-o", str(path))
    # Half of a core for two ends in a closed loop, which would use all they get.
    with control_group("cpu", 50_000) as inside:
        command = (*inside, sys.executable, "-m", "loadkit", "blast", *options)
        subprocess.run(command, capture_output=True, timeout=100, check=False)
    throttling = load(str(path)).throttling
    assert throttling is not None
    # Ten periods of 100 ms in a second, or one less; the kernel counts those in which the group runs.
    assert 0 < throttling.throttled_periods <= throttling.periods
    assert throttling.throttled_ns > 100_000_000
