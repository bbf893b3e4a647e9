"""Processes that die, signals, and more connections than a process may have."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.full_listener import full_listener
from tests.under_way import wait_for

from .conftest import Run, assert_adds_up, errors_of, processes, wait_for_processes
from .witness import FIRST, timely, witnessed

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]


def reasons(record: dict[str, Any]) -> dict[str, str]:
    return {reason["code"]: reason["text"] for reason in record["verdict"]["reasons"]}


def test_30000_connections_fit_under_20000_file_descriptors_a_process(blast: Blast) -> None:
    limit = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    run = blast("-c", "30k", "-R", "5k", "-d", "3s", "--warmup", "1s", wrapper=("prlimit", f"--nofile={limit}"))
    run.end(timeout=90)
    record = run.record
    assert_adds_up(record)
    assert record["connections"]["opened"] == record["connections"]["asked"] == 30_000
    assert record["connections"]["peak"] == 30_000
    assert record["histograms"]["first_byte"]["count"] == record["connections"]["at_start"] == 30_000
    assert errors_of(record) == {}
    assert record["server"]["accepted"] == 30_000
    assert record["host"]["nofile_hard"] == limit
    assert len(record["workers"]) >= 2
    assert len(record["server"]["workers"]) >= 2


def test_a_killed_blast_worker_leaves_what_it_had_recorded(blast: Blast) -> None:
    run = blast("-c", "100", "-R", "2k", "-d", "20s", "--warmup", "0s", "-w", "2")
    [victim] = run.workers("loadkit-blast-1")
    wait_until_measuring(run, 50)
    os.kill(victim, signal.SIGKILL)
    assert run.end() == 4
    record = run.record
    assert record["partial"] is True
    assert_adds_up(record)
    assert record["workers"][1]["died"] == "killed by SIGKILL"
    assert record["workers"][0]["died"] is None
    assert record["workers"][1]["replied"] > 0
    assert f"pid {victim}" in reasons(record)["worker-died"]
    assert record["window"]["end_ns"] - record["window"]["start_ns"] < 19e9
    assert run.out.startswith("invalid")


@witnessed()
def test_a_killed_serve_workers_connections_are_errors_and_the_others_go_on(blast: Blast, serve: Serve) -> None:
    served = serve("-w", "2", wrapper=FIRST)
    victim = served.workers[0]
    run = blast(f"127.0.0.1:{served.port}", "-c", "100", "-R", "1k", "-n", "4k", "-w", "1", wrapper=FIRST)
    wait_until_measuring(run, 100)
    os.kill(victim, signal.SIGKILL)
    assert run.end() == 4
    record = run.record
    assert_adds_up(record)
    assert "connections-lost" in reasons(record)
    errors = errors_of(record)
    lost = errors.pop("receive CLOSED_BY_PEER", 0) + errors.pop("receive ECONNRESET", 0)
    assert errors == {}
    assert 20 <= lost <= 80
    assert record["connections"]["closed"] == record["connections"]["opened"] == 100
    # Every message went out, on the connections of the other worker.
    assert record["messages"]["intended"] == record["messages"]["sent"] == 4000
    assert record["messages"]["replied"] >= 4000 - lost
    # In each of the four seconds.
    seconds = [row for row in record["intervals"] if row["phase"] == "hold"]
    timely(all(row["replied"] > 0 for row in seconds[:4]), seconds)
    [successor] = wait_for_processes("loadkit-serve-0", group=served.process.pid)
    assert successor != victim


def test_a_killed_worker_of_the_embedded_server_is_replaced_and_counted(blast: Blast) -> None:
    run = blast("-c", "100", "-R", "1k", "-d", "3s", "--warmup", "0s", "-w", "1")
    wait_until_measuring(run, 100)
    for pid in run.workers("loadkit-serve-0"):
        os.kill(pid, signal.SIGKILL)
    assert run.end() == 4
    record = run.record
    assert_adds_up(record)
    assert record["server"]["restarts"] >= 1
    assert sum(errors_of(record).values()) == 100
    assert record["messages"]["unsent"] > 0


def wait_until_measuring(run: Run, sockets: int) -> None:
    """Waits until the connections are open, and the phase behind the ramp has had a reply."""
    [pid] = run.workers("loadkit-blast-0")
    run.wait_until_open(pid, sockets)
    run.wait_for_replies()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR2, 140)]
)
@witnessed()
def test_a_signal_stops_gently_and_leaves_a_partial_record(blast: Blast, number: signal.Signals, status: int) -> None:
    run = blast("-c", "50", "-R", "1k", "-d", "60s", "--warmup", "0s", wrapper=FIRST)
    wait_until_measuring(run, 50)
    time.sleep(1)  # what is judged: of 1,000 messages 10 may be missing
    os.kill(run.process.pid, number)
    assert run.end() == status
    assert run.record["partial"] is True
    assert run.record["messages"]["replied"] > 0
    assert_adds_up(run.record)
    assert run.record["interrupted"] == number.name
    # Judged on what was asked for until then: not on the whole minute.
    assert run.record["messages"]["intended"] < 30_000
    timely(run.record["verdict"]["state"] != "invalid", run.record["verdict"])


def test_ctrl_c_in_the_terminal_reaches_the_whole_group_and_ends_the_same(blast: Blast) -> None:
    run = blast("-c", "50", "-R", "1k", "-d", "60s", "--warmup", "0s")
    wait_until_measuring(run, 50)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    assert all(worker["died"] is None for worker in run.record["workers"])
    assert run.record["messages"]["replied"] > 0


def test_ctrl_c_during_the_ramp_reports_what_was_opened(blast: Blast) -> None:
    run = blast("-c", "5000", "--connect-rate", "100", "-d", "60s")
    [pid] = run.workers("loadkit-blast-0")
    run.wait_until_open(pid, 100)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == 130
    assert run.record["partial"] is True
    assert 50 < run.record["connections"]["opened"] < 5000
    assert run.record["window"] is None


def test_ctrl_c_does_not_wait_for_a_first_connection_that_nobody_answers(blast: Blast) -> None:
    with full_listener() as full:
        port = full.getsockname()[1]
        run = blast(f"127.0.0.1:{port}", "-c", "10", "--connect-timeout", "10m")
        syn_sent = f":{port:04X} 02 "
        wait_for(lambda: syn_sent in Path("/proc/net/tcp").read_text(), "no connect is under way")
        os.kill(run.process.pid, signal.SIGINT)
        assert run.end() == 130  # of 10 minutes
    assert run.record["partial"] is True
    assert run.record["connections"]["opened"] == 0


def test_a_second_ctrl_c_leaves_at_once(blast: Blast) -> None:
    run = blast("-c", "50", "-R", "1k", "-d", "60s", "--warmup", "0s")
    wait_until_measuring(run, 50)
    os.kill(run.process.pid, signal.SIGINT)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end() == 130


def hang(run: Run, name: str) -> int:
    """Stops a worker for good, as one that hangs; it answers to SIGKILL alone."""
    [worker] = run.workers(name)
    os.kill(worker, signal.SIGSTOP)
    return worker


def interrupted_run(run: Run) -> dict[str, Any]:
    """Returns the record of a run that Ctrl-C ended, and did not wait for its 120 s."""
    assert run.end() == 130
    assert run.record["partial"] is True
    assert_adds_up(run.record)
    return run.record


def test_a_hung_worker_keeps_a_ctrl_c_waiting_for_seconds_only_and_is_named(blast: Blast) -> None:
    started = time.monotonic()
    run = blast("-c", "50", "-R", "1k", "-d", "120s", "--warmup", "0s", "-w", "2")
    wait_until_measuring(run, 25)
    hung = hang(run, "loadkit-blast-1")
    begin = time.monotonic()
    os.kill(run.process.pid, signal.SIGINT)
    record = interrupted_run(run)
    # A second for replies, five of patience, two after it was told to leave.
    assert time.monotonic() - begin > 5
    assert [worker["died"] for worker in record["workers"]] == [None, "killed by SIGKILL after it hung"]
    assert f"pid {hung}" in reasons(record)["worker-died"]
    assert f"pid {hung}" in run.out
    assert record["workers"][0]["replied"] > 0
    # What it was waited for is not measured: the window is no longer than the run was before the signal, and a beat.
    assert record["window"]["end_ns"] - record["window"]["start_ns"] < (begin - started + 1) * 1e9


@witnessed(())
def test_a_second_ctrl_c_does_not_wait_for_a_hung_worker(blast: Blast) -> None:
    run = blast("-c", "50", "-R", "1k", "-d", "120s", "--warmup", "0s", "-w", "2")
    wait_until_measuring(run, 25)
    hung = hang(run, "loadkit-blast-1")
    begin = time.monotonic()
    os.kill(run.process.pid, signal.SIGINT)
    # The first has been heard when the other worker has ended its part.
    run.wait_until_gone("loadkit-blast-0")
    os.kill(run.process.pid, signal.SIGINT)
    run.wait_until_gone("loadkit-blast-1")
    took_s = time.monotonic() - begin
    assert f"pid {hung}" in reasons(interrupted_run(run))["worker-died"]
    timely(took_s < 5, took_s)  # for as long the first alone is patient


def test_ctrl_c_in_the_ramp_does_not_wait_for_a_hung_worker(blast: Blast) -> None:
    run = blast("-c", "1000", "--connect-rate", "100", "-d", "120s", "-w", "1")
    [pid] = run.workers("loadkit-blast-0")
    run.wait_until_open(pid, 50)
    hang(run, "loadkit-blast-0")
    os.kill(run.process.pid, signal.SIGINT)
    record = interrupted_run(run)
    assert record["workers"][0]["died"] == "killed by SIGKILL after it hung"
    assert record["window"] is None


def test_a_hung_worker_of_the_embedded_server_does_not_keep_a_ctrl_c_waiting(blast: Blast) -> None:
    run = blast("-c", "50", "-R", "1k", "-d", "120s", "--warmup", "0s", "-w", "1")
    wait_until_measuring(run, 50)
    for worker in run.workers("loadkit-serve-0"):
        os.kill(worker, signal.SIGSTOP)
    os.kill(run.process.pid, signal.SIGINT)
    record = interrupted_run(run)
    assert [worker["died"] for worker in record["workers"]] == [None]


def test_an_embedded_server_that_does_not_live_ends_the_run_with_its_record(blast: Blast) -> None:
    run = blast("-c", "20", "-R", "200", "-d", "60s", "--warmup", "0s", "-w", "1")
    wait_until_measuring(run, 20)
    while run.process.poll() is None:
        for pid in processes("loadkit-serve-0", group=run.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert run.end() == 4
    record = run.record
    assert_adds_up(record)
    assert record["server"]["restarts"] >= 1
    assert record["window"]["end_ns"] - record["window"]["start_ns"] < 50e9
    found = {finding["code"]: finding["text"] for finding in record["findings"]}
    assert found["server-restarted"].startswith("the serve end lost ")
    assert run.err == ""
