"""Peers of the serve end that mean harm: what they get, what they cost, and that the others are served meanwhile."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import loadkit.engine.aio.owing
import loadkit.engine.native.rows
from loadkit.engine.aio.echo import EchoConnection
from loadkit.engine.base import Engine
from loadkit.engine.compiled import native_missing
from loadkit.measure.board import Board
from loadkit.measure.samples import read_worker
from loadkit.units import Duration
from tests.idleness import busy_until_idle_is_closed
from tests.receiving import receive

from .conftest import EDGE_TRIGGERED, LOOPBACK, TIMEOUT_S, Server, hold_back, wait_for

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)

from loadkit.engine.native import _core

pytestmark = pytest.mark.slow

_REPLY_BYTES = 64 + _core.TRAILER_BYTES


def hello(size: int = 64) -> bytes:
    return _core.HELLO_TEXT.encode() + struct.pack("<I", size) + bytes(4)


def connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=30)


def greet(port: int) -> tuple[socket.socket, str]:
    """Returns a connection that said hello, and what it was told."""
    sock = connect(port)
    sock.sendall(hello())
    return sock, receive(sock, 47)[:39].decode()


def counters(board: Board) -> dict[str, int]:
    return dict(read_worker(board, 0).phases[0].counters)


def errors(board: Board) -> dict[tuple[str, str], int]:
    return dict(read_worker(board, 0).phases[0].errors)


def is_closed(sock: socket.socket) -> bool:
    """Reads to the end of the stream; not if it does not come."""
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


# -- probes


def test_a_probe_that_floods_is_closed_and_the_others_are_answered_meanwhile(server: Server) -> None:
    port, board, _control = server()
    flood, answer = greet(port)
    with flood, connect(port) as victim:
        assert answer == _core.WELCOME_TEXT
        flood.setblocking(False)
        began = time.monotonic()
        sent = got = 0
        with contextlib.suppress(ConnectionError):
            while True:
                victim.sendall(b"ping")
                assert receive(victim, 4) == b"ping"
                with contextlib.suppress(BlockingIOError):
                    sent += flood.send(bytes(65536))
                with contextlib.suppress(BlockingIOError):
                    chunk = flood.recv(2**20)
                    if not chunk:
                        break
                    got += len(chunk)
        assert got < 2 * sent  # it amplifies nothing to speak of
        # A second's worth at once, and 100 a second: what it had at first, and what came in the time it took, twice.
        assert got <= (100 + 200 * (time.monotonic() - began + 1)) * _REPLY_BYTES
        victim.sendall(b"ping")
        assert receive(victim, 4) == b"ping"
    wait_for(lambda: counters(board)["closed"] == 1)
    assert counters(board)["probes"] == 1


def test_a_blast_end_that_stood_still_may_catch_up(server: Server) -> None:
    port, _board, _control = server()
    sock, _answer = greet(port)
    with sock:
        for _ in range(90):  # of the 100 that it has at first
            sock.sendall(bytes(64))
            assert len(receive(sock, _REPLY_BYTES)) == _REPLY_BYTES


def test_there_are_so_many_probes_and_the_next_is_told_that_they_are(server: Server) -> None:
    port, board, _control = server()
    with contextlib.ExitStack() as stack:
        for _ in range(_core.MOST_ANSWERS):
            sock, answer = greet(port)
            stack.enter_context(sock)
            assert answer == _core.WELCOME_TEXT
        late = stack.enter_context(connect(port))
        late.sendall(hello())
        assert receive(late, 47) == _core.REFUSAL_TEXT.encode() + struct.pack("<Q", _core.REFUSED_FULL)
        late.sendall(b"ping")
        assert receive(late, 4) == b"ping"
        assert counters(board)["probes"] == _core.MOST_ANSWERS
    # Their places are free again.
    wait_for(lambda: is_welcome(port))


def is_welcome(port: int) -> bool:
    sock, answer = greet(port)
    sock.close()
    return answer == _core.WELCOME_TEXT


def test_probes_are_among_the_connections_that_there_may_be(server: Server) -> None:
    port, board, _control = server(max_connections=3)
    probes = [greet(port)[0] for _ in range(2)]
    with connect(port) as other:
        other.sendall(b"ping")
        assert receive(other, 4) == b"ping"
        with contextlib.suppress(ConnectionError), connect(port) as late:
            assert is_closed(late)
        wait_for(lambda: errors(board) == {("connect", "AT_LIMIT"): 1})
        probes.pop().close()
        wait_for(lambda: is_served(port))
    for sock in probes:
        sock.close()


def is_served(port: int) -> bool:
    with contextlib.suppress(ConnectionError), connect(port) as sock:
        sock.sendall(b"ping")
        return receive(sock, 4) == b"ping"
    return False


def test_a_probe_that_is_idle_is_closed_and_one_that_sends_is_not(server: Server) -> None:
    port, _board, _control = server(idle_timeout=Duration(300 * 10**6))

    def exchange(probe: socket.socket) -> bool:
        probe.sendall(bytes(64))
        return len(receive(probe, _REPLY_BYTES)) == _REPLY_BYTES

    busy_until_idle_is_closed(lambda: greet(port)[0], exchange, timeout_s=0.3)


# -- endings and urgent data


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_peer_that_says_hello_and_goes_leaves_nothing(server: Server) -> None:
    port, board, _control = server()
    with connect(port):
        wait_for(lambda: counters(board)["opened"] == 1)
        before = descriptors()
        for _ in range(20):
            with connect(port) as sock:
                hold_back(sock, True)
                sock.sendall(hello())
                sock.shutdown(socket.SHUT_WR)  # it lets it go
                assert is_closed(sock)
        wait_for(lambda: descriptors() <= before)


def test_what_is_behind_urgent_data_is_echoed(server: Server) -> None:
    port, board, _control = server()
    with connect(port) as sock:
        for _ in range(10):
            hold_back(sock, True)
            sock.sendall(b"abc")
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"d" * 1000)
            hold_back(sock, False)
            assert receive(sock, 1003) == b"abc" + b"d" * 1000
    wait_for(lambda: counters(board)["sent_bytes"] == counters(board)["received_bytes"] == 10 * 1003)


# -- peers that do not read


def kept_bytes(engine: Engine, board: Board) -> int:
    """Returns what the worker has read and not sent."""
    if engine.name == "native":
        now = counters(board)
        return now["received_bytes"] - now["sent_bytes"]
    connections = [one for one in gc.get_objects() if isinstance(one, EchoConnection) and hasattr(one, "transport")]
    return sum(one.transport.get_write_buffer_size() for one in connections)


def limit_buffers(port: int) -> None:
    """Has the kernel buffer little of what is accepted from now on: it would take megabytes of each."""
    for _fd, sock in own_sockets():
        if sock.getsockname()[1] == port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**18)


def own_sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yields the internet sockets of this process, the serve end's too: file descriptor, and a duplicate."""
    for file in list(Path("/proc/self/fd").iterdir()):
        if file.is_socket():
            with socket.socket(fileno=os.dup(int(file.name))) as sock:
                if sock.family == socket.AF_INET:
                    yield int(file.name), sock


