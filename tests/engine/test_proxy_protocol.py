"""What every engine has to do with the PROXY protocol, at both ends; the other end is a plain socket."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

import loadkit.engine.aio.greeting
import loadkit.engine.native.rows
from loadkit.measure.samples import read_worker
from loadkit.wire.delimited import LINE
from loadkit.wire.proxy_header import ProxyProtocol, make_header, read_header
from loadkit.wire.setup import Step
from tests.receiving import receive

from .conftest import LOOPBACK, TIMEOUT_S, Blast, Peer, Server, run, wait_for

pytestmark = pytest.mark.slow

VERSIONS = [ProxyProtocol.V1, ProxyProtocol.V2]


def header(version: ProxyProtocol) -> bytes:
    return make_header(version, ("192.0.2.1", 1234), ("192.0.2.2", 80))


def connect(port: int) -> socket.socket:
    sock = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("loop", ["closed loop", "churn"])
def test_the_header_names_the_connection_and_comes_before_its_messages(
    blast: Blast, peer: Peer, version: ProxyProtocol, loop: str
) -> None:
    came: list[tuple[bytes, bytes]] = []

    def behave(sock: socket.socket, _number: int) -> None:
        wanted = make_header(version, sock.getpeername(), sock.getsockname())
        came.append((wanted, receive(sock, len(wanted))))
        while message := sock.recv(64):
            sock.sendall(message)

    more = {"lifetime": "0"} if loop == "churn" else {}
    whole = run(blast(peer(behave), connections="3", messages="12", proxy_protocol=version.value, **more))
    assert whole.errors == {}
    assert len(came) >= 3
    # In churn the last one may be reset before the peer has read all of it.
    assert all(wanted == got for wanted, got in came if len(got) == len(wanted))
    # It counts as none of the bytes of messages.
    assert whole.counters["sent_bytes"] == 64 * whole.counters["sent"] == whole.counters["received_bytes"]


def test_the_header_comes_before_a_set_up(blast: Blast, peer: Peer) -> None:
    def behave(sock: socket.socket, _number: int) -> None:
        assert receive(sock, 28)[:12] == b"\r\n\r\n\0\r\nQUIT\n"
        sock.sendall(b"ready\n")
        while message := sock.recv(64):
            sock.sendall(message)

    steps = (Step(b"", LINE),)
    whole = run(blast(peer(behave), setup=steps, connections="2", messages="4", proxy_protocol="v2"))
    assert whole.errors == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_both_ends_count_the_same_bytes_without_the_headers(
    server: Server, blast: Blast, version: ProxyProtocol, tmp_path: Path
) -> None:
    for address, unknown in ((LOOPBACK, 0), (f"unix:{tmp_path}/echo.sock", 4)):
        port, board, _control = server(address, proxy_protocol=True)
        whole = run(blast(port, address, connections="4", messages="40", proxy_protocol=version.value))
        assert whole.errors == {}
        wait_for(lambda board=board: board.slots[0].get("open") == 0)  # type: ignore[misc]
        wait_for(lambda board=board: read_worker(board, 0).phases[0].counters["received_bytes"] == 44 * 64)  # type: ignore[misc]
        served = read_worker(board, 0).phases[0]
        assert served.errors == {}
        assert whole.counters["sent_bytes"] == served.counters["sent_bytes"] == 44 * 64
        assert served.counters[f"proxy_{version}"] == 4
        assert served.counters["proxy_unknown"] == unknown


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_header_is_taken_in_any_pieces_and_what_is_behind_it_echoed(
    server: Server, version: ProxyProtocol, piece: int
) -> None:
    port, board, _control = server(proxy_protocol=True)
    stream = header(version) + b"message"
    with connect(port) as sock:
        for at in range(0, len(stream), piece):
            sock.sendall(stream[at : at + piece])
        assert receive(sock, 7) == b"message"
        sock.sendall(header(version))  # a second one is like any other bytes
        assert receive(sock, len(header(version))) == header(version)
    wait_for(lambda: board.slots[0].get("open") == 0)
    assert read_worker(board, 0).phases[0].counters[f"proxy_{version}"] == 1


def test_what_a_header_of_version_2_has_more_is_skipped(server: Server) -> None:
    port, _board, _control = server(proxy_protocol=True)
    more = b"\x04\x0f\xf0" + b"x" * 4080
    long = bytearray(header(ProxyProtocol.V2) + more)
    long[14:16] = (12 + len(more)).to_bytes(2, "big")
    assert read_header(bytes(long))
    with connect(port) as sock:
        sock.sendall(bytes(long) + b"message")
        assert receive(sock, 7) == b"message"


@pytest.mark.parametrize("begin", [b"hello", b"PROXY TCP4 nonsense\r\n", b"PROXY UNKNOWN" + b"x" * 100, b"PROXY TC"])
def test_a_connection_that_begins_otherwise_is_closed_and_counted(server: Server, begin: bytes) -> None:
    port, board, _control = server(proxy_protocol=True)
    with connect(port) as sock:
        sock.sendall(begin)
        if begin == b"PROXY TC":
            sock.shutdown(socket.SHUT_WR)  # no more comes
        assert is_closed(sock)
    wait_for(lambda: board.slots[0].get("open") == 0)
    served = read_worker(board, 0).phases[0]
    assert served.errors == {("receive", "NO_PROXY_HEADER"): 1}
    assert served.counters["opened"] == served.counters["closed"] == 1
    assert served.counters["sent_bytes"] == 0


def test_a_connection_that_says_nothing_and_ends_is_no_error(server: Server) -> None:
    port, board, _control = server(proxy_protocol=True)
    connect(port).close()
    wait_for(lambda: read_worker(board, 0).phases[0].counters["closed"] == 1)
    assert read_worker(board, 0).phases[0].errors == {}


@pytest.mark.parametrize("begin", [b"", b"PROXY "])
def test_a_header_that_is_not_whole_in_time_ends_its_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    for module in (loadkit.engine.aio.greeting, loadkit.engine.native.rows):
        monkeypatch.setattr(module, "HEADER_NS", 300_000_000)
    port, board, _control = server(proxy_protocol=True)
    began = time.monotonic()
    with connect(port) as late, connect(port) as good:
        good.sendall(header(ProxyProtocol.V1) + b"x")
        with contextlib.suppress(OSError):
            late.sendall(begin)
        assert receive(good, 1) == b"x"
        assert is_closed(late)
        assert time.monotonic() - began >= 0.3
        good.sendall(b"y")
        assert receive(good, 1) == b"y"
    assert read_worker(board, 0).phases[0].errors == {("receive", "PROXY_TIMEOUT"): 1}
