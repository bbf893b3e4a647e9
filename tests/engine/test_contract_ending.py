"""When a worker has nothing left to wait for: no connection, and none to come."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from loadkit.measure.samples import read_worker
from loadkit.plan.target import Route
from tests.receiving import receive

from .conftest import LOOPBACK, TIMEOUT_S, Behaviour, Blast, Peer, Server, run, wait_for

pytestmark = pytest.mark.slow

SIZE = 64  # the default


def echo(messages: int, then: Callable[[socket.socket], None] = socket.socket.close) -> Behaviour:
    """Echoes so many messages of a connection, and then closes it, or what else is to be done."""

    def behave(sock: socket.socket, _number: int) -> None:
        for _ in range(messages):
            sock.sendall(receive(sock, SIZE))
        then(sock)

    return behave


def be_silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.fixture
def few() -> Iterator[Callable[[int], int]]:
    """Echoes one message on each of so many connections, and then refuses; returns the port."""
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, connections: int) -> None:
        with listener:
            for _ in range(connections):
                with listener.accept()[0] as sock:
                    sock.sendall(receive(sock, SIZE))

    def start(connections: int) -> int:
        listener = socket.create_server((LOOPBACK, 0))
        port = int(listener.getsockname()[1])
        threads.append(threading.Thread(target=serve, args=(listener, connections), daemon=True))
        threads[-1].start()
        return port

    yield start
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("depth", [1, 4])
def test_n_in_a_closed_loop_ends_when_the_last_connection_is_gone(peer: Peer, blast: Blast, depth: int) -> None:
    blasting = blast(peer(echo(20)), connections="3", messages="100m", depth=str(depth))
    whole = run(blasting)
    assert whole.counters["replied"] >= 3 * (20 - depth)
    assert whole.counters["replied"] < 100
    state = read_worker(blasting.board, 0).state
    assert 0 < state["stranded_ns"] <= state["finished_ns"]


def test_n_ends_when_a_peer_that_replied_once_never_does_again(peer: Peer, blast: Blast) -> None:
    blasting = blast(peer(echo(1, then=be_silent)), connections="3", messages="100m", timeout="200ms")
    whole = run(blasting)
    assert whole.errors == {("receive", "REPLY_TIMEOUT"): 3}


def test_what_is_left_of_n_in_an_open_loop_is_unsent_when_the_last_connection_is_gone(peer: Peer, blast: Blast) -> None:
    # A schedule of 80,000 s, of which the first moments have connections.
    blasting = blast(peer(echo(20)), connections="3", rate="1k", messages="80m")
    run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["sent"] + hold["unsent"] == 80_000_000
    # The first message of a connection is none of the schedule's; a few may be under way as it closes.
    assert 3 * 18 <= hold["sent"] <= 3 * 21
    assert read_worker(blasting.board, 0).state["stranded_ns"] > 0


def test_one_worker_of_two_without_its_only_connection_ends_by_itself(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    routes = (Route(None, LOOPBACK, 1), Route(None, "127.0.0.2", 1))  # nothing listens at the second
    blasting = blast(port, connections="2", workers="2", messages="1k", routes=routes)
    whole = run(blasting)
    assert whole.errors == {("connect", "ECONNREFUSED"): 1}
    first, second = (read_worker(blasting.board, index) for index in range(2))
    assert first.phases[1].counters["replied"] == 500
    assert first.state["stranded_ns"] == 0
    assert second.phases[1].counters["intended"] == 0
    assert second.state["stranded_ns"] > 0


@pytest.mark.parametrize("loop", [{"lifetime": "0"}, {"lifetime": "1ms", "rate": "1k"}], ids=["closed", "open"])
def test_n_in_churn_ends_when_none_could_be_opened_for_a_time_out(
    few: Callable[[int], int], blast: Blast, loop: dict[str, str]
) -> None:
    blasting = blast(few(20), connections="3", messages="1m", timeout="300ms", **loop)
    blasting.end_ramp()
    whole = blasting.end()
    # Tried again every 100 ms, until it was given up.
    assert whole.errors[("connect", "ECONNREFUSED")] >= 3
    state = read_worker(blasting.board, 0).state
    assert state["stranded_ns"] > 0
    hold = blasting.phase("hold").counters
    if "rate" in loop:
        assert hold["intended"] == 1_000_000


def test_with_a_duration_a_worker_says_so_and_goes_on_to_count_what_falls_due(peer: Peer, blast: Blast) -> None:
    blasting = blast(peer(echo(5)), connections="3", rate="1k", duration="60s")
    blasting.end_ramp()
    slot = blasting.board.slots[0]
    wait_for(lambda: slot.get("stranded_ns") > 0)

    def unsent() -> int:
        return blasting.phase("hold").counters["unsent"]

    before = unsent()
    wait_for(lambda: unsent() > before)
    assert slot.get("finished_ns") == 0
    blasting.say(stop=True)
    blasting.end()
    assert blasting.phase("hold").counters["intended"] < 60_000


def test_churn_with_a_duration_goes_on(few: Callable[[int], int], blast: Blast) -> None:
    blasting = blast(few(10), connections="2", lifetime="0", duration="60s", timeout="100ms")
    blasting.end_ramp()

    def refused() -> int:
        return blasting.whole().errors.get(("connect", "ECONNREFUSED"), 0)

    # Each is tried again every 100 ms, for longer than the time-out: with -n that would be the end.
    wait_for(lambda: refused() >= 10)
    assert read_worker(blasting.board, 0).state["stranded_ns"] == 0
    blasting.say(stop=True)
    blasting.end()


def test_a_phase_that_opens_more_connections_is_waited_for(peer: Peer, blast: Blast) -> None:
    def close_the_first(sock: socket.socket, number: int) -> None:
        echo(1 if number == 0 else 10**9)(sock, number)

    phases = [
        {"name": name, "duration": duration, "connections": connections, "rate": "100"}
        for name, duration, connections in (("one", "200ms", "1"), ("two", "60s", "2"))
    ]
    blasting = blast(peer(close_the_first), phases=phases)
    blasting.end_ramp()
    wait_for(lambda: blasting.phase("two").counters["replied"] > 0)
    blasting.say(stop=True)
    blasting.end()
    assert read_worker(blasting.board, 0).state["stranded_ns"] == 0


def test_n_is_what_falls_due_however_far_the_rate_is_above_what_can_be_sent(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # 10^6 messages fall due within 0.2 s.
    blasting = blast(port, connections="2", rate="5m", messages="1m", duration="300ms")
    run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["sent"] + hold["unsent"] == 1_000_000
    assert hold["unsent"] > 0


def test_n_spans_phases_and_what_one_left_unsent_counts(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    phases = [{"name": name, "duration": "100ms", "rate": "5m"} for name in ("first", "second")]
    blasting = blast(port, connections="2", messages="600k", phases=phases)
    run(blasting)
    intended = [blasting.phase(name).counters["intended"] for name in ("first", "second")]
    assert intended == [500_000, 100_000]


def test_a_worker_that_leaves_has_closed_those_that_waited_for_their_last_reply(blast: Blast, peer: Peer) -> None:
    port = peer(echo(1, then=be_silent))
    blasting = blast(port, connections="5", lifetime="300ms", rate="200", duration="60s", timeout="50s")
    blasting.end_ramp()
    over = [time.monotonic() + 0.6]  # then they are past their lifetime, and wait for a reply

    def are_past_it() -> bool:
        counters = blasting.whole().counters
        if counters["sent"] - counters["replied"] < 5:
            over[0] = time.monotonic() + 0.6
        return time.monotonic() > over[0]

    wait_for(are_past_it)
    blasting.say(leave=True)
    assert blasting.end().counters["unanswered"] == 5  # and none is left open: the fixture asks


@pytest.mark.parametrize("ending", [{"messages": "50"}, {"duration": "200ms"}, {"duration": "60s"}])
def test_a_worker_says_once_that_its_traffic_is_over(server: Server, blast: Blast, ending: dict[str, str]) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="4", workers="2", **ending)
    blasting.end_ramp()
    if ending == {"duration": "60s"}:
        wait_for(lambda: blasting.phase("hold").counters["replied"] > 0)
        assert blasting.times_finished() == [0, 0]
        blasting.say(stop=True)
    blasting.end()
    assert blasting.times_finished() == [1, 1]
