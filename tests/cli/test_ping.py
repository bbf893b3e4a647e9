"""`loadkit ping` against servers that echo, and against those that do not."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Serve
from tests.receiving import receive

from .conftest import Loadkit

pytestmark = pytest.mark.slow

Answer = Callable[[socket.socket], None]


@pytest.fixture
def peer() -> Iterator[Callable[[Answer], int]]:
    """Starts a server that does `answer` with its one connection; returns its port."""
    threads, listeners = [], []

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(60)

        def run() -> None:
            connection, _address = listener.accept()
            with connection, contextlib.suppress(ConnectionResetError):  # which is how ping ends
                answer(connection)

        threads.append(threading.Thread(target=run))
        listeners.append(listener)
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()


def _in_pieces(connection: socket.socket) -> None:
    message = receive(connection, 64)
    for at in range(0, 64, 5):
        connection.sendall(message[at : at + 5])
    connection.recv(1)


def _wrong(connection: socket.socket) -> None:
    message = receive(connection, 64)
    connection.sendall(message[:-1] + bytes([message[-1] ^ 1]))
    connection.recv(1)


def _like_redis(connection: socket.socket) -> None:
    receive(connection, 64)
    connection.sendall(b"-ERR unknown command '\x1b[31m'\r\n")
    connection.recv(1)


def _half(connection: socket.socket) -> None:
    connection.sendall(receive(connection, 64)[:32])


def _silent(connection: socket.socket) -> None:
    receive(connection, 64)
    connection.recv(1)  # until the other end gives up


def _reset(connection: socket.socket) -> None:
    receive(connection, 64)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(("size", "shown"), [("64B", "64 B"), ("1", "1 B"), ("64KiB", "64 KiB")])
def test_an_echo_is_one_line_and_0(loadkit: Loadkit, serve: Serve, size: str, shown: str) -> None:
    port = serve().port
    done = loadkit("ping", f"127.0.0.1:{port}", "-s", size)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"127\.0\.0\.1:{port} echoed {shown} in [0-9.]+ (us|ms|s)\n", done.stdout)


def test_an_echo_in_pieces_is_one(loadkit: Loadkit, peer: Callable[[Answer], int]) -> None:
    done = loadkit("ping", f"127.0.0.1:{peer(_in_pieces)}", "--timeout", "30s")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(_wrong, "sent back other bytes than it got", id="wrong"),
        pytest.param(
            _like_redis,
            r"sent back other bytes than it got, `-ERR unknown command '\x1b[31m'`: this looks like Redis",
            id="Redis",
        ),
        pytest.param(_half, "closed the connection after 32 of 64 B", id="half"),
        pytest.param(_silent, "did not echo 64 B within 300 ms", id="silent"),
        pytest.param(_reset, "does not echo: Connection reset by peer", id="reset"),
    ],
)
def test_what_does_not_echo_is_one_line_and_1(
    loadkit: Loadkit, peer: Callable[[Answer], int], answer: Answer, said: str
) -> None:
    place = f"127.0.0.1:{peer(answer)}"
    # Only the silent one is to be given up: what others say may come late on a busy machine.
    done = loadkit("ping", place, "--timeout", "300ms" if answer is _silent else "30s")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"loadkit: {place} {said}")


def test_a_port_that_nobody_listens_on_is_one_line_and_1(loadkit: Loadkit) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{sock.getsockname()[1]}"
        done = loadkit("ping", place)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert f"{place} does not echo: Connection refused" in line
    assert f"loadkit serve {place}" in line


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "127.0.0.1"])
def test_without_host_and_port_it_asks_the_server_of_its_environment(
    loadkit: Loadkit, serve: Serve, everywhere: str
) -> None:
    port = serve().port
    done = loadkit("ping", env={"LOADKIT_SERVE_LISTEN": f"{everywhere}:{port}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"127.0.0.1:{port} echoed 64 B in ")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param(["-s", "0"], ["--size", "minimum of 1"], id="nothing to send"),
        pytest.param(["-s", "1MiB"], ["--size", "maximum of 64 KiB"], id="a load"),
        pytest.param(["--timeout", "2"], ["--timeout", "unit"], id="no unit"),
        pytest.param(["127.0.0.1:0"], ["port 0"], id="port 0"),
    ],
)
def test_wrong_usage_is_one_line_and_2(loadkit: Loadkit, arguments: list[str], names: list[str]) -> None:
    done = loadkit("ping", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert [name for name in names if name not in line] == []


# -- any service


@pytest.fixture
def answering() -> Iterator[Callable[[bytes, bool], int]]:
    """Answers the first bytes of each connection with these, and closes it if asked; returns the port."""
    listeners: list[socket.socket] = []
    kept: list[socket.socket] = []

    def answer(listener: socket.socket, reply: bytes, closes: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                if sock.recv(100):
                    sock.sendall(reply)
                if closes:
                    sock.shutdown(socket.SHUT_WR)
                kept.append(sock)

    def start(reply: bytes, closes: bool = False) -> int:
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=answer, args=(listeners[-1], reply, closes), daemon=True).start()
        return int(listeners[-1].getsockname()[1])

    yield start
    for sock in (*listeners, *kept):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@pytest.mark.parametrize(
    ("reply", "closes", "expect", "status", "said"),
    [
        pytest.param(b"+PONG\r\n", False, "line", 0, "replied `+PONG` in", id="a line"),
        pytest.param(b"\0\2hi", False, "len:u16be", 0, r"replied `\x00\x02hi` in", id="a length"),
        pytest.param(b"Domain: x", True, "close", 0, "replied `Domain: x` in", id="the end of the connection"),
        pytest.param(b"anything", False, "idle:50ms", 0, "replied `anything` in", id="a quiet time"),
        pytest.param(b"HTTP/1.1 400 x\r\n", False, "len:u32be", 1, "this looks like HTTP: TOO_LONG", id="another one"),
        pytest.param(b"half", True, "line", 1, "after `half`, which is no whole reply (--expect line)", id="cut short"),
        pytest.param(b"", True, "line", 1, "closed the connection without a reply (--expect line)", id="no reply"),
        pytest.param(b"half", False, "line", 1, "sent `half`, and no end of it within 3 s", id="no end"),
    ],
)
def test_any_service_is_asked_for_a_reply(
    loadkit: Loadkit,
    answering: Callable[[bytes, bool], int],
    reply: bytes,
    closes: bool,
    expect: str,
    status: int,
    said: str,
) -> None:
    port = answering(reply, closes)
    done = loadkit(
        "ping",
        f"127.0.0.1:{port}",
        "--send",
        r"PING\r\n",
        "--expect",
        expect,
        "--timeout",
        "3s" if "no end" in said else "20s",
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr


def test_what_is_no_framing_or_no_text_is_wrong_usage(loadkit: Loadkit) -> None:
    assert "--expect: expected echo, line" in loadkit("ping", "--expect", "lines").stderr
    assert "--send: column 1: unknown escape" in loadkit("ping", "--send", r"\q").stderr
    assert loadkit("ping", "--send", "{n}").returncode == 2
