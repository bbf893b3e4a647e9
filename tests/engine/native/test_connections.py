"""The compiled blast end's connections: what the kernel says of them, their ports, their deadlines (connections.c)."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadkit.measure.tcp_info import read_tcp_info
from loadkit.plan.pacing import LinearPace
from loadkit.units import NS_PER_S
from tests.engine.conftest import LOOPBACK, Blast, Server, run
from tests.full_listener import full_listener
from tests.namespaces import own_network

from .by_hand import Core, a_route, lose_edges, paced, send_one

pytestmark = pytest.mark.slow


def test_what_the_kernel_knows_of_a_connection_is_noted_as_python_reads_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, Core(port=listener.getsockname()[1]) as core:
        core.blast.look_at_tcp(4)
        assert core.phase(0).counters["tcp_samples"] == 0  # none is open
        core.open_one(listener)
        found = read_tcp_info(fd_of(core.sockets[-1].getpeername()))
        core.blast.look_at_tcp(4)
        page, known = core.phase(0), [found and getattr(found, name) for name in ("rtt_us", "rttvar_us", "min_rtt_us")]
        assert [page.histograms[name].sum_ns for name in ("rtt", "rttvar", "min_rtt")] == [
            1000 * (us or 0) for us in known
        ]
        assert found
        assert page.histograms["delivery_rate"].sum_ns == found.delivery_rate_bytes != 0
        assert (page.counters["tcp_samples"], page.counters["tcp_cwnd"]) == (1, found.cwnd)
        with pytest.raises(ValueError, match="fewer"):
            core.blast.look_at_tcp(-1)


def hold_up(fd: int, peer: socket.socket) -> None:
    """Sends until the peer's window is closed, waits, and lets the peer read it all."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += os.write(fd, bytes(65536))
    time.sleep(0.02)
    while sent:
        sent -= len(peer.recv(1 << 20))


def test_what_a_connection_counts_is_noted_as_what_came_in_the_measured_time() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, Core(port=listener.getsockname()[1]) as core:
        core.open_one(listener)
        peer = core.sockets[-1]
        fd = fd_of(peer.getpeername())

        def known() -> int:
            found = read_tcp_info(fd)
            return (found and found.busy_us) or 0

        def noted() -> int:
            return core.phase(1).counters["tcp_busy_us"]

        hold_up(fd, peer)
        before = known()
        core.blast.watch_tcp(1)
        hold_up(fd, peer)
        core.blast.watch_tcp(-1)
        first = noted()
        assert 0 < first <= known() - before
        hold_up(fd, peer)  # in a phase that is not measured
        assert noted() == first
        before = known()
        core.blast.watch_tcp(1)
        hold_up(fd, peer)
        least = known() - before
        core.blast.leave()  # it closes
        assert noted() >= first + least > first
        assert core.phase(1).counters["tcp_watched"] == 1
        with pytest.raises(ValueError, match="no such phase"):
            core.blast.watch_tcp(3)


def fd_of(address: tuple[str, int]) -> int:
    """Finds the socket of this process that has this address."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=os.dup(int(path.name)))
            with sock:
                if sock.family == socket.AF_INET and sock.getsockname() == address:
                    return int(path.name)
    raise AssertionError(f"no socket has {address}")


def test_idle_connections_wake_nobody_up_each_for_itself(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # Each had a message, whose time-out would end within the hold.
    blasting = blast(port, connections="300", connect_rate="3k", rate="5", timeout="1s", duration="1500ms")
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["wakeups"] < 60


@pytest.mark.parametrize("source", [None, LOOPBACK])
def test_where_the_kernel_has_no_port_ranges_the_engine_goes_through_the_ports(source: str | None) -> None:
    low = 20_000  # where nobody is given a port, so that no TIME_WAIT of another test is in the way
    with own_network(), socket.create_server((LOOPBACK, 0)) as listener, socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((LOOPBACK, low + 1))
        taken.connect(listener.getsockname())  # this tuple is in use
        routes = (a_route(source=source, connections=4, port_low=low, port_high=low + 4, next_port=low + 3),)
        with Core(port=listener.getsockname()[1], routes=routes, chooses_ports=True) as core:
            core.blast.start(time.monotonic_ns(), 1000.0, 0, 4, 1)
            core.turn_until(lambda: core.slot.get("open") == 4)
            accepted = [listener.accept() for _ in range(5)]
        for peer, _ in accepted:
            peer.close()
    assert {port for _, (_, port) in accepted} == {low, low + 1, low + 2, low + 3, low + 4}


_ONE = paced(LinearPace(0, 3600 * NS_PER_S, 0.0001, 0.0001))  # a message, as the phase begins


def reply(peer: socket.socket) -> None:
    peer.sendall(peer.recv(64))


def end(peer: socket.socket) -> None:
    peer.recv(64)  # what is not read makes a reset of it
    peer.close()


@pytest.mark.parametrize(
    ("answer", "error", "received_bytes"),
    [
        pytest.param(reply, "REPLY_TIMEOUT", 1, id="a reply"),  # no wait had reported it in time
        pytest.param(end, "CLOSED_BY_PEER", 0, id="the end of the stream"),
    ],
)
def test_what_came_with_an_edge_that_was_lost_is_read_when_its_time_is_over(
    answer: Callable[[socket.socket], None], error: str, received_bytes: int
) -> None:
    options = {"timeout_ns": NS_PER_S // 5, "is_edge_triggered": True}
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=_ONE, port=listener.getsockname()[1], **options) as core:
            send_one(core, listener)
            answer(core.sockets[-1])
            lose_edges(core.blast.fileno(), select.EPOLLIN)
            core.turn_until(lambda: core.slot.get("open") == 0 or core.phase(1).counters["replied"] == 1)
            phase = core.phase(1)
    assert phase.counters["received_bytes"] == received_bytes
    if phase.counters["replied"]:  # a standstill of ours does not count against a reply
        assert phase.histograms["standstill"].count > 0
    else:
        assert phase.errors == {("receive", error): 1}
        assert phase.counters["failed"] == 1


def test_a_connect_whose_edge_was_lost_is_found_when_its_time_is_over() -> None:
    options = {"connect_timeout_ns": 5 * NS_PER_S // 2, "is_edge_triggered": True}
    with full_listener() as listener:  # the SYN is sent again after a second
        with Core(port=listener.getsockname()[1], **options) as core:
            core.blast.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
            core.turn_until(lambda: core.phase(0).counters["asked"] == 1)
            assert core.slot.get("open") == 0
            listener.accept()[0].close()
            lose_edges(core.blast.fileno(), select.EPOLLOUT)
            core.turn_until(lambda: core.slot.get("settled") == 1 or core.slot.get("open") == 1)
            assert (core.slot.get("open"), core.phase(0).errors) == (1, {})
