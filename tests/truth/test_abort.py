"""Runs that --abort-on ends early, against peers that are slow or stop answering: every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Run, assert_adds_up

pytestmark = pytest.mark.slow
Blast, Peer = Callable[..., Run], Callable[..., int]

MS = 1_000_000


def ended(run: Run) -> str:
    """Ends a run that a condition has ended, checks what every such run has, and returns its line on stderr."""
    status = run.end()
    record = run.record
    assert status == (4 if record["verdict"]["state"] == "invalid" else 3), run.err
    assert (record["partial"], record["interrupted"]) == (True, None)
    assert_adds_up(record)
    [line] = [line for line in run.err.splitlines() if line.startswith("loadkit: aborted: ")]
    return line


def test_a_slow_target_ends_the_run(blast: Blast, peer: Peer, engine: tuple[str, ...]) -> None:
    conditions = ("--abort-on", "errors>1M", "--abort-on", "latency.min>200ms")
    options = ("-c", 8, "-p", 16, "-R", 80, "-d", "50s", "-w", 1, *engine, *conditions)
    run = blast(f"127.0.0.1:{peer('delay-every', 1, 300)}", *options)
    line = ended(run)
    [aborted] = run.record["aborted"]
    assert (aborted["expr"], aborted["reason"]) == ("latency.min>200ms", None)
    assert aborted["value"] >= 200 * MS
    assert "latency.min>200ms was met " in line
    # The window ends where the run was ended, and not where it was planned to.
    window = run.record["window"]
    assert window["start_ns"] < aborted["at_ns"] <= window["end_ns"] < window["start_ns"] + 50_000 * MS


def test_a_target_that_stops_answering_is_found_out_before_the_timeout(blast: Blast, peer: Peer) -> None:
    port = peer("drop-every", 1)  # but for the first message of each connection
    options = ("-c", 4, "-R", 100, "-d", "50s", "-w", 1, "--timeout", "50s", "-q")
    line = ended(blast(f"127.0.0.1:{port}", *options, "--abort-on", "latency.p99>400ms for 1s"))
    assert "so far" not in line
    assert "latency.p99 in the last second was never (100.0 % of " in line
