"""The ramp opens one connection first. A wrong target is known by it, and gets no other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.full_listener import full_listener
from tests.receiving import receive
from tests.under_way import wait_for

from .conftest import Run, assert_adds_up, errors_of

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]
Behaviour = Callable[[socket.socket], None]

SIZE = 64


@dataclass
class Target:
    """A listener whose connections each have a thread; it takes `most` of them, then listens no more."""

    behave: Behaviour
    most: int | None = None
    accepted: int = 0
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=64))

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Target:
        self._port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def _listen(self) -> None:
        threads = []
        with contextlib.suppress(OSError):  # the listener's end
            while self.most is None or self.accepted < self.most:
                sock, _address = self._socket.accept()
                self.accepted += 1
                if self.accepted == self.most:
                    self._socket.close()
                threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join(60)

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self.behave(sock)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends accept(), which close() does not
        self._socket.close()
        self._thread.join(60)
        assert not self._thread.is_alive()


def echo(sock: socket.socket) -> None:
    while chunk := sock.recv(1 << 16):
        sock.sendall(chunk)


def read_on(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


def like_redis(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(b"-ERR unknown command '\x00\x01\x02'\r\n")
    read_on(sock)


def like_http(sock: socket.socket) -> None:
    sock.recv(1 << 16)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + b"<html>" * 100)
    sock.shutdown(socket.SHUT_WR)
    read_on(sock)


def like_smtp(sock: socket.socket) -> None:
    sock.sendall(b"220 mail.example.org ESMTP Postfix\r\n")
    read_on(sock)


def closes(sock: socket.socket) -> None:
    receive(sock, SIZE)


def resets(sock: socket.socket) -> None:
    receive(sock, SIZE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def line_of(run: Run) -> str:
    """Returns the one line of a run that ended before its ramp, without a record."""
    status = run.end()
    assert (status, run.out, run.record) == (1, "", {})
    [line] = run.err.splitlines()
    return line


@pytest.mark.parametrize("lifetime", [(), ("--lifetime", "0")], ids=["", "churn"])
@pytest.mark.parametrize(
    ("behave", "said"),
    [
        pytest.param(
            like_redis,
            r"replied `-ERR unknown command '\x00\x01\x02'` to an echo message: this looks like Redis; --expect "
            r"is for other protocols",
            id="Redis",
        ),
        pytest.param(
            like_http, "replied `HTTP/1.1 400 Bad Request…` to an echo message: this looks like HTTP; ", id="HTTP"
        ),
        pytest.param(
            like_smtp,
            "replied `220 mail.example.org ESMTP Postfix` to an echo message: this looks like SMTP; ",
            id="SMTP",
        ),
        pytest.param(closes, "closed the first connection without a reply; ", id="closes"),
        pytest.param(resets, "reset the first connection without a reply; ", id="resets"),
        pytest.param(read_on, "did not reply to the first message within 300 ms; ", id="silent"),
    ],
)
def test_a_wrong_target_is_told_in_a_line_and_gets_one_connection(
    blast: Blast, engine: tuple[str, ...], behave: Behaviour, said: str, lifetime: tuple[str, ...]
) -> None:
    with Target(behave) as target:
        # Only the silent one is to be given up: what others say may come late on a busy machine.
        patience = ("--timeout", "300ms" if behave is read_on else "60s")
        run = blast(target.place, "-c", "50", "-w", "2", "-d", "60s", *patience, *lifetime, *engine)
        line = line_of(run)
        time.sleep(0.2)  # what was under way would have come
        assert target.accepted == 1
    assert line.startswith(f"loadkit: {target.place} {said}")


def test_a_port_that_is_dead_is_told_in_a_line(blast: Blast, engine: tuple[str, ...]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        line = line_of(blast(place, "-c", "50", "-d", "60s", *engine))
    assert line.startswith(f"loadkit: {place}: the first connection failed: Connection refused (ECONNREFUSED); ")


def test_a_target_that_answers_no_connect_is_told_in_a_line(blast: Blast, engine: tuple[str, ...]) -> None:
    with full_listener() as full:
        place = f"127.0.0.1:{full.getsockname()[1]}"
        line = line_of(blast(place, "-c", "50", "-d", "60s", "--connect-timeout", "300ms", *engine))
    assert line.startswith(f"loadkit: {place}: no answer to the first connect within 300 ms; ")


def test_a_target_that_takes_one_connection_gets_one(blast: Blast, engine: tuple[str, ...]) -> None:
    with Target(echo, most=1) as target:
        run = blast(target.place, "-c", "1", "-R", "50", "-n", "50", *engine)
        run.end()
        assert target.accepted == 1
    assert_ran_on(run.record, opened=1, messages=50)
    assert errors_of(run.record) == {}


def test_the_first_connection_stays_in_the_load(blast: Blast, engine: tuple[str, ...]) -> None:
    with Target(echo, most=1) as target:
        run = blast(target.place, "-c", "4", "-w", "1", "-R", "50", "-n", "50", *engine)
        run.end()
        assert target.accepted == 1
    assert_ran_on(run.record, opened=1, messages=50)
    assert errors_of(run.record) == {"connect ECONNREFUSED": 3}


def assert_ran_on(record: dict[str, Any], opened: int, messages: int) -> None:
    assert_adds_up(record)
    assert record["connections"]["opened"] == record["connections"]["peak"] == opened
    for name in ("connect", "first_byte"):
        assert record["histograms"][name]["count"] == opened
    assert record["messages"]["intended"] == record["messages"]["replied"] == messages


@pytest.mark.parametrize(("connections", "workers"), [(2, 1), (3, 3), (11, 2)])
def test_the_connect_rate_is_that_of_the_connections_after_the_first(
    blast: Blast, engine: tuple[str, ...], connections: int, workers: int
) -> None:
    with Target(echo) as target:
        load = ("-c", connections, "-w", workers, "--connect-rate", "4", "-R", "20", "-d", "3s", "--warmup", "0s")
        run = blast(target.place, *load, *engine)
        run.end()
        assert target.accepted == connections
    connecting, ramp = run.record["connecting"], run.record["phases"][0]["histograms"]
    assert connecting["opened"] == connections - 1
    # The last is due (connections - 1) / 4 s after the ramp's start, and its time ends with its connect, or its reply;
    # 200 ms for a worker that loses its core before it has noted it. A fencepost would be 250 ms.
    late_ns = connecting["duration_ns"] - (connections - 1) * 250_000_000
    assert 0 <= late_ns <= ramp["connect"]["max"] + ramp["first_byte"]["max"] + 200_000_000
    assert ramp["connect"]["count"] == connections


def test_ctrl_c_does_not_wait_for_the_first_reply(blast: Blast, engine: tuple[str, ...]) -> None:
    with Target(read_on) as target:
        run = blast(target.place, "-c", "10", "-w", "2", "-d", "60s", "--timeout", "10m", *engine)
        wait_for_the_first(target)
        os.kill(run.process.pid, signal.SIGINT)
        assert run.end() == 130  # the reply would come after ten minutes
        assert target.accepted == 1
    assert run.record["partial"] is True
    assert run.record["window"] is None
    assert run.record["connections"]["opened"] == 1
    assert [worker["died"] for worker in run.record["workers"]] == [None, None]


def test_a_worker_that_dies_while_the_first_reply_is_waited_for_is_named(blast: Blast) -> None:
    with Target(read_on) as target:
        run = blast(target.place, "-c", "10", "-w", "2", "-d", "60s", "--timeout", "10m")
        wait_for_the_first(target)
        [victim] = run.workers("loadkit-blast-0")
        os.kill(victim, signal.SIGKILL)
        assert run.end() == 4
    assert [worker["died"] for worker in run.record["workers"]] == ["killed by SIGKILL", None]


def wait_for_the_first(target: Target) -> None:
    wait_for(lambda: target.accepted > 0, "no connection comes")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread of a target outlives its test."""
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
