"""The test that decides whether latency is measured honestly: a server that stands still for half a second."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Serve

from .conftest import Run, assert_adds_up
from .stage import Target, stop_peer, target
from .test_misbehaving_peers import share_at_least
from .witness import FIRST, timely, witnessed

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]

STALL_S = 0.5
RATE = 1_000


def stalled_run(blast: Blast, port: int, stall: Callable[[Run], None], *options: object) -> dict[str, Any]:
    """Runs for some 4 s, with a stall in the middle. Nothing else of this machine goes first."""
    load = ("-c", "50", "-w", "1", "-d", "10m", "--warmup", "500ms", *options)
    run = blast(f"127.0.0.1:{port}", *load, wrapper=FIRST)
    run.wait_until_in_phase(2)  # behind the warm-up
    time.sleep(1)
    stall(run)
    time.sleep(2)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    assert_adds_up(run.record)
    return run.record


def stop_worker_of(serve: Serve) -> tuple[int, Callable[[Run], None]]:
    """Serves with one worker; returns the port, and what stops the worker for STALL_S, or a little more."""
    served = serve("-w", "1", wrapper=FIRST)
    [worker] = served.workers

    def stall(_run: Run) -> None:
        os.kill(worker, signal.SIGSTOP)
        time.sleep(STALL_S)  # the stall itself
        os.kill(worker, signal.SIGCONT)

    return served.port, stall


@witnessed()
def test_an_open_loop_shows_the_stall_in_every_message_that_was_due(blast: Blast, serve: Serve) -> None:
    port, stall = stop_worker_of(serve)
    lasted_s = []

    def timed(run: Run) -> None:
        began = time.monotonic()
        stall(run)
        lasted_s.append(time.monotonic() - began)

    record = stalled_run(blast, port, timed, "-R", RATE)
    latency = record["histograms"]["latency"]
    # 1,000 messages/s x 0.5 s = 500 were due in the stall, with 500 down to 0 ms of it to wait: 450 of them 50 ms or
    # more, and as many more as it lasted longer.
    slow = share_at_least(latency, 50_000_000) * latency["count"]
    assert slow >= 0.9 * RATE * (STALL_S - 0.05)
    timely(slow <= RATE * lasted_s[0] + 200, slow, lasted_s)
    assert latency["percentiles"]["99"] >= 0.8 * STALL_S * 1e9
    # They waited for room, which the stalled server did not give; this end came to each of them in time.
    held, late = (record["histograms"][name]["percentiles"] for name in ("held", "lateness"))
    assert held["99"] > 0.5 * STALL_S * 1e9
    timely(late["90"] < held["99"] / 10, late)
    assert record["messages"]["waited"] > 250
    # The target is named for what it did, whatever this machine did besides, and nothing of ours is.
    assert {one["code"]: one["party"] for one in record["findings"]}.get("peer-behind") == "target", record["verdict"]
    timely({reason["party"] for reason in record["verdict"]["reasons"]} <= {"machine"}, record["verdict"])


@witnessed()
def test_a_closed_loop_hides_the_same_stall(blast: Blast) -> None:
    # At a peer that takes 10 ms, so that what is asked of it leaves the machine time for others.
    with target("delay 10", behind=FIRST) as peer:
        latency = stalled_run(blast, peer.port, stopping(peer))["histograms"]["latency"]
    assert latency["max"] >= 0.9 * STALL_S * 1e9
    # One message on each of the 50 connections carried it, of thousands.
    carried = round(share_at_least(latency, int(STALL_S / 2 * 1e9)) * latency["count"])
    assert carried >= 50
    timely(carried == 50 and latency["count"] > 5_000, carried, latency["count"])
    timely(latency["percentiles"]["99"] < STALL_S / 2 * 1e9, latency["percentiles"])


def stopping(peer: Target) -> Callable[[Run], None]:
    return lambda run: stop_peer(STALL_S)(run, peer)


@witnessed()
def test_a_journey_shows_where_the_stall_was(blast: Blast, serve: Serve) -> None:
    journey = stalled_run(blast, *stop_worker_of(serve), "-R", RATE, "--journey")["journey"]
    assert journey["peer"] == "same_clock"
    assert journey["total"]["max"] >= 0.9 * STALL_S * 1e9
    # One message of each probe lay there, in its loop's hands or in its receive buffer; those due later waited for it.
    there = [journey["stages"][name]["max"] for name in ("serve_busy", "serve_wake", "serve_batch", "serve_code")]
    assert max(there) >= 0.9 * STALL_S * 1e9
    assert journey["stages"]["held"]["max"] > 0.3 * STALL_S * 1e9
    for name in ("late", "send", "queue", "there", "back", "busy", "wake", "batch", "read"):
        timely(journey["stages"][name]["max"] < STALL_S / 2 * 1e9, name)
    assert "serve end" in journey["diagnosis"]
