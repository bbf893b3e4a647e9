"""What every engine has to do at the serve end, whatever it is made of. The peers are plain sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Mapping

import pytest

from loadkit.measure.board import Board
from loadkit.measure.samples import read_worker
from loadkit.units import NS_PER_S, Duration
from tests.idleness import busy_until_idle_is_closed
from tests.receiving import receive

from .conftest import LOOPBACK, Server, few_descriptors, wait_for

pytestmark = pytest.mark.slow


def connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=30)


def echoes(sock: socket.socket, message: bytes = b"hello") -> bool:
    """Whether the message comes back; not if the peer closes."""
    try:
        sock.sendall(message)
        return receive(sock, len(message)) == message
    except (ConnectionResetError, BrokenPipeError):
        return False


def is_closed(sock: socket.socket) -> bool:
    """Waits for the peer to end the connection; bytes instead are a no."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def is_turned_away(port: int) -> bool:
    """Whether a connection is closed by the peer; it may be gone before connect() returns."""
    try:
        with connect(port) as sock:
            return is_closed(sock)
    except ConnectionResetError:
        return True


def is_refused(port: int) -> bool:
    """Whether nothing listens any more."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def counters(board: Board) -> Mapping[str, int]:
    return read_worker(board, 0).phases[0].counters


def errors(board: Board) -> Mapping[tuple[str, str], int]:
    return read_worker(board, 0).phases[0].errors


def test_serve_stops_reading_from_a_peer_that_does_not_read(server: Server) -> None:
    port, board, _control = server()
    with connect(port) as sock:
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
        wait_for(lambda: counters(board)["received_bytes"] == sent)
        wait_for(lambda: counters(board)["sent_bytes"] == sent)


def test_a_flood_and_a_ping_pong_both_go_on(server: Server) -> None:
    port, board, _control = server()
    is_over = threading.Event()
    poured = read = 0

    def pour(sock: socket.socket) -> None:
        nonlocal poured
        while not is_over.is_set():
            sock.sendall(bytes(2**20))
            poured += 2**20
        sock.shutdown(socket.SHUT_WR)

    def read_back(sock: socket.socket) -> None:
        nonlocal read
        while chunk := sock.recv(2**20):
            read += len(chunk)

    with connect(port) as flood, connect(port) as other:
        threads = [threading.Thread(target=target, args=(flood,)) for target in (pour, read_back)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: read > 0)
            for _ in range(4):
                before = read
                assert all(echoes(other) for _ in range(50))
                wait_for(lambda before=before: read > before)
        finally:
            is_over.set()
            for thread in threads:
                thread.join(60)
    assert read == poured > 0
    wait_for(lambda: counters(board)["received_bytes"] == poured + 4 * 50 * len(b"hello"))


def test_serve_echoes_what_it_had_before_a_half_close(server: Server) -> None:
    port, _board, _control = server()
    with connect(port) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := sock.recv(64):
            got += chunk
    assert got == b"last words"


def test_a_peer_that_resets_is_closed_without_an_error_and_the_others_go_on(server: Server) -> None:
    port, board, _control = server()
    with connect(port) as one, connect(port) as other:
        assert echoes(one)
        one.sendall(b"half a")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
        wait_for(lambda: counters(board)["closed"] == 1)
        assert echoes(other)
    assert errors(board) == {}


def test_connections_beyond_the_limit_are_turned_away_and_counted(server: Server) -> None:
    port, board, _control = server(max_connections=3)
    inside = [connect(port) for _ in range(3)]
    assert all(echoes(sock) for sock in inside)
    assert is_turned_away(port)
    assert is_turned_away(port)
    wait_for(lambda: errors(board) == {("connect", "AT_LIMIT"): 2})
    assert all(echoes(sock) for sock in inside)
    inside.pop().close()
    wait_for(lambda: counters(board)["closed"] == 1)
    inside.append(connect(port))
    assert echoes(inside[-1])
    assert counters(board)["opened"] == 4
    for sock in inside:
        sock.close()


def test_out_of_file_descriptors_serve_turns_away_counts_and_does_not_spin(server: Server) -> None:
    # Both ends are in this process, so the clients' descriptors are had before there are few.
    clients = [socket.socket() for _ in range(80)]
    with few_descriptors(50):
        port, board, _control = server()
        for sock in clients:
            sock.settimeout(30)
            with contextlib.suppress(ConnectionResetError):  # turned away before connect() returned
                sock.connect((LOOPBACK, port))
        inside = [sock for sock in clients if echoes(sock)]
        turned_away = len(clients) - len(inside)
        assert len(inside) >= 5
        assert turned_away >= 30
        wait_for(lambda: errors(board).get(("connect", "EMFILE"), 0) >= turned_away)
        assert set(errors(board)) == {("connect", "EMFILE")}
        before = time.process_time()
        time.sleep(0.5)  # the measured half second
        assert time.process_time() - before < 0.25  # all of it would be spinning
        inside.pop().close()
        wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] - len(inside))
        with connect(port) as late:
            assert echoes(late)
    for sock in clients:
        sock.close()


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(server: Server) -> None:
    port, board, _control = server(idle_timeout=Duration(200 * 10**6))
    busy_until_idle_is_closed(lambda: connect(port), echoes, timeout_s=0.2)
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] >= 2)
    assert errors(board) == {}


IDLE_S, PACE_BYTES_S = 0.5, 500_000


def connect_and_fill(port: int, most: int) -> tuple[socket.socket, float]:
    """Connects, and sends `most` bytes, or as many as are taken while we do not read; returns when the last were.

    With a small receive buffer of ours most of what is on its way to us waits at the serve end.
    """
    sent = 0
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    sock.settimeout(0.1)
    sock.connect((LOOPBACK, port))
    last = time.monotonic()
    with contextlib.suppress(TimeoutError):
        while sent < most:
            sent += sock.send(bytes(2**16))
            last = time.monotonic()
    sock.settimeout(30)
    return sock, last


def read_slowly(sock: socket.socket, last: float, seconds: float, pace_bytes_s: float) -> float:
    """Reads at a steady pace from the time `last` on; returns the longest time in which we read nothing."""
    until, longest = last + seconds, 0.0
    with contextlib.suppress(ConnectionResetError):
        while last < until:
            time.sleep(0.02)
            now = time.monotonic()
            longest, wanted, last = max(longest, now - last), round((now - last) * pace_bytes_s), now
            if not receive(sock, wanted):
                break
    return longest


@pytest.mark.parametrize(
    "most",
    [
        pytest.param(2**20, id="all is in the kernel's send buffer"),
        pytest.param(2**26, id="more than the serve end takes"),
    ],
)
def test_a_connection_whose_peer_reads_slowly_is_not_idle(server: Server, most: int) -> None:
    # A busy machine does not let us read every 20 ms: then the same again, with twice the time for all of it.
    for slower in (1, 2, 4, 8, 16, 32):
        idle_s, pace_bytes_s = IDLE_S * slower, PACE_BYTES_S / slower
        port, board, _control = server(idle_timeout=Duration(round(idle_s * NS_PER_S)))
        sock, last = connect_and_fill(port, most)
        with sock:
            # In this time the serve end has nothing to do, or cannot: its send buffer stays more than two thirds full.
            longest = read_slowly(sock, last, 3 * idle_s, pace_bytes_s)
            # A close is not seen here before all that is in the kernel's buffers was read.
            closed = counters(board)["closed"]
        # Our kernel asks for more when a half of our buffer is free, a quarter of the time-out later: this and two
        # pauses are no time-out.
        if longest < idle_s / 4:
            break
    else:
        pytest.fail(f"this machine let us read nothing for {longest:.1f} s")
    assert closed == 0


def test_a_connection_whose_peer_stops_reading_is_idle_though_it_has_sent_more(server: Server) -> None:
    port, board, _control = server(idle_timeout=Duration(round(IDLE_S * NS_PER_S)))
    begin = time.monotonic()
    sock, _last = connect_and_fill(port, 2**26)
    with sock:
        wait_for(lambda: counters(board)["closed"] == 1)
        assert time.monotonic() - begin > IDLE_S
    assert errors(board) == {}


def test_a_stopped_serve_end_refuses_and_ends_when_its_last_connection_does(server: Server) -> None:
    port, board, control = server(grace=Duration(600 * 10**9), settle_ns=0)
    with connect(port) as sock:
        assert echoes(sock)
        control.say(stop=True)
        wait_for(lambda: is_refused(port))
        assert echoes(sock)
    # The fixture waits for the end of the thread, for less than the grace.
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] >= 1)


def test_what_waits_to_be_accepted_at_the_stop_is_served(server: Server) -> None:
    port, board, control = server(grace=Duration(600 * 10**9), settle_ns=0)
    before = connect(port)
    assert echoes(before)
    stands, go_on = control.hold()
    control.say(stop=True)
    assert stands.wait(60)
    waiting = [connect(port) for _ in range(50)]
    for sock in waiting[::2]:
        sock.sendall(b"sent before it was accepted")
    go_on.set()
    wait_for(lambda: is_refused(port))
    for sock in waiting[::2]:
        assert sock.recv(64) == b"sent before it was accepted"
    assert all(echoes(sock) for sock in (before, *waiting))
    for sock in (before, *waiting):
        sock.close()
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] >= 51)
    assert errors(board) == {}


def test_beyond_the_limit_what_waits_at_the_stop_is_turned_away_and_counted(server: Server) -> None:
    port, board, control = server(grace=Duration(600 * 10**9), max_connections=3)
    stands, go_on = control.hold()
    control.say(stop=True)
    assert stands.wait(60)
    waiting = [connect(port) for _ in range(5)]
    go_on.set()
    assert sum(echoes(sock) for sock in waiting) == 3
    for sock in waiting:
        sock.close()
    wait_for(lambda: counters(board)["closed"] == 3)
    assert errors(board) == {("connect", "AT_LIMIT"): 2}


def test_a_stopped_serve_end_cuts_and_counts_what_does_not_end_within_the_grace(server: Server) -> None:
    port, board, control = server(grace=Duration(200 * 10**6))
    with connect(port) as sock, connect(port) as other, connect(port) as third:
        assert all(echoes(one) for one in (sock, other, third))
        third.close()
        wait_for(lambda: counters(board)["closed"] == 1)
        begin = time.monotonic()
        control.say(stop=True)
        assert is_closed(sock)
        assert is_closed(other)
        assert time.monotonic() - begin > 0.15
    wait_for(lambda: counters(board)["closed"] == 3)
    wait_for(lambda: errors(board) == {("close", "CUT"): 2})


def test_without_a_grace_what_waits_at_the_stop_is_counted_as_cut(server: Server) -> None:
    port, board, control = server(grace=Duration(0))
    stands, go_on = control.hold()
    control.say(stop=True)
    assert stands.wait(60)
    waiting = [connect(port) for _ in range(5)]
    go_on.set()
    assert all(is_closed(sock) for sock in waiting)
    for sock in waiting:
        sock.close()
    wait_for(lambda: errors(board) == {("close", "CUT"): 5})


def test_a_serve_end_told_to_leave_cuts_everything_at_once(server: Server) -> None:
    port, board, control = server(grace=Duration(600 * 10**9))
    with connect(port) as sock:
        assert echoes(sock)
        control.say(leave=True)
        assert is_closed(sock)
    wait_for(lambda: counters(board)["closed"] == 1)
    wait_for(lambda: errors(board) == {("close", "CUT"): 1})
