"""The compiled serve end: any bytes, in any pieces (serve.c)."""

from __future__ import annotations

import contextlib
import itertools
import random
import select
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.measure.samples import read_worker
from tests.engine.conftest import LOOPBACK, Server, wait_for

from .by_hand import (
    MOST_PIECES,
    Turns,
    lose_edges,
    pieces_of_anything,
    reset,
    serve_turns,
    unacknowledged,
)

pytestmark = pytest.mark.slow


class Session(NamedTuple):
    """What one client does with the bytes it has to send: how many at a time, and how many it reads in between."""

    total: int
    chunks: tuple[int, ...]
    reads: tuple[int, ...]
    receive_buffer: int | None
    ending: str


_SIZES = st.one_of(st.integers(1, 40), st.integers(1, 5_000), st.integers(60_000, 300_000))

_SESSIONS = st.builds(
    Session,
    # The kernel takes some 10 MB for a client that does not read; then the serve end has to keep what it owes.
    total=st.one_of(st.integers(0, 300), st.integers(0, 2_000_000), st.just(15_000_000)),
    chunks=st.lists(_SIZES, min_size=1, max_size=8).map(tuple),
    reads=st.lists(st.one_of(st.just(0), _SIZES), min_size=1, max_size=8).map(tuple),
    receive_buffer=st.sampled_from([None, 20_000, 100_000]),
    ending=st.sampled_from(["half-close", "close", "reset"]),
)


class EchoClient:
    """Goes through a session step by step, so that several can take turns."""

    def __init__(self, port: int, session: Session, seed: int) -> None:
        self.session = session
        self.sent = random.Random(seed).randbytes(session.total)
        self.got = bytearray()
        self.sock = socket.socket()
        if session.receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, session.receive_buffer)
        self.sock.connect((LOOPBACK, port))
        self.sock.setblocking(False)

    def steps(self) -> Iterator[None]:
        chunks, reads = itertools.cycle(self.session.chunks), itertools.cycle(self.session.reads)
        at = 0
        for piece in itertools.count():
            if at >= len(self.sent):
                break
            end = at + next(chunks) if piece < MOST_PIECES else len(self.sent)
            yield from self._send(self.sent[at:end])
            at = end
            self._read(next(reads))
            yield
        if self.session.ending == "reset":
            reset(self.sock)
            return
        if self.session.ending == "half-close":
            self.sock.shutdown(socket.SHUT_WR)
        while len(self.got) < len(self.sent):
            self._wait_and_read()
            yield
        if self.session.ending == "half-close":
            assert self._wait_and_read() == b"", "more came than was sent"
        assert self.got == self.sent
        self.sock.close()

    def _send(self, chunk: bytes) -> Iterator[None]:
        while chunk:
            try:
                chunk = chunk[self.sock.send(chunk) :]
            except BlockingIOError:
                # The serve end does not read from a peer that does not: one of the two has to give.
                readable, _, _ = select.select([self.sock], [self.sock], [], 60)
                if readable:
                    self._read(65536)
                yield

    def _read(self, most: int) -> bytes | None:
        if not most:
            return None
        try:
            chunk = self.sock.recv(most)
        except BlockingIOError:
            return None
        self.got += chunk
        return chunk

    def _wait_and_read(self) -> bytes | None:
        assert select.select([self.sock], [], [], 60)[0], "the echo does not come"
        chunk = self._read(1 << 20)
        assert chunk or len(self.got) == len(self.sent), "it was closed before all was echoed"
        return chunk


def test_serve_echoes_any_bytes_in_any_pieces_exactly(server: Server) -> None:
    port, board, _control = server()
    received = 0

    @pieces_of_anything
    @given(sessions=st.lists(_SESSIONS, min_size=1, max_size=3), seed=st.integers(0, 2**32))
    @example(sessions=[Session(15_000_000, (1_000_000,), (0,), 20_000, "half-close")], seed=1)
    def talk(sessions: list[Session], seed: int) -> None:
        nonlocal received
        clients = [EchoClient(port, session, seed + number) for number, session in enumerate(sessions)]
        turns = [client.steps() for client in clients]
        try:
            # Round and round, until none of them has a step left.
            while turns:
                turns = [turn for turn in turns if next(turn, turn) is not turn]
        finally:
            for client in clients:
                client.sock.close()
        received += sum(session.total for session in sessions if session.ending != "reset")

    talk()
    wait_for(lambda: board.slots[0].get("open") == 0)
    served = read_worker(board, 0).phases[0]
    assert served.counters["opened"] == served.counters["closed"]
    assert served.counters["received_bytes"] >= received
    assert served.errors == {}


@pytest.mark.parametrize("idle_ns", [-1, 50_000_000], ids=["kept", "closed when idle"])
def test_what_an_edge_that_was_lost_would_have_reported_is_found_all_the_same(idle_ns: int) -> None:
    with serve_turns(idle_timeout_ns=idle_ns, is_edge_triggered=True, most_slots=8) as worker:
        with contextlib.ExitStack() as stack:
            sender, closer, resetter = (
                stack.enter_context(socket.create_connection((LOOPBACK, worker.port), timeout=60)) for _ in range(3)
            )
            worker.turn_until("opened", 3)
            sender.sendall(b"message")
            closer.close()
            reset(resetter)
            lose_edges(worker.core.fileno(), select.EPOLLIN, connections=3)
            while not (now := worker.counters())["sent_bytes"] or now["closed"] < 2:
                worker.turn()
            assert sender.recv(64) == b"message"
            assert idle_ns >= 0 or now["closed"] == 2


def test_an_echo_that_was_owed_goes_on_though_the_edge_was_lost() -> None:
    with serve_turns(is_edge_triggered=True) as worker, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((LOOPBACK, worker.port))
        client.setblocking(False)
        worker.turn_until("opened", 1)
        sent, got = overfill(worker, client), 0

        def read() -> None:
            nonlocal got
            with contextlib.suppress(BlockingIOError):
                while chunk := client.recv(1 << 20):
                    got += len(chunk)

        # It comes once a third of the send buffer is free (sock_writeable), however late what makes it so is.
        lose_edges(worker.core.fileno(), select.EPOLLOUT, meanwhile=read)
        while got < sent:
            worker.turn()
            read()


def overfill(worker: Turns, client: socket.socket) -> int:
    """Sends until the worker owes some of it, and all of it has come: no other edge is to come. Returns how much."""
    sent = 0
    while (on_its_way := unacknowledged(client)) or not is_owing(worker):
        if not on_its_way:
            sent += client.send(bytes(2**16))
        worker.turn()
    return sent


def is_owing(worker: Turns) -> bool:
    counters = worker.counters()
    return counters["received_bytes"] > counters["sent_bytes"]
