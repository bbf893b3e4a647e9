"""What every engine has to do over UNIX sockets, at both ends. The other end is a plain socket where it misbehaves."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadkit.endpoint import sockaddr_of
from loadkit.engine.base import Engine
from loadkit.host import read_host
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.samples import PhaseSamples, read_board, read_worker
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_serve_profile
from loadkit.run.places import hold_place
from loadkit.units import NS_PER_S
from tests.receiving import receive

from .conftest import EDGE_TRIGGERED, TIMEOUT_S, Blast, HandControl, Server, run, wait_for

pytestmark = pytest.mark.slow

Crowd = Callable[[int], Board]


def connect(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT_S)
    try:
        sock.connect(sockaddr_of(address, 0))
    except OSError:
        sock.close()
        raise
    return sock


def echoes(sock: socket.socket, message: bytes = b"hello") -> bool:
    sock.sendall(message)
    return receive(sock, len(message)) == message


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/echo.sock"


@pytest.fixture(params=("path", "abstract"))
def place(request: pytest.FixtureRequest, path: str) -> str:
    """The address of a UNIX socket: a path, and an abstract name."""
    return path if request.param == "path" else f"unix:@loadkit-test-{os.getpid()}"


def test_both_ends_count_the_same_over_a_unix_socket(server: Server, blast: Blast, place: str) -> None:
    _port, board, _control = server(place)
    blasting = blast(0, place, connections="20", messages="500", size="1000B", depth="2")
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["replied"] == 500
    assert whole.counters["received_bytes"] == whole.counters["sent_bytes"] == 520 * 1000
    wait_for(lambda: board.slots[0].get("open") == 0)
    wait_for(lambda: read_worker(board, 0).phases[0].counters["sent_bytes"] == 520 * 1000)
    served = read_worker(board, 0).phases[0]
    assert served.errors == {}
    assert served.counters["opened"] == served.counters["closed"] == 20
    assert served.counters["received_bytes"] == served.counters["sent_bytes"] == 520 * 1000


def test_the_kernel_says_nothing_of_tcp(server: Server, blast: Blast, path: str) -> None:
    server(path)
    whole = run(blast(0, path, connections="5", messages="50"))
    assert whole.counters["tcp_samples"] == whole.counters["tcp_watched"] == 0


@pytest.mark.parametrize("loop", ["open loop", "churn"])
def test_open_loops_and_churn_go_over_a_unix_socket(server: Server, blast: Blast, path: str, loop: str) -> None:
    server(path)
    more = {"rate": "1k"} if loop == "open loop" else {"lifetime": "0"}
    blasting = blast(0, path, connections="10", messages="200", duration="30s", **more)
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["replied"] == 200
    assert whole.counters["opened"] == (10 if loop == "open loop" else whole.counters["asked"])


def test_a_message_larger_than_any_buffer_comes_back(server: Server, blast: Blast, path: str) -> None:
    server(path)
    whole = run(blast(0, path, connections="2", messages="4", size="4MiB"))
    assert whole.errors == {}
    assert whole.counters["received_bytes"] == 6 * 4 * 2**20


def test_the_send_buffer_that_was_asked_for_is_set_on_both_ends(server: Server, blast: Blast, path: str) -> None:
    _port, board, _control = server(path, sndbuf="50000B")
    blasting = blast(0, path, connections="1", messages="3", sndbuf="60000B")
    run(blasting)
    first = {name: board.slots[0].get(f"setting_{word}") for word, name in enumerate(("length", "value"))}
    assert first == {"length": 4, "value": 100_000}  # the kernel doubles it
    assert blasting.board.slots[0].get("setting_1") == 120_000


def test_connects_wait_in_line_while_the_queue_of_the_listener_is_full(blast: Blast, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path.removeprefix("unix:"))
        listener.listen(1)  # the kernel takes two then
        blasting = blast(0, path, connections="12", connect_rate="max", messages="24")
        wait_for(lambda: read_board(blasting.board)[0].phases[0].counters["asked"] == 12)
        assert not read_board(blasting.board)[0].phases[0].errors
        with contextlib.ExitStack() as undo:
            threads = [threading.Thread(target=_echo, args=(listener, undo), daemon=True) for _ in range(12)]
            for thread in threads:
                thread.start()
            whole = run(blasting)
            for thread in threads:
                thread.join(TIMEOUT_S)
    assert whole.errors == {}
    assert whole.counters["opened"] == whole.counters["asked"] == 12


def _echo(listener: socket.socket, undo: contextlib.ExitStack) -> None:
    sock = undo.enter_context(listener.accept()[0])
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(4096):
            sock.sendall(chunk)


def test_a_connect_that_finds_the_queue_full_all_the_time_has_timed_out(blast: Blast, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path.removeprefix("unix:"))
        listener.listen(0)  # the kernel takes one
        whole = run(blast(0, path, connections="4", connect_timeout="300ms", timeout="300ms", messages="4"))
    # The one in the queue is open, and gets no reply.
    assert whole.errors == {("connect", "CONNECT_TIMEOUT"): 3, ("receive", "REPLY_TIMEOUT"): 1}
    assert whole.counters["failed_connects"] == 3


def test_waiting_in_line_does_not_spin(blast: Blast, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path.removeprefix("unix:"))
        listener.listen(0)
        blasting = blast(
            0, path, connections="200", connect_rate="max", connect_timeout="1s", timeout="1s", duration="10ms"
        )
        whole = run(blasting)
    assert whole.errors[("connect", "CONNECT_TIMEOUT")] == 199
    # Tries come at most every 1 ms, and for most of the second every 50 ms; 200 that each try would be thousands.
    assert whole.counters["waits"] < 1500


@pytest.mark.parametrize(
    ("number", "make"),
    [
        pytest.param("ENOENT", lambda _path, _sock: None, id="nothing"),
        pytest.param("ECONNREFUSED", lambda path, sock: (sock.bind(path), sock.close()), id="a dead socket"),
        pytest.param("EPROTOTYPE", lambda path, sock: sock.bind(path), id="datagrams"),
    ],
)
def test_what_cannot_be_connected_to_is_counted_by_its_errno(
    blast: Blast, path: str, number: str, make: Callable[[str, socket.socket], object]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        make(path.removeprefix("unix:"), sock)
        whole = run(blast(0, path, connections="3", messages="3"))
    assert whole.errors == {("connect", number): 3}


def test_a_server_that_is_gone_in_mid_run_ends_its_connections(blast: Blast, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.ExitStack() as undo:
        listener.bind(path.removeprefix("unix:"))
        listener.listen()
        blasting = blast(0, path, connections="1", duration="30s")
        sock = undo.enter_context(listener.accept()[0])
        sock.sendall(sock.recv(64))
        blasting.end_ramp()
        wait_for(lambda: bool(sock.recv(64)))
        sock.close()
        wait_for(lambda: bool(read_board(blasting.board)[0].phases[1].errors))
        blasting.say(stop=True)
        whole = blasting.end()
    assert whole.errors == {("receive", "CLOSED_BY_PEER"): 1}


def test_the_serve_end_stops_reading_from_a_peer_that_does_not_read(server: Server, path: str) -> None:
    _port, board, _control = server(path)
    with connect(path) as sock:
        sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 2**26:
                sent += sock.send(b"x" * 65536)
        assert 0 < sent < 2**26
        sock.settimeout(TIMEOUT_S)
        assert receive(sock, sent) == b"x" * sent
    wait_for(lambda: board.slots[0].get("open") == 0)


def test_the_limit_of_connections_holds_on_a_unix_socket(server: Server, path: str) -> None:
    _port, board, _control = server(path, max_connections=1)
    with connect(path) as first, connect(path) as second:
        assert echoes(first)
        with contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
    assert read_worker(board, 0).phases[0].errors == {("connect", "AT_LIMIT"): 1}


def test_what_waits_in_the_queue_at_the_stop_is_still_served(server: Server, path: str) -> None:
    _port, _board, control = server(path)
    stands, go_on = control.hold()
    control.say(stop=True)
    assert stands.wait(TIMEOUT_S)
    # The worker stands still, and has not heard of the stop.
    peers = [connect(path) for _ in range(20)]
    go_on.set()
    for peer in peers:
        with peer:
            assert echoes(peer)
    with pytest.raises(ConnectionRefusedError):
        connect(path)


def test_idle_connections_are_closed_on_a_unix_socket(server: Server, path: str) -> None:
    server(path, idle_timeout="100ms")
    with connect(path) as sock:
        assert echoes(sock)
        assert sock.recv(1) == b""


@pytest.fixture
def crowd(engine: Engine, request: pytest.FixtureRequest, path: str) -> Iterator[Crowd]:
    """Starts so many workers on one UNIX listener, in threads; returns their board."""
    undo = contextlib.ExitStack()

    def start(workers: int) -> Board:
        edge_triggered = request.node.stash.get(EDGE_TRIGGERED, False)
        profile, _ = load_serve_profile(None, {"workers": workers, "pin": False, "edge_triggered": edge_triggered})
        chosen = ChosenEngine(EngineName(engine.name))
        plan = build_serve_plan(read_host(), (path,), 0, profile, engine=chosen)
        place = undo.enter_context(contextlib.closing(hold_place(plan)))
        board = undo.enter_context(contextlib.closing(Board(BoardLayout(workers, 1, 10 * NS_PER_S))))
        for slot in board.slots:
            control = undo.enter_context(contextlib.closing(HandControl()))
            listeners = [socket.socket(fileno=os.dup(fd)) for fd in place.inherited]
            thread = threading.Thread(target=engine.serve, args=(plan, listeners, slot, control), daemon=True)
            thread.start()
            assert control.is_ready.wait(TIMEOUT_S)
            undo.callback(thread.join, TIMEOUT_S)
            undo.callback(control.say, leave=True)
        return board

    with undo:
        yield start


def test_workers_share_a_listener_and_a_connection_wakes_one_of_them(
    crowd: Crowd, path: str, request: pytest.FixtureRequest
) -> None:
    board = crowd(4)
    count = 0
    # One that is kept from its core misses its turn: 80 suffice where none is.
    while count < 80 or min(_each(board, "opened")) < 5:
        with connect(path) as sock:
            assert echoes(sock)
        count += 1
        assert count < 2_000, _each(board, "opened")
    wait_for(lambda: sum(_each(board, "closed")) == count)
    assert sum(_each(board, "opened")) == count
    # One for the connection, one for its message and one for its end; by edges also that it can be written to, at first
    # and when the peer has read. With a herd it would be three more.
    each = 5 if request.node.stash[EDGE_TRIGGERED] else 3
    assert sum(_each(board, "events")) < (each + 1.5) * count


def _each(board: Board, counter: str) -> list[int]:
    phases: list[PhaseSamples] = [worker.phases[0] for worker in read_board(board)]
    return [phase.counters[counter] for phase in phases]
