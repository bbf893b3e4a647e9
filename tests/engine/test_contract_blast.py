"""What every engine has to do, whatever it is made of."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadkit.engine.fake import CONNECT_NS, REPLY_NS
from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.board import Board
from loadkit.measure.samples import PhaseSamples, read_worker
from loadkit.plan.build import build_plan
from loadkit.plan.model import Target
from loadkit.profile.load import load_profile
from loadkit.profile.model import EngineName

from .conftest import Blasting, HandControl, wait_for

pytestmark = pytest.mark.slow
Server = Callable[..., tuple[int, Board, HandControl]]
Blast = Callable[..., Blasting]


def assert_adds_up(phase: PhaseSamples) -> None:
    counters = phase.counters
    assert counters["intended"] == counters["sent"] + counters["unsent"]
    assert counters["sent"] == counters["replied"] + counters["failed"] + counters["unanswered"]
    assert phase.histograms["latency"].count == phase.histograms["service"].count == counters["replied"]
    assert phase.histograms["lateness"].count == counters["sent"]


def run(blasting: Blasting) -> PhaseSamples:
    """Runs to the end; returns the whole, every phase of which adds up."""
    blasting.end_ramp()
    samples = blasting.end()
    for phase in samples.phases:
        assert_adds_up(phase)
    whole = blasting.whole()
    assert whole.counters["asked"] == whole.counters["opened"] + whole.counters["failed_connects"]
    assert whole.counters["opened"] == whole.counters["closed"]
    assert samples.state["open"] == 0
    assert samples.state["sequence"] % 2 == 0
    return whole


@pytest.mark.parametrize("size", ["1B", "64B", "251B", "64KiB", "1MiB"])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_closed_loop_of_any_size_and_depth_sends_exactly_n(
    server: Server, blast: Blast, size: str, depth: int
) -> None:
    port, board, _control = server()
    count = 200 if size != "1MiB" else 20
    blasting = blast(port, connections="5", messages=str(count), size=size, depth=str(depth))
    whole = run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["replied"] == count
    assert whole.errors == {}
    assert whole.counters["received_bytes"] == whole.counters["sent_bytes"] == (count + 5) * blasting.plan.size_bytes
    wait_for(lambda: board.slots[0].get("open") == 0)
    served = read_worker(board, 0).phases[0].counters
    assert served["opened"] == 5
    wait_for(lambda: read_worker(board, 0).phases[0].counters["received_bytes"] == whole.counters["sent_bytes"])


@pytest.mark.parametrize("depth", [1, 4])
def test_an_open_loop_keeps_its_count(server: Server, blast: Blast, depth: int) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="1k", duration="500ms", depth=str(depth))
    run(blasting)
    hold = blasting.phase("hold")
    assert hold.counters["intended"] == hold.counters["replied"] == 500
    latency, service = hold.histograms["latency"], hold.histograms["service"]
    assert latency.sum_ns == service.sum_ns + hold.histograms["lateness"].sum_ns


def test_a_ramp_of_the_rate_sends_its_area(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="100:1900", duration="500ms")
    run(blasting)
    assert blasting.phase("hold").counters["intended"] == 500  # (100 + 1900) / 2 x 0.5 s


def test_every_first_connection_exchanges_a_message_in_the_ramp(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="50", rate="10", duration="200ms")
    run(blasting)
    ramp = blasting.phase("ramp")
    assert ramp.counters["opened"] == ramp.counters["replied"] == 50
    assert ramp.histograms["connect"].count == ramp.histograms["first_byte"].count == 50
    assert read_worker(blasting.board, 0).state["peak"] == 50


def test_churn_by_exchange_opens_a_connection_for_each_message(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="5", lifetime="0", messages="300")
    whole = run(blasting)
    assert blasting.phase("hold").counters["replied"] == 300
    assert whole.counters["opened"] >= 300
    assert whole.errors == {}


def test_churn_by_lifetime_keeps_as_many_open(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", lifetime="50ms", rate="500", duration="500ms")
    whole = run(blasting)
    assert 50 <= whole.counters["opened"] <= 140  # 10 x 500 ms / 50 ms, and the ramp's
    assert whole.errors == {}
    hold = blasting.phase("hold").counters
    assert hold["replied"] == hold["intended"] >= 250  # one more on each connection when it opens


def test_a_gentle_stop_in_the_hold_leaves_whole_totals(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="1k", duration="60s")
    blasting.end_ramp()
    wait_for(lambda: blasting.phase("hold").counters["replied"] > 50)
    blasting.control.say(stop=True)
    for phase in blasting.end().phases:
        assert_adds_up(phase)


def test_leaving_at_once_counts_what_was_under_way_as_unanswered(blast: Blast) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        blasting = blast(silent.getsockname()[1], connections="10", rate="1k", duration="60s")
        blasting.end_ramp()
        wait_for(lambda: blasting.phase("hold").counters["held"] > 0)
        blasting.control.say(leave=True)
        samples = blasting.end()
    for phase in samples.phases:
        assert_adds_up(phase)
    counters = blasting.whole().counters
    assert counters["unanswered"] == 10
    assert counters["unsent"] > 0
    # Only what was due by then: not the rest of the minute's 60,000.
    assert counters["intended"] < 30_000


def test_a_stop_before_the_ramp_is_over_ends_it(blast: Blast) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as silent:
        blasting = blast(silent.getsockname()[1], connections="1000", connect_rate="200", duration="60s")
        wait_for(lambda: blasting.phase("ramp").counters["opened"] >= 20)
        blasting.control.say(stop=True)
        blasting.end()
    counters = blasting.whole().counters
    assert 20 <= counters["opened"] < 1000
    assert counters["opened"] == counters["closed"]
    # One that opened after the stop sends nothing.
    assert counters["unanswered"] == counters["intended"] >= 20


def test_a_connect_that_is_not_answered_times_out(blast: Blast) -> None:
    # A full accept queue drops the SYN: the backlog of 0 takes one connection (tcp(7), somaxconn).
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            blasting = blast(port, connections="3", duration="100ms", connect_timeout="300ms", rate="1")
            run(blasting)
    assert blasting.whole().errors == {("connect", "CONNECT_TIMEOUT"): 3}


def test_running_out_of_file_descriptors_is_an_error_of_connect(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    try:
        # Both ends are in this process: 40 more are a board, a control, a loop and its timer, and some 15 connections.
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
        blasting = blast(port, connections="50", rate="100", duration="200ms")
        wait_for(lambda: blasting.board.slots[0].get("settled") == 50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    run(blasting)
    assert blasting.whole().errors[("connect", "EMFILE")] >= 5
    assert blasting.phase("hold").counters["intended"] == 20


def test_serve_stops_reading_from_a_peer_that_does_not_read(server: Server) -> None:
    port, board, _control = server()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 2**26:
                sent += sock.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 2**26
        sock.settimeout(30)
        got = 0
        while got < sent:
            got += len(sock.recv(2**20))
        wait_for(lambda: read_worker(board, 0).phases[0].counters["received_bytes"] == sent)


def test_serve_echoes_what_it_had_before_a_half_close(server: Server) -> None:
    port, _board, _control = server()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := sock.recv(64):
            got += chunk
    assert got == b"last words"


def test_serve_ends_when_its_last_connection_does(server: Server) -> None:
    port, board, control = server(grace_ns=600 * 10**9)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        control.say(stop=True)
        time.sleep(0.1)
        sock.sendall(b"b")
        assert sock.recv(1) == b"b"
    # The fixture waits for the end of the thread, for less than the grace.
    wait_for(lambda: read_worker(board, 0).phases[0].counters["closed"] == 1)


def test_the_fake_engine_gives_the_plan_back() -> None:
    options = {"connections": "20", "rate": "1k", "duration": "2s", "workers": "1", "engine": "fake"}
    profile, sources = load_profile(None, options)
    plan = build_plan(profile, sources, read_host(), Target("nowhere", ("127.0.0.1",), 9))
    blasting = Blasting(get_engine(EngineName.FAKE), plan)
    whole = run(blasting)
    hold = blasting.phase("hold")
    assert hold.counters["replied"] == 2000
    assert hold.histograms["latency"].min_ns == hold.histograms["latency"].max_ns == REPLY_NS
    assert whole.histograms["connect"].min_ns == whole.histograms["connect"].max_ns == CONNECT_NS
