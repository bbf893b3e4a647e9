"""The test that decides whether latency is measured honestly: a server that stands still for a second."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Serve

from .conftest import Run, assert_adds_up
from .test_misbehaving_peers import share_at_least

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]

RUN_S = 5
STALL_S = 0.5


def stalled_run(blast: Blast, serve: Serve, *options: object) -> dict[str, Any]:
    """Runs with the server's one worker stopped for a tenth of the time, in the middle."""
    served = serve("-w", "1")
    [worker] = served.workers
    run = blast(f"127.0.0.1:{served.port}", "-c", "50", "-w", "1", "--warmup", "500ms", *options)
    run.wait_until_in_phase(2)  # behind the warm-up
    os.kill(worker, signal.SIGSTOP)
    time.sleep(STALL_S)  # the stall itself
    os.kill(worker, signal.SIGCONT)
    run.end()
    assert_adds_up(run.record)
    return run.record


def test_an_open_loop_shows_the_stall_in_every_message_that_was_due(blast: Blast, serve: Serve) -> None:
    record = stalled_run(blast, serve, "-R", "1k", "-n", "5k")
    assert record["messages"]["replied"] == record["messages"]["intended"] == 5_000
    latency = record["histograms"]["latency"]
    # 1,000 messages/s x 0.5 s = 500 of 5,000 were due in the stall, with 500 down to 0 ms of it to wait: 450 of them
    # 50 ms or more.
    assert 0.07 <= share_at_least(latency, 50_000_000) <= 0.15
    assert latency["percentiles"]["99"] >= 0.8 * STALL_S * 1e9
    # They waited for room, which the stalled server did not give; this end came to each of them in time.
    held = record["histograms"]["held"]["percentiles"]["99"]
    assert held > 0.5 * STALL_S * 1e9
    assert record["histograms"]["lateness"]["percentiles"]["90"] < held / 10
    assert record["messages"]["waited"] > 250
    # The target is named for what it did. A busy machine may disturb the run besides, and then says so.
    assert record["verdict"]["state"] != "invalid", record["verdict"]
    said = {one["code"]: one["party"] for one in (*record["findings"], *record["verdict"]["reasons"])}
    assert said.get("peer-behind") == "target" or "run-delay" in said, said


def test_a_closed_loop_hides_the_same_stall(blast: Blast, serve: Serve) -> None:
    # A busy machine may have stalls of its own: up to three runs.
    for _ in range(3):
        latency = stalled_run(blast, serve, "-d", f"{RUN_S}s")["histograms"]["latency"]
        assert latency["count"] > 5_000
        assert latency["max"] >= 0.9 * STALL_S * 1e9
        carried = share_at_least(latency, int(STALL_S / 2 * 1e9)) * latency["count"]
        if carried <= 60:
            break
    # One message on each of the 50 connections carried it.
    assert carried <= 60
    assert latency["percentiles"]["99"] < STALL_S / 2 * 1e9


def test_a_journey_shows_where_the_stall_was(blast: Blast, serve: Serve) -> None:
    others = ("late", "send", "queue", "there", "back", "busy", "wake", "batch", "read")
    # A busy machine may have stalls of its own: up to three runs.
    for _ in range(3):
        journey = stalled_run(blast, serve, "-R", "1k", "-d", f"{RUN_S}s", "--journey")["journey"]
        if max(journey["stages"][name]["max"] for name in others) < STALL_S / 2 * 1e9:
            break
    assert journey["peer"] == "same_clock"
    assert journey["total"]["max"] >= 0.9 * STALL_S * 1e9
    # One message of each probe lay there, in its loop's hands or in its receive buffer; those due later waited for it.
    there = [journey["stages"][name]["max"] for name in ("serve_busy", "serve_wake", "serve_batch", "serve_code")]
    assert max(there) >= 0.9 * STALL_S * 1e9
    assert journey["stages"]["held"]["max"] > 0.3 * STALL_S * 1e9
    for name in others:
        assert journey["stages"][name]["max"] < STALL_S / 2 * 1e9, name
    assert "serve end" in journey["diagnosis"]
