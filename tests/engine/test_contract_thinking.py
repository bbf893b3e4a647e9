"""Closed loops that think: every engine pauses between a reply and the next message of its connection."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from itertools import pairwise

import pytest

from loadkit.measure.samples import read_board, read_worker
from loadkit.plan.pacing import share
from tests.receiving import receive
from tests.truth.witness import timely, witnessed

from .conftest import Blast, Peer, Server, run, wait_for

pytestmark = pytest.mark.slow

MS = 1_000_000


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("think", ["0", "2ms", "exp:2ms"])
def test_n_messages_are_n_and_each_has_its_times(server: Server, blast: Blast, workers: int, think: str) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", workers=str(workers), messages="101", think=think, seed="7")
    whole = run(blasting)
    hold = blasting.phase("hold")
    assert hold.counters["intended"] == hold.counters["replied"] == 101
    # The first message of a connection has no pause before it, and is none of these.
    assert whole.counters["intended"] == 101
    assert whole.counters["received_bytes"] == 64 * (101 + 10)
    assert hold.histograms["held"].max_ns == 0
    parts = [hold.histograms[name].sum_ns for name in ("lateness", "held", "service")]
    assert hold.histograms["latency"].sum_ns == sum(parts)
    assert whole.errors == {}
    for worker in read_board(blasting.board):
        assert worker.phases[1].counters["replied"] == share(101, worker.index, workers)


def test_a_pause_lies_between_each_reply_and_the_next_message(peer: Peer, blast: Blast) -> None:
    noted: dict[int, list[tuple[int, int]]] = {}

    def note(sock: socket.socket, number: int) -> None:
        noted[number] = times = []
        while message := receive(sock, 64):
            came = time.monotonic_ns()
            sock.sendall(message)
            times.append((came, time.monotonic_ns()))

    blasting = blast(peer(note), connections="5", messages="40", think="uniform:10ms-20ms", seed="7")
    run(blasting)
    # Behind the first message of a connection, which may wait for the other connections to open.
    pauses = [after[0] - before[1] for times in noted.values() for before, after in pairwise(times[1:])]
    assert len(pauses) >= 30
    assert min(pauses) >= 10 * MS


@witnessed(())
def test_connections_do_not_go_in_step_though_all_pauses_are_the_same(peer: Peer, blast: Blast) -> None:
    came: list[int] = []

    def note(sock: socket.socket, _number: int) -> None:
        is_first = True
        while message := receive(sock, 64):
            if not is_first:
                came.append(time.monotonic_ns())
            is_first = False
            sock.sendall(message)

    run(blast(peer(note), connections="40", messages="40", think="400ms", seed="7"))
    # The first pauses are a random part of 400 ms. In step all would come at once.
    timely(len(came) == 40 and max(came) - min(came) > 200 * MS, came)


@pytest.mark.parametrize("lifetime", [{}, {"lifetime": "20s"}], ids=["connections that stay", "churn"])
def test_a_run_ends_at_once_while_all_think(server: Server, blast: Blast, lifetime: dict[str, str]) -> None:
    port, _board, _control = server()
    # A drain that waited for them would last for hours, and what waits for the run gives up long before.
    options = {"connections": "10", "think": "uniform:10h-20h", "seed": "7", "timeout": "1h", **lifetime}
    whole = run(blast(port, duration="100ms", **options))
    assert whole.counters["intended"] == whole.counters["unanswered"] == whole.counters["unsent"] == 0
    assert whole.errors == {}
    blasting = blast(port, duration="10h", **options)
    blasting.end_ramp()
    wait_for(lambda: read_worker(blasting.board, 0).state["phase"] == 1)
    blasting.say(stop=True)
    assert blasting.end().counters["intended"] == 0


def test_a_connection_that_ends_takes_its_pause_with_it(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # Each has a pause of 10 s to come, and a life of 20 ms: whoever takes its place must not send for it.
    blasting = blast(port, connections="8", duration="300ms", lifetime="20ms", think="list:10s:1", seed="11")
    whole = run(blasting)
    assert whole.counters["opened"] > 16
    # A first pause, when the messages begin, is a random part of 10 s.
    assert whole.counters["intended"] <= 8
    assert whole.errors == {}


def test_a_peer_that_closes_while_a_connection_thinks_is_an_error_as_ever(peer: Peer, blast: Blast) -> None:
    allowed = threading.Event()

    def close_later(sock: socket.socket, _number: int) -> None:
        sock.sendall(receive(sock, 64))
        with contextlib.suppress(OSError):
            allowed.wait(10)

    blasting = blast(peer(close_later), connections="4", duration="10h", think="1h", seed="7")
    blasting.end_ramp()
    wait_for(lambda: read_worker(blasting.board, 0).state["phase"] == 1)
    allowed.set()
    wait_for(lambda: blasting.whole().counters["closed"] == 4)
    blasting.say(stop=True)
    whole = blasting.end()
    assert whole.counters["failed"] == 0
    assert sum(whole.errors.values()) == 4


def test_pauses_go_on_from_one_phase_to_the_next(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    phases = [{"name": name, "duration": "150ms"} for name in ("one", "two", "three")]
    blasting = blast(port, connections="20", phases=phases, think="exp:10ms", seed="7")
    whole = run(blasting)
    for name in ("one", "two", "three"):
        assert blasting.phase(name).counters["intended"] > 0
    assert blasting.phase("drain").counters["intended"] == 0
    assert whole.counters["intended"] == whole.counters["replied"] + whole.counters["unsent"]
