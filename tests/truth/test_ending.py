"""The processes of a run whose target is gone: it ends, says so, and with the right exit status."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import Serve

from .conftest import Run, assert_adds_up

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-n", "100m"), id="n in a closed loop"),
        pytest.param(("-n", "80m", "-R", "1k"), id="n in an open loop", marks=pytest.mark.lengthy),
        pytest.param(("-d", "10m", "--warmup", "0s", "-R", "1k"), id="d in an open loop"),
        pytest.param(("-d", "10m", "--warmup", "5m"), id="d, in the warm-up", marks=pytest.mark.lengthy),
        pytest.param(("-n", "100m", "--lifetime", "0", "--timeout", "1s"), id="n in churn"),
        pytest.param(("-c", "9k", "--connect-rate", "100", "--timeout", "1s"), id="in a ramp of 90 s"),
    ],
)
def test_a_run_whose_server_is_killed_ends_as_invalid(serve: Serve, blast: Blast, options: tuple[str, ...]) -> None:
    served = serve("-w", "1", "-q")
    run = blast(f"127.0.0.1:{served.port}", "-c", "60", "-w", "2", *options)
    for index in range(2):
        run.wait_until_open(run.workers(f"loadkit-blast-{index}")[0], 30)
    os.killpg(served.process.pid, signal.SIGKILL)
    assert run.end() == 4, run.err  # in 60 s, of 10 minutes or more
    record = run.record
    assert_adds_up(record)
    assert record["verdict"]["state"] == "invalid"
    assert record["stranded_ns"] > 0
    # The first of them is what made it invalid: a busy machine may have its own.
    assert record["verdict"]["reasons"][0]["party"] == "target"
    assert not record["partial"] or record["window"] is None
    if "80m" in options:
        assert record["messages"]["intended"] == 80_000_000