def pour(socks: list[socket.socket], chunk: bytes, is_enough: Callable[[list[int]], bool]) -> list[int]:
    """Sends on each what it takes, until that is enough and none takes more for a while; returns how much each took."""
    sent = [0] * len(socks)
    quiet, deadline = 0, time.monotonic() + TIMEOUT_S
    while quiet < 10 or not is_enough(sent):
        assert time.monotonic() < deadline, sent
        quiet += 1
        for at, sock in enumerate(socks):
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent[at] += sock.send(chunk[sent[at] % len(chunk) :])
                    quiet = 0
        time.sleep(0.02)
    return sent


def drain(socks: list[socket.socket], counts: list[int]) -> list[bytes]:
    """Reads so many bytes of each, all at the same time."""
    got = [bytearray() for _ in socks]
    with selectors.DefaultSelector() as selector:
        for at, sock in enumerate(socks):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)  # 4 KiB at a time would take its time
            selector.register(sock, selectors.EVENT_READ, at)
        while selector.get_map():
            ready = selector.select(30)
            assert ready, "the rest does not come"
            for key, _events in ready:
                at = key.data
                got[at] += socks[at].recv(counts[at] - len(got[at]))
                if len(got[at]) == counts[at]:
                    selector.unregister(socks[at])
    return [bytes(one) for one in got]


def test_peers_that_do_not_read_are_bounded_together_and_get_all_of_it_when_they_do(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, peers = 2**19, 24
    monkeypatch.setattr(loadkit.engine.native.rows, "MOST_OWED_BYTES", most)
    monkeypatch.setattr(loadkit.engine.aio.owing, "MOST_OWED_BYTES", most)
    port, board, _control = server()
    limit_buffers(port)
    chunk = os.urandom(2**16)
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(peers):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((LOOPBACK, port))
            sock.setblocking(False)
            socks.append(sock)
        # Without a bound some of what each sent would be kept: 1.5 MiB in all, or more.
        sent = pour(socks, chunk, lambda sent: min(sent) > 2**16 and kept_bytes(engine, board) > 0)
        kept = kept_bytes(engine, board)
        assert 0 < kept <= most + (0 if engine.name == "native" else 2**18 + peers * 2048)
        # The others are echoed to as ever, in as many pieces as it takes.
        with connect(port) as other:
            other.sendall(chunk)
            assert receive(other, len(chunk)) == chunk
        for got, count in zip(drain(socks, sent), sent, strict=True):
            assert got == (chunk * (count // len(chunk) + 1))[:count]
    wait_for(lambda: counters(board)["closed"] == peers + 1)
    assert errors(board) == {}


# -- calls that fail


@pytest.mark.parametrize("engine", ["native"], indirect=True)
def test_a_peer_that_epoll_cannot_watch_is_lost_and_not_kept_for_ever(
    server: Server, request: pytest.FixtureRequest
) -> None:
    assert not request.node.stash[EDGE_TRIGGERED]
    port, board, _control = server()
    with connect(port) as sock:
        wait_for(lambda: counters(board)["opened"] == 1)
        [fd] = [fd for fd, one in own_sockets() if fd != sock.fileno() and is_its_end(one, sock)]
        ours, theirs = socket.socketpair()
        # epoll goes on to watch what stood under this number; another socket stands there, and is full.
        watched = os.dup(fd)
        os.dup2(theirs.fileno(), fd)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(4096))
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                theirs.send(bytes(4096))
        sock.sendall(b"now look")
        wait_for(lambda: errors(board) == {("receive", "ENOENT"): 1})
        os.close(watched)
        ours.close()
        theirs.close()
    assert counters(board)["closed"] == 1


def is_its_end(one: socket.socket, sock: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(one.getpeername() == sock.getsockname())
    return False
