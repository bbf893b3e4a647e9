"""`loadkit serve --max-connections N`: N get in over all workers, not one more and not one fewer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ENGINES, Serve, Served, skip_without

pytestmark = pytest.mark.slow

LIMIT, CLIENTS = 12, 32
MODES = ENGINES | {"app": ("--app", "tests.apps:Echo")}


@pytest.fixture(params=MODES)
def served(request: pytest.FixtureRequest, serve: Serve) -> Served:
    skip_without(request.param)
    return serve("-w", "2", "--max-connections", str(LIMIT), *MODES[request.param])


class Clients:
    """Threads that connect at the same moment, each holding its connection until told to let go."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._together = threading.Barrier(CLIENTS)
        self.inside: list[socket.socket] = []

    def rush(self) -> int:
        """All of them connect; returns how many got in beside those inside."""
        found = [sock for sock in self._pool.map(self._enter, range(CLIENTS)) if sock]
        self.inside += found
        return len(found)

    def _enter(self, _number: int) -> socket.socket | None:
        self._together.wait(60)
        return enter(self._port)

    def leave(self, count: int) -> None:
        """So many close, and wait until the server has closed too."""
        leaving, self.inside = self.inside[:count], self.inside[count:]
        for sock in leaving:
            close(sock)

    def forget_dead(self) -> None:
        """Lets go of those whose worker was killed."""
        alive = [sock for sock in self.inside if echoes(sock)]
        for sock in {*self.inside} - {*alive}:
            sock.close()
        self.inside = alive

    def close(self) -> None:
        for sock in self.inside:
            sock.close()
        self._pool.shutdown()


def enter(port: int) -> socket.socket | None:
    """Returns a connection that echoes; None if it was turned away, before connect() returned or after."""
    try:
        sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    except (ConnectionResetError, ConnectionRefusedError):  # refused: no other worker listens yet
        return None
    if echoes(sock):
        return sock
    sock.close()
    return None


def echoes(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"x")
        return sock.recv(1) == b"x"
    except (ConnectionResetError, BrokenPipeError):
        return False


def close(sock: socket.socket) -> None:
    with sock, contextlib.suppress(ConnectionResetError):
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


@pytest.fixture
def clients(served: Served) -> Iterator[Clients]:
    crowd = Clients(served.port)
    yield crowd
    crowd.close()


def test_at_every_rush_as_many_get_in_as_there_is_room_for(served: Served, clients: Clients) -> None:
    assert clients.rush() == LIMIT
    for leaving in range(1, LIMIT + 1):
        clients.leave(leaving)
        assert clients.rush() == leaving


def test_the_room_of_killed_workers_is_given_to_others_and_no_more(served: Served, clients: Clients) -> None:
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            if sock := enter(served.port):
                with contextlib.suppress(OSError):  # its worker was killed
                    close(sock)

    threads = [threading.Thread(target=come_and_go, daemon=True) for _ in range(CLIENTS // 2)]
    for thread in threads:
        thread.start()
    for index in (0, 1, 0):
        kill_worker(served, index)
    assert clients.rush() <= LIMIT  # and they stay, while the others come and go
    kill_worker(served, 1)
    is_over.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    clients.forget_dead()
    deadline = time.monotonic() + 60
    while len(clients.inside) < LIMIT:
        assert time.monotonic() < deadline, f"{LIMIT - len(clients.inside)} of {LIMIT} are lost"
        clients.rush()
    assert clients.rush() == 0
    assert len(clients.inside) == LIMIT


def kill_worker(served: Served, index: int) -> None:
    """Kills a worker, and returns when the server has said so and another one is there."""
    assert served.process.stderr is not None
    os.kill(find_worker(served, index), signal.SIGKILL)
    for line in served.process.stderr:
        if f"worker {index} " in line and "taken its place" in line:
            break
    find_worker(served, index)


def find_worker(served: Served, index: int) -> int:
    """Waits for the worker; those of other tests' servers are in other sessions."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for comm in Path("/proc").glob("[0-9]*/comm"):
            pid = int(comm.parent.name)
            with contextlib.suppress(OSError):
                if os.getsid(pid) == served.process.pid and comm.read_text() == f"loadkit-serve-{index}\n":
                    return pid
        time.sleep(0.02)
    raise AssertionError(f"there is no worker {index}")
