"""A CPU quota that is used up, in a real control group."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from loadkit.report.reading import load
from tests.under_way import wait_for, wait_until_in_phase

from .control_groups import control_group, set_limit, throttled_ns
from .test_faults import named, started

pytestmark = pytest.mark.slow

# Of each 100 ms, over all cores.
_TEN_CORES_US, _TENTH_OF_A_CORE_US = 1_000_000, 10_000


def test_a_quota_that_was_used_up_in_the_window_stands_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    options = ("-c", "10", "-d", "10m", "--warmup", "0s", "-w", "1", "-q", "--no-progress", "-o", str(path))
    # A closed loop, which would use all that it gets, has so little for a while that other processes leave it as much.
    with (
        control_group("cpu", _TEN_CORES_US) as inside,
        started("blast", *options, wrapper=inside) as run,
    ):
        wait_until_in_phase(named(run, "loadkit-blast-0")[0], 1)
        before_ns = throttled_ns(inside)
        set_limit(inside, "cpu", _TENTH_OF_A_CORE_US)
        wait_for(lambda: throttled_ns(inside) - before_ns > 200_000_000, "it is not throttled")
        set_limit(inside, "cpu", _TEN_CORES_US)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    throttling = load(str(path)).throttling
    assert throttling is not None
    # The kernel counts the periods in which the group runs.
    assert 0 < throttling.throttled_periods <= throttling.periods
    assert throttling.throttled_ns > 100_000_000
