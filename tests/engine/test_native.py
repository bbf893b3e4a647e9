"""What only the compiled engine can get wrong: bytes in arbitrary pieces, memory, arithmetic that it has of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loadkit.engine.base import Engine
from loadkit.engine.compiled import matches_board, matches_options, native_missing
from loadkit.engine.registry import get_engine
from loadkit.measure.board import COUNTERS, HISTOGRAMS, SUM_CARRY, Board, BoardLayout
from loadkit.measure.histogram import counts_length, highest_of, index_of, lowest_of
from loadkit.measure.samples import PhaseSamples, read_worker
from loadkit.measure.tcp_info import read_tcp_info
from loadkit.plan.pacing import LinearPace, Turn, due_times
from loadkit.profile.model import EngineName
from loadkit.units import NS_PER_S
from loadkit.wire.echo import EchoFraming

from .conftest import EDGE_TRIGGERED, LOOPBACK, Blast, Peer, Server, run, serve_options, wait_for

if missing := native_missing():
    pytest.skip(f"the native engine: {missing}", allow_module_level=True)

from loadkit.engine.native import _core

pytestmark = pytest.mark.slow

# AddressSanitizer keeps freed memory in quarantine: there LeakSanitizer's word is the one that counts (sanitize.py).
IS_SANITIZED = "sanitize" in _core.__file__

# Few enough examples for a few seconds. What the fixtures hand out is shared between them on purpose.
pieces_of_anything = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(params=[False, True], ids=["native", "native edge-triggered"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The compiled engine, level-triggered and edge-triggered."""
    request.node.stash[EDGE_TRIGGERED] = request.param
    return get_engine(EngineName.NATIVE)


def reset(sock: socket.socket) -> None:
    """Closes by RST, as socket(7) has it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- the names of the board


def test_the_core_names_the_words_of_the_board_as_it_does() -> None:
    assert matches_board()


@pytest.mark.parametrize("name", ["BLAST_ROWS", "PHASE_ROWS", "ROUTE_ROWS", "SERVE_ROWS"])
@pytest.mark.parametrize(
    "change", [lambda names: names[1:], lambda names: (*names, "colour")], ids=["one less", "one more"]
)
def test_a_core_built_for_other_options_is_not_used(
    name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, name, change(getattr(_core, name)))
    assert not matches_options()
    monkeypatch.delattr(_core, name)
    assert native_missing()


@pytest.mark.parametrize("name", ["STATE", "COUNTERS", "HISTOGRAMS", "STEPS", "PROOFS", "WRONG_BYTES"])
def test_a_core_built_for_another_board_is_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, name, None)
    assert not matches_board()
    assert native_missing()


# -- serve: any bytes, in any pieces


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
# So that many small pieces do not take minutes: from then on everything goes at once.
_MOST_PIECES = 300


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
            end = at + next(chunks) if piece < _MOST_PIECES else len(self.sent)
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


# -- blast: any peer


class Fault(NamedTuple):
    """What the peer does on its first `connections` connections, before the byte number `at` that it echoes."""

    kind: str
    at: int
    connections: int


# What each may be counted as. A reset shows where the engine meets it: in the first message's send, which is a part of
# connecting, in a later one's, or in a read; and once the engine has read of it, the next send says EPIPE. Bytes that
# are too many are the wrong ones when the next message is already on its way.
_COUNTED_AS = {
    "wrong byte": {("receive", "WRONG_BYTES")},
    "too many bytes": {("receive", "EXTRA_BYTES"), ("receive", "WRONG_BYTES")},
    "half-close": {("receive", "CLOSED_BY_PEER")},
    "reset": {("receive", "ECONNRESET"), *itertools.product(["connect", "send"], ["ECONNRESET", "EPIPE"])},
}
_TOO_MANY = b"\xff" * 7  # no byte of the stream: its period is at most 251


@dataclass
class PieceByPiece:
    """A peer's behaviour: it echoes in pieces of these sizes, and has at most one fault."""

    pieces: Sequence[int]
    reads: Sequence[int]
    fault: Fault | None
    done: list[int] = field(default_factory=list)  # the connections that had the fault

    def __call__(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fault = self.fault if self.fault and number < self.fault.connections else None
        pieces = itertools.chain(
            itertools.islice(itertools.cycle(self.pieces), _MOST_PIECES), itertools.repeat(1 << 30)
        )
        reads = itertools.chain(itertools.islice(itertools.cycle(self.reads), _MOST_PIECES), itertools.repeat(1 << 20))
        at = 0
        for most in reads:
            chunk = sock.recv(most)
            if not chunk:
                return
            if fault and at + len(chunk) > fault.at:
                if not self._commit(fault, sock, number, chunk, fault.at - at):
                    return
                fault = None
            else:
                self._send(sock, chunk, pieces)
            at += len(chunk)

    def _send(self, sock: socket.socket, chunk: bytes, pieces: Iterator[int]) -> None:
        rest = memoryview(chunk)
        while rest:
            piece = next(pieces)
            sock.sendall(rest[:piece])
            rest = rest[piece:]

    def _commit(self, fault: Fault, sock: socket.socket, number: int, chunk: bytes, place: int) -> bool:
        """Goes wrong at the byte at `place` of the chunk; returns whether the peer goes on."""
        self.done.append(number)
        if fault.kind == "wrong byte":
            sock.sendall(chunk[:place] + bytes([chunk[place] ^ 0x80]) + chunk[place + 1 :])
            return True
        if fault.kind == "too many bytes":
            sock.sendall(chunk + _TOO_MANY)
            return True
        sock.sendall(chunk[:place])
        if fault.kind == "reset":
            reset(sock)
            return False
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 20):
            pass
        return False


class Load(NamedTuple):
    """What the engine does meanwhile."""

    connections: int
    size: int
    depth: int
    messages: int
    loop: str


_LOADS = st.builds(
    Load,
    connections=st.integers(1, 4),
    # 16 of the largest are more than the kernel takes for a peer that does not read: then a write is partial.
    size=st.one_of(st.integers(1, 300), st.sampled_from([251, 65536, 800_000]), st.integers(1, 130_000)),
    depth=st.integers(1, 16),
    messages=st.integers(1, 40),
    loop=st.sampled_from(["closed", "open", "churn"]),
)
_LOOPS = {"closed": {}, "open": {"rate": "5k"}, "churn": {"lifetime": "0"}}
_FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(sorted(_COUNTED_AS)),
    at=st.one_of(st.just(0), st.integers(0, 300), st.integers(0, 500_000)),
    connections=st.integers(1, 4),
)
_PIECES = st.lists(st.one_of(st.just(1), st.integers(1, 600), st.integers(1, 200_000)), min_size=1, max_size=8)


def test_whatever_a_peer_does_is_counted_under_its_name_and_the_totals_add_up(blast: Blast, peer: Peer) -> None:
    @pieces_of_anything
    @given(load=_LOADS, pieces=_PIECES, reads=_PIECES, fault=st.none() | _FAULTS)
    @example(Load(2, 1, 16, 40, "closed"), [1], [1 << 20], None)
    @example(Load(2, 100_000, 16, 40, "closed"), [150_000], [1 << 20], Fault("wrong byte", 250_000, 1))
    @example(Load(1, 800_000, 16, 40, "closed"), [1, 30_000], [1, 100], None)
    @example(Load(1, 800_000, 16, 40, "closed"), [1, 30_000], [1, 100], Fault("reset", 900_000, 1))
    @example(Load(1, 800_000, 16, 40, "open"), [1, 30_000], [1, 100], Fault("half-close", 900_000, 1))
    @example(Load(1, 64, 1, 10, "closed"), [64], [64], Fault("reset", 64, 1))
    @example(Load(1, 64, 4, 10, "open"), [64], [64], Fault("half-close", 100, 1))
    def talk(load: Load, pieces: list[int], reads: list[int], fault: Fault | None) -> None:
        behaviour = PieceByPiece(pieces, reads, fault)
        blasting = blast(
            peer(behaviour),
            connections=str(load.connections),
            size=str(load.size),
            depth=str(load.depth),
            messages=str(load.messages),
            duration="30s",
            **_LOOPS[load.loop],
        )
        blasting.end_ramp()
        # With nobody left to send to there is no end: a closed loop waits for replies.
        slot = blasting.board.slots[0]
        wait_for(lambda: blasting.is_over() or (slot.get("open") == 0 and load.loop != "churn"))
        blasting.say(stop=True)
        whole = blasting.end()
        assert_told(whole, load, fault, behaviour.done)
        if not fault:
            hold = blasting.phase("hold").counters
            assert hold["replied"] == hold["intended"] == load.messages
            assert whole.counters["received_bytes"] == whole.counters["sent_bytes"]

    talk()


def assert_told(whole: PhaseSamples, load: Load, fault: Fault | None, done: list[int]) -> None:
    """Every fault is an error under its name, and there is no other."""
    told = sum(whole.errors.values())
    assert set(whole.errors) <= (_COUNTED_AS[fault.kind] if fault else set())
    assert whole.counters["failed_connects"] == sum(
        count for (step, _name), count in whole.errors.items() if step == "connect"
    )
    if fault and fault.kind == "too many bytes":
        # Behind the very last reply nobody looks any more.
        assert told <= len(done)
    else:
        assert told == len(done)
    assert whole.counters["failed"] <= told * load.depth


def test_bytes_nobody_asked_for_are_extra_when_no_other_message_is_on_its_way(blast: Blast, peer: Peer) -> None:
    behaviour = PieceByPiece([64], [64], Fault("too many bytes", 0, 2))
    blasting = blast(peer(behaviour), connections="3", messages="20")
    # Before the phases begin a connection sends one message.
    wait_for(lambda: sum(blasting.whole().errors.values()) == 2)
    blasting.end_ramp()
    whole = blasting.end()
    assert whole.errors == {("receive", "EXTRA_BYTES"): 2}
    assert blasting.phase("hold").counters["replied"] == 20


def test_a_half_close_that_comes_with_the_end_of_the_connect_is_not_lost(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    with contextlib.ExitStack() as open_sockets:
        # A full accept queue drops the SYN (listen(2)); the next one comes after a second, when there is room again.
        listener = open_sockets.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        port = listener.getsockname()[1]
        open_sockets.enter_context(socket.create_connection((LOOPBACK, port)))
        edge_triggered = request.node.stash[EDGE_TRIGGERED]
        core = open_sockets.enter_context(Core(port=port, is_edge_triggered=edge_triggered, timeout_ns=2 * NS_PER_S))
        core.blast.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
        core.turn(0)
        assert core.slot.get("open") == 0, "this test needs a connect that is under way"
        listener.settimeout(30)
        listener.accept()[0].close()
        accepted = open_sockets.enter_context(listener.accept()[0])
        # The core has not looked since: that it is open, and that its peer sends no more, are one event.
        accepted.shutdown(socket.SHUT_WR)
        core.turn_until(lambda: bool(core.phase(0).errors))
        assert core.phase(0).errors == {("receive", "CLOSED_BY_PEER"): 1}


# -- the core by hand


class Core:
    """A Blast whose turns the test takes, with a board and a control of its own: two phases and a drain, or others."""

    def __init__(self, **changes: Any) -> None:
        highest_ns = changes.pop("highest_ns", 3600 * NS_PER_S)
        self.sockets = list(socket.socketpair())
        self.board = Board(BoardLayout(1, len(changes.get("phases", ())) or 3, highest_ns))
        self.slot = self.board.slots[0]
        self.blast = _core.Blast(**changed(arguments(self.slot.words, self.sockets[0].fileno()), changes))

    def __enter__(self) -> Core:
        return self

    def __exit__(self, *_: object) -> None:
        self.blast.close()
        for sock in self.sockets:
            sock.close()
        self.board.close()

    def turn(self, linger_ns: int = 1_000_000) -> None:
        """Works on; without a time to linger it does what is due and looks for no events."""
        self.blast.turn(linger_ns)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        """Takes turns until it is so."""

        def is_so() -> bool:
            self.turn()
            return condition()

        wait_for(is_so)

    def open_one(self, listener: socket.socket) -> None:
        """Opens a connection, and answers its first message: nothing is under way then."""
        self.blast.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
        self.turn_until(lambda: self.slot.get("open") == 1)
        self.sockets.append(listener.accept()[0])
        self.sockets[-1].sendall(self.sockets[-1].recv(64))
        self.turn_until(lambda: self.slot.get("answered") == 1)

    def phase(self, index: int) -> PhaseSamples:
        return read_worker(self.board, 0).phases[index]


def arguments(words: Any, control_fd: int) -> dict[str, Any]:
    """Everything a Blast has to be told."""
    second = NS_PER_S
    return {
        "words": words,
        "control_fd": control_fd,
        "options": {
            "size": 1,
            "lifetime_ns": -1,
            "timeout_ns": 10 * second,
            "connect_timeout_ns": 5 * second,
            "held_ns": second // 100,
            "messages": -1,
            "depth": 65536,
            "index": 0,
            "of": 1,
            "opening": 16,
            "awake_ns": 100_000,
            "keepalive_s": 0,
            "is_endless": False,
            "is_open_loop": True,
            "is_checked": True,
            "closes_by_rst": True,
            "connects_in_a_loop": False,
            "is_edge_triggered": False,
            "chooses_ports": False,
            "reads_stamps": False,
            "port": 9,
            "period": EchoFraming(1).period,
            "most_slots": 16,
        },
        "phases": (a_phase(second), a_phase(3600 * second), a_phase(second, is_drain=True)),
        "routes": (a_route(),),
        "probes": (),
    }


def changed(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments with others in place of some; those that are options are changed there."""
    options = {name: value for name, value in changes.items() if name in good["options"]}
    more = {name: value for name, value in changes.items() if name not in good["options"]}
    return {**good, "options": {**good["options"], **options}, **more}


def a_route(**changes: Any) -> dict[str, Any]:
    """A route as the core is told of it."""
    ports = {"port_low": 0, "port_high": 0, "next_port": 0}
    return {"source": None, "destination": LOOPBACK, "connections": 1, **ports, "may_meet_itself": False, **changes}


def a_phase(duration_ns: int, pace: LinearPace | None = None, is_drain: bool = False) -> dict[str, Any]:
    """A phase as the core is told of it, with one connection and a pace."""
    change = (pace.end_hz - pace.start_hz) / (pace.duration_ns / NS_PER_S) if pace else 0.0
    return {
        "duration_ns": duration_ns,
        "connections": 1,
        "is_drain": is_drain,
        "is_paced": bool(pace),
        "is_measured": bool(pace),
        "start_hz": pace.start_hz if pace else 0.0,
        "change_hz_per_s": change,
        "total": pace.total() if pace else 0,
        "fewer": 0,
    }


def paced(pace: LinearPace) -> tuple[Any, ...]:
    second = NS_PER_S
    return (a_phase(second), a_phase(pace.duration_ns, pace), a_phase(second, is_drain=True))


_PACES = st.builds(
    LinearPace,
    begin_ns=st.just(0),
    duration_ns=st.integers(100 * NS_PER_S, 3600 * NS_PER_S),
    start_hz=st.one_of(st.floats(0, 50), st.just(0.0), st.floats(0.01, 50)),
    end_hz=st.one_of(st.floats(0, 50), st.just(0.0)),
).filter(lambda pace: pace.total() > 0)


@settings(deadline=None, max_examples=150)
@given(
    pace=_PACES,
    part=st.floats(0.0, 0.99),
    worker=st.sampled_from([(0, 1), (0, 2), (1, 2), (3, 7)]),
    is_gentle=st.booleans(),
)
def test_by_any_moment_as_many_messages_fell_due_as_the_pace_says(
    pace: LinearPace, part: float, worker: tuple[int, int], is_gentle: bool
) -> None:
    index, of = worker
    with Core(phases=paced(pace), index=index, of=of) as core:
        # A phase that began long ago: what is due of it is due now. Nobody is connected, so it is due and not sent.
        begin = time.monotonic_ns() - int(part * pace.duration_ns)
        core.blast.begin_phases(begin)
        before = time.monotonic_ns()
        core.turn(0)
        if is_gentle:
            core.blast.stop(0)
        else:
            core.blast.leave()
        after = time.monotonic_ns()
        counters = core.phase(1).counters
    ages = np.array(list(due_times(pace, index, of)), np.int64) + begin
    assert np.count_nonzero(ages <= before) <= counters["intended"] <= np.count_nonzero(ages <= after)
    assert counters["unsent"] == counters["intended"]


@settings(deadline=None, max_examples=150)
@given(
    workers=st.integers(1, 9),
    lanes=st.integers(1, 9),
    index=st.integers(0, 8),
    place=st.integers(0, 40),
    count=st.integers(0, 40),
    passed=st.integers(-1, 150),
)
@example(workers=3, lanes=2, index=2, place=4, count=3, passed=9)
@example(workers=3, lanes=2, index=0, place=1, count=4, passed=150)
def test_by_any_moment_as_many_connects_fell_due_as_the_turn_says(
    workers: int, lanes: int, index: int, place: int, count: int, passed: int
) -> None:
    lanes, index = min(lanes, workers), index % workers
    turn = Turn(place, count, index % lanes, lanes, workers)
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))  # refuses each connect: what matters is when it was begun
        with Core(port=bound.getsockname()[1], index=index, of=workers) as core:
            # An event a minute, and half a minute past one of them: nothing falls due while this test runs.
            minute = 60 * NS_PER_S
            begin = time.monotonic_ns() - passed * minute - minute // 2
            core.blast.start(begin, 1 / 60, place, count, lanes)
            core.turn(0)
            counters, connect = core.phase(0).counters, core.phase(0).errors
    due = [at for at in turn.due_times(begin, 1 / 60) if at <= begin + passed * minute + minute // 4]
    assert counters["asked"] == len(due) == connect.get(("connect", "ECONNREFUSED"), 0)


def test_the_start_of_the_ramp_is_heard_once() -> None:
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        with Core(port=bound.getsockname()[1]) as core:
            core.blast.open_first(time.monotonic_ns())
            with pytest.raises(ValueError, match="before all others"):
                core.blast.open_first(time.monotonic_ns())
            for _ in range(3):  # as often as the parent says anything
                core.blast.start(time.monotonic_ns(), 1000.0, 1, 4, 1)
                core.turn(20_000_000)
            assert core.phase(0).counters["asked"] == 1 + 4


@pytest.mark.parametrize("values", [(-1, 1, 1), (0, -1, 1), (0, 1, 0), (0, 1, 2), (2**40, 1, 1)], ids=str)
def test_a_turn_that_no_shard_has_is_refused(values: tuple[int, int, int]) -> None:
    with Core() as core, pytest.raises(ValueError, match="what a shard has"):
        core.blast.start(0, 1000.0, *values)


@pytest.mark.parametrize(
    ("start_hz", "end_hz"),
    [
        pytest.param(20.0, 20.0, id="constant"),
        pytest.param(0.0, 40.0, id="up from nothing"),
        pytest.param(40.0, 0.0, id="down to nothing"),
        pytest.param(20.0, 20.0000001, id="all but constant"),
        pytest.param(0.1, 100.0, id="a thousandfold"),
    ],
)
def test_lateness_counts_from_the_times_of_the_pace(start_hz: float, end_hz: float) -> None:
    pace = LinearPace(0, 100 * NS_PER_S, start_hz, end_hz)
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1]) as core:
            core.open_one(listener)
            begin = time.monotonic_ns() - pace.duration_ns // 2
            before = time.monotonic_ns()
            core.blast.begin_phases(begin)
            due = np.array([begin + time_ns for time_ns in due_times(pace, 0, 1)], np.int64)
            due_before = int(np.count_nonzero(due <= before))
            core.turn_until(lambda: core.phase(1).counters["sent"] >= due_before)
            sent = core.phase(1).counters["sent"]
            after = time.monotonic_ns()
            lateness = core.phase(1).histograms["lateness"]
    due = due[:sent]
    assert lateness.count == sent
    # Each was sent between `before` and `after`, so the lateness of each is known to that span, and so is their sum.
    assert sent * before - due.sum() <= lateness.sum_ns <= sent * after - due.sum()
    assert before - due[0] <= lateness.max_ns <= after - due[0]
    assert 0 <= lateness.min_ns <= after - due[-1]


def two_holds(first: LinearPace, second: LinearPace) -> tuple[Any, ...]:
    """A ramp, two phases on a schedule and a drain."""
    paces = (a_phase(pace.duration_ns, pace) for pace in (first, second))
    return (a_phase(NS_PER_S), *paces, a_phase(NS_PER_S, is_drain=True))


_MILLION = LinearPace(0, NS_PER_S, 1_000_000, 1_000_000)
_FEW = LinearPace(0, 3600 * NS_PER_S, 0.001, 0.001)


@pytest.mark.parametrize(
    ("worker", "share"),
    [pytest.param((0, 1), 1_000_000, id="one worker"), pytest.param((1, 3), 333_333, id="the second of three")],
)
def test_a_million_messages_left_when_a_phase_ends_are_its_unsent_ones_at_once(
    worker: tuple[int, int], share: int
) -> None:
    first, second = two_holds(_MILLION, _FEW)[1:3]
    first = a_phase(_MILLION.duration_ns, _MILLION)
    index, of = worker
    phases = (a_phase(NS_PER_S), first, second, a_phase(NS_PER_S, is_drain=True))
    with Core(phases=phases, index=index, of=of) as core:
        # It ended a second ago: the turn that hears of it is in the next phase already. Nobody is connected.
        core.blast.begin_phases(time.monotonic_ns() - 2 * NS_PER_S)
        core.turn(0)
        ended, begun = core.phase(1).counters, core.phase(2).counters
        assert core.slot.get("phase") == 2
    assert (ended["intended"], ended["unsent"], ended["sent"]) == (share, share, 0)
    # The next one has its own; the first of all of them was due as it began, and is the first worker's.
    first_ones = int(index == 0)
    assert (begun["intended"], begun["unsent"]) == (first_ones, first_ones)


def test_what_finds_no_room_when_a_phase_ends_is_unsent_and_the_next_phase_sends_its_own_on_time() -> None:
    # One message may be under way, and is not answered: of the first phase nothing more goes out.
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with Core(phases=two_holds(_MILLION, _FEW), port=port, depth=1, held_ns=0) as core:
            core.open_one(listener)
            begin = time.monotonic_ns()
            core.blast.begin_phases(begin)
            core.turn_until(lambda: core.slot.get("phase") == 2)
            heard_ns = time.monotonic_ns() - begin - NS_PER_S
            ended = core.phase(1).counters
            assert (ended["intended"], ended["sent"], ended["unsent"]) == (1_000_000, 1, 999_999)
            assert ended["waited"] == 999_999
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(2).counters["sent"] == 1)
            next_phase = core.phase(2)
    assert next_phase.counters["intended"] == 1
    assert next_phase.histograms["lateness"].max_ns <= heard_ns


def test_a_message_that_waited_for_room_is_late_until_the_schedule_was_looked_at_and_held_from_then_on() -> None:
    ms = 1_000_000
    pace = LinearPace(0, 20 * ms, 100, 100)  # at 0 and 10 ms
    phases = (a_phase(NS_PER_S), a_phase(3600 * NS_PER_S, pace), a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], depth=1) as core:
            core.open_one(listener)
            begin = time.monotonic_ns() + 5 * ms  # after the last look
            due = [begin, begin + 10 * ms]
            time.sleep(0.03)
            before = time.monotonic_ns()
            core.blast.begin_phases(begin)
            core.turn(0)  # the first goes out, the second waits
            after = time.monotonic_ns()
            assert [core.phase(1).counters[name] for name in ("sent", "waited")] == [1, 1]
            time.sleep(0.02)
            answered = time.monotonic_ns()
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(1).counters["sent"] == 2)
            sent = time.monotonic_ns()
            lateness, held = (core.phase(1).histograms[name] for name in ("lateness", "held"))
    assert 2 * before - sum(due) <= lateness.sum_ns <= 2 * after - sum(due)
    assert (held.count, held.min_ns) == (2, 0)
    assert answered - after <= held.sum_ns <= sent - before
    assert lateness.max_ns + held.max_ns <= sent - due[0]


_ONE = LinearPace(0, 3600 * NS_PER_S, 0.0001, 0.0001)  # a message, as the phase begins
_BEAT_NS = 100_000_000  # native/standstills.h: the core asks for a turn within it


def send_one(core: Core, listener: socket.socket) -> None:
    """Opens a connection and sends the phase's only message on it."""
    core.open_one(listener)
    core.blast.begin_phases(time.monotonic_ns())
    core.turn_until(lambda: core.phase(1).counters["sent"] == 1)


def test_a_standstill_is_noted_and_what_was_under_way_in_it_is_disturbed() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(_ONE), port=listener.getsockname()[1]) as core:
            send_one(core, listener)
            noted, before = core.phase(1).histograms["standstill"], time.monotonic_ns()
            time.sleep(0.2)
            slept = time.monotonic_ns()
            core.turn(0)
            after = time.monotonic_ns()
            found = core.phase(1).histograms["standstill"]
            # A busy machine may have made it more than one.
            assert found.count > noted.count
            assert slept - before - _BEAT_NS <= found.sum_ns - noted.sum_ns <= after - before
            longest, at = core.slot.get("standstill_ns"), core.slot.get("standstill_at_ns")
            assert longest == found.max_ns
            assert at + longest <= after
            assert at >= before or longest == noted.max_ns
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(1).counters["replied"] == 1)
            phase = core.phase(1)
    assert (phase.counters["stood"], phase.histograms["disturbed"].count) == (1, 1)
    assert phase.histograms["disturbed"].sum_ns == phase.histograms["latency"].sum_ns


def test_a_message_that_goes_out_after_a_standstill_is_not_disturbed_by_it() -> None:
    times = 20
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1], is_open_loop=False, depth=1) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns())
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            peer = core.sockets[-1]
            time.sleep(0.2)
            phases = []
            for number in range(1, times + 1):
                peer.sendall(peer.recv(64))
                core.turn_until(lambda number=number: core.phase(1).counters["replied"] == number)
                phases.append(core.phase(1))
    first, last = phases[0], phases[-1]
    assert first.counters["stood"] == 1
    # One message at a time is under way: each standstill that a busy machine adds disturbs one more.
    more = last.histograms["standstill"].count - first.histograms["standstill"].count
    assert last.counters["stood"] <= 1 + more


def test_the_time_that_we_stood_still_does_not_count_against_a_reply() -> None:
    timeout_ns = 3 * _BEAT_NS
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(_ONE), port=listener.getsockname()[1], timeout_ns=timeout_ns) as core:
            send_one(core, listener)
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            time.sleep(2 * timeout_ns / NS_PER_S)  # the reply is there, and is not read
            core.turn_until(lambda: core.phase(1).counters["replied"] == 1 or bool(core.phase(1).errors))
            phase = core.phase(1)
    assert (phase.counters["replied"], phase.errors) == (1, {})
    assert phase.histograms["latency"].max_ns > timeout_ns


def test_what_is_under_way_when_a_phase_is_heard_of_too_late_belongs_to_the_phase() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1], is_open_loop=False, depth=1) as core:
            began = time.monotonic_ns()
            core.blast.start(began, 1000.0, 0, 1, 1)
            core.turn_until(lambda: core.slot.get("open") == 1)
            assert core.phase(0).counters["sent"] == core.phase(0).counters["intended"] == 1
            core.blast.begin_phases(began)
            ramp, phase = core.phase(0), core.phase(1)
            peer, _ = listener.accept()
            with peer:
                peer.sendall(peer.recv(64))
                core.turn_until(lambda: core.phase(1).counters["replied"] == 1)
    for name in ("sent", "intended", "sent_bytes", "window_sent"):
        assert (ramp.counters[name], phase.counters[name]) == (0, 1)


def test_closing_comes_after_the_turn_that_began_the_drain() -> None:
    # Or the CPU time that it takes would be counted in the phase before.
    phases = (a_phase(NS_PER_S), a_phase(1_000_000), a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], is_open_loop=True) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - 2_000_000)
            assert core.blast.turn(NS_PER_S) & (_core.PHASE | _core.DONE) == _core.PHASE
            assert (core.slot.get("phase"), core.slot.get("open")) == (2, 1)
            assert core.blast.turn(NS_PER_S) & (_core.PHASE | _core.DONE) == _core.DONE
            assert core.slot.get("open") == 0


def test_no_phase_is_busy_or_waits_for_longer_than_it_lasts() -> None:
    # A microsecond each: every call of epoll_wait, and every turn between two, goes over several of them.
    short_ns, count = 1_000, 50
    phases = (a_phase(NS_PER_S), *[a_phase(short_ns)] * count, a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], is_open_loop=True) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() + 1_000_000)
            core.turn_until(lambda: core.slot.get("phase") == count + 1)
            spent = [core.phase(number).counters for number in range(1, count + 1)]
    times = [counters["busy_ns"] + counters["blocked_ns"] for counters in spent]
    assert max(times) <= short_ns
    assert sum(times) > short_ns


def test_what_the_kernel_knows_of_a_connection_is_noted_as_python_reads_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, Core(port=listener.getsockname()[1]) as core:
        core.blast.look_at_tcp(4)
        assert core.phase(0).counters["tcp_samples"] == 0  # none is open
        core.open_one(listener)
        found = read_tcp_info(fd_of(core.sockets[-1].getpeername()))
        core.blast.look_at_tcp(4)
        page, known = core.phase(0), [found and getattr(found, name) for name in ("rtt_us", "rttvar_us", "min_rtt_us")]
        assert [page.histograms[name].sum_ns for name in ("rtt", "rttvar", "min_rtt")] == [
            1000 * (us or 0) for us in known
        ]
        assert found
        assert page.histograms["delivery_rate"].sum_ns == found.delivery_rate_bytes != 0
        assert (page.counters["tcp_samples"], page.counters["tcp_cwnd"]) == (1, found.cwnd)
        with pytest.raises(ValueError, match="fewer"):
            core.blast.look_at_tcp(-1)


def hold_up(fd: int, peer: socket.socket) -> None:
    """Sends until the peer's window is closed, waits, and lets the peer read it all."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += os.write(fd, bytes(65536))
    time.sleep(0.02)
    while sent:
        sent -= len(peer.recv(1 << 20))


def test_what_a_connection_counts_is_noted_as_what_came_in_the_measured_time() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener, Core(port=listener.getsockname()[1]) as core:
        core.open_one(listener)
        peer = core.sockets[-1]
        fd = fd_of(peer.getpeername())

        def known() -> int:
            found = read_tcp_info(fd)
            return (found and found.busy_us) or 0

        def noted() -> int:
            return core.phase(1).counters["tcp_busy_us"]

        hold_up(fd, peer)
        before = known()
        core.blast.watch_tcp(1)
        hold_up(fd, peer)
        core.blast.watch_tcp(-1)
        first = noted()
        assert 0 < first <= known() - before
        hold_up(fd, peer)  # in a phase that is not measured
        assert noted() == first
        before = known()
        core.blast.watch_tcp(1)
        hold_up(fd, peer)
        least = known() - before
        core.blast.leave()  # it closes
        assert noted() >= first + least > first
        assert core.phase(1).counters["tcp_watched"] == 1
        with pytest.raises(ValueError, match="no such phase"):
            core.blast.watch_tcp(3)


def fd_of(address: tuple[str, int]) -> int:
    """Finds the socket of this process that has this address."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=os.dup(int(path.name)))
            with sock:
                if sock.family == socket.AF_INET and sock.getsockname() == address:
                    return int(path.name)
    raise AssertionError(f"no socket has {address}")


def test_idle_connections_wake_nobody_up_each_for_itself(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # Each had a message, whose time-out would end within the hold.
    blasting = blast(port, connections="300", connect_rate="3k", rate="5", timeout="1s", duration="1500ms")
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["wakeups"] < 60


@pytest.mark.parametrize("source", [None, LOOPBACK])
def test_where_the_kernel_has_no_port_ranges_the_engine_goes_through_the_ports(source: str | None) -> None:
    low = 20_000  # where nobody is given a port, so that no TIME_WAIT of another test is in the way
    with socket.create_server((LOOPBACK, 0)) as listener, socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((LOOPBACK, low + 1))
        taken.connect(listener.getsockname())  # this tuple is in use
        routes = (a_route(source=source, connections=4, port_low=low, port_high=low + 4, next_port=low + 3),)
        with Core(port=listener.getsockname()[1], routes=routes, chooses_ports=True) as core:
            core.blast.start(time.monotonic_ns(), 1000.0, 0, 4, 1)
            core.turn_until(lambda: core.slot.get("open") == 4)
            accepted = [listener.accept() for _ in range(5)]
        for peer, _ in accepted:
            peer.close()
    assert {port for _, (_, port) in accepted} == {low, low + 1, low + 2, low + 3, low + 4}


# -- histograms


_HIGHEST_NS = 3600 * NS_PER_S


@settings(deadline=None, max_examples=150)
@given(age_ns=st.one_of(st.integers(0, 100_000), st.integers(0, 2**32), st.integers(0, _HIGHEST_NS - 10**9)))
@example(2047)
@example(2048)
@example(2**41 + 2**20)
def test_a_value_is_in_the_counter_that_the_formula_says(age_ns: int) -> None:
    # One message, due that long ago.
    pace = LinearPace(0, 4 * _HIGHEST_NS, 0.5 / (4 * _HIGHEST_NS / NS_PER_S), 0.5 / (4 * _HIGHEST_NS / NS_PER_S))
    assert pace.total() == 1
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1], highest_ns=_HIGHEST_NS) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - age_ns)
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            head, counts = core.slot.pages[1].histograms["lateness"]
            value = int(head[1])
            assert value >= age_ns
            assert head.tolist() == [1, value, value, value, 0, 0]
            [counter] = np.nonzero(counts)[0]
            assert counts[counter] == 1
            assert counter == index_of(np.array([value], np.int64))[0]
            assert lowest_of(int(counter)) <= value <= highest_of(int(counter))


def test_a_value_beyond_the_histogram_is_counted_as_dropped() -> None:
    highest_ns = 10 * NS_PER_S
    pace = LinearPace(0, 3600 * NS_PER_S, 0.0001, 0.0001)
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1], highest_ns=highest_ns) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - 1800 * NS_PER_S)
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            phase = core.phase(1)
    assert phase.dropped["lateness"] == 1
    assert phase.histograms["lateness"].count == 0


def test_a_sum_of_times_is_carried_before_it_overflows() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1]) as core:
            head, _counts = core.slot.pages[0].histograms["connect"]
            head[:] = [1, SUM_CARRY - 1, 0, 0, 0, 3]  # a count, and nearly another carry
            core.open_one(listener)
            took_ns, carries = int(head[3]), int(head[5])
            found = core.phase(0).histograms["connect"]
    assert took_ns > 0
    assert carries == 4
    assert found.sum_ns == 4 * SUM_CARRY - 1 + took_ns > 2**63


def test_every_histogram_of_a_run_adds_up_counter_by_counter(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="20", messages="5000", lifetime="5ms", depth="4")
    blasting.end_ramp()
    blasting.end()
    for page in blasting.board.slots[0].pages:
        counters = dict(zip(COUNTERS, page.counters.tolist(), strict=True))
        for name in HISTOGRAMS:
            head, counts = page.histograms[name]
            assert len(counts) == counts_length(blasting.plan.highest_ns)
            count, total, low, high, dropped, carry = head.tolist()
            used = np.nonzero(counts)[0].tolist()
            assert counts.sum() == count
            assert dropped == carry == 0
            if not used:
                assert (count, total, low, high) == (0, 0, 0, 0)
                continue
            assert [used[0], used[-1]] == index_of(np.array([low, high], np.int64)).tolist()
            assert sum(lowest_of(index) * int(counts[index]) for index in used) <= total
            assert sum(highest_of(index) * int(counts[index]) for index in used) >= total
        assert page.histograms["latency"][0][0] == page.histograms["service"][0][0] == counters["replied"]
        assert page.histograms["batch"][0][0] == counters["wakeups"]
        assert page.histograms["batch"][0][1] == counters["events"]
        assert page.histograms["connect"][0][0] == counters["opened"]


# -- what it gives back


def open_files() -> int:
    """How many there are, without those of the boards, which the fixtures keep."""
    targets = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            targets.append(str(file.readlink()))
    return sum("loadkit-board" not in target for target in targets)


def memory_bytes(key: str) -> int:
    """One of the sizes in /proc/self/status: RssAnon leaves out the boards, VmSize has reservations too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{key}:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("close", "exchanges"),
    # A FIN leaves its port in TIME_WAIT for a minute (tcp(7)), and there are 28,000.
    [pytest.param("rst", 100_000, id="rst"), pytest.param("fin", 3_000, id="fin")],
)
def test_churned_connections_leave_neither_files_nor_memory_behind(
    server: Server, blast: Blast, close: str, exchanges: int
) -> None:
    port, board, _control = server()

    def churn(messages: int) -> None:
        blasting = blast(port, connections="50", messages=str(messages), lifetime="0", close=close, timeout="60s")
        blasting.end_ramp()
        whole = blasting.end()
        assert blasting.phase("hold").counters["replied"] == messages
        assert whole.errors == {}
        assert whole.counters["opened"] >= messages
        wait_for(lambda: board.slots[0].get("open") == 0)

    churn(1_000)  # what is had once and kept: threads' arenas, buffers, imports
    gc.collect()
    files, resident = open_files(), memory_bytes("RssAnon")
    churn(exchanges)
    gc.collect()
    # What others left may have gone, and the last ones may still be on their way out.
    wait_for(lambda: open_files() <= files)
    if not IS_SANITIZED:
        # The least that malloc hands out is 32 bytes: 100,000 of those are 3.1 MiB. A worker of 50 connections and its
        # thread come and go within less.
        assert memory_bytes("RssAnon") - resident < 2 * 2**20


BAD_BLASTS: dict[str, dict[str, Any]] = {
    "no phase": {"phases": ()},
    "a phase that is none": {"phases": (1, 2, 3)},
    "a phase that is a tuple": {"phases": ((1, 2),) * 3},
    "a phase too short": {"phases": ({"duration_ns": 1},) * 3},
    "a phase with a name unheard of": {"phases": ({**a_phase(1), "colour": 1},) * 3},
    "a pace that is no number": {"phases": ({**a_phase(1), "start_hz": float("nan")},) * 3},
    "phases as a list": {"phases": []},
    "no drain at the end": {"phases": (a_phase(1),) * 3},
    "no route": {"routes": ()},
    "no destination": {"routes": (a_route(destination=None),)},
    "options that are none": {"options": None},
    "a route that is none": {"routes": ("127.0.0.1",)},
    "a route too short": {"routes": ({"destination": LOOPBACK},)},
    "no connection on any route": {"routes": (a_route(connections=0),)},
    "fewer connections than none": {"routes": (a_route(connections=-1), a_route(connections=2))},
    "a name for an address": {"routes": (a_route(destination="localhost"),)},
    "a name for a source": {"routes": (a_route(source="localhost"),)},
    "an address behind a good one": {"routes": (a_route(), a_route(destination=""))},
    "ports beyond the last": {"routes": (a_route(port_low=1000, port_high=65536, next_port=1000),)},
    "a next port outside of the range": {"routes": (a_route(port_low=1000, port_high=2000, next_port=2001),)},
    "nothing may be opening": {"opening": 0},
    "awake for minutes": {"awake_ns": 60 * NS_PER_S},
    "no such time of idleness": {"keepalive_s": -1},
    "no bytes": {"size": 0},
    "fewer than no bytes": {"size": -1},
    "no period": {"period": 0},
    "a period longer than a byte": {"period": 257},
    "no depth": {"depth": 0},
    "a depth that wraps to none": {"depth": 2**32},
    "a depth that wraps to one": {"depth": 2**32 + 1},
    "nothing at most": {"most_slots": 0},
    "a port beyond the last": {"port": 65536},
    "a port before the first": {"port": -1},
    "a part of nothing": {"of": 0},
    "a part past the last": {"index": 1},
    "too large a number": {"timeout_ns": 2**63},
    "text for a number": {"size": "1"},
    "a control that is no file": {"control_fd": -1},
    "words that are none": {"words": None},
    "words that are text": {"words": "words"},
    "words that cannot be written": {"words": bytes(8 * 10_000)},
    "no words": {"words": np.zeros(0, np.int64)},
    "words of no layout": {"words": np.zeros(10_001, np.int64)},
    "an argument unheard of": {"colour": "red"},
}
BAD_SERVES: dict[str, dict[str, Any]] = {
    "a listener that is no file": {"listeners": (-1,)},
    "a listener that is text": {"listeners": ("0",)},
    "a listener beyond all files": {"listeners": (2**40,)},
    "listeners as a list": {"listeners": []},
    "a control that is no file": {"control_fd": -1},
    "text for a number": {"idle_timeout_ns": "1"},
    "words that cannot be written": {"words": bytes(8 * 10_000)},
    "words of no layout": {"words": np.zeros(10_001, np.int64)},
    "an argument unheard of": {"colour": "red"},
}
REFUSALS = (TypeError, ValueError, OverflowError, OSError)
TIMES = 50


def give_up(kind: Any, good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Asserts that it refuses, and keeps nothing of what it had taken by then."""
    values = changed(good, bad)
    words = values["words"]

    def refuse() -> None:
        with pytest.raises(REFUSALS):
            kind(**values)

    refuse()
    gc.collect()
    files, address_space, references = open_files(), memory_bytes("VmSize"), sys.getrefcount(words)
    for _ in range(TIMES):
        refuse()
    gc.collect()
    assert open_files() == files
    assert words is None or sys.getrefcount(words) == references
    if not IS_SANITIZED:
        # One buffer of it is 256 KiB; so many of those are 12 MiB.
        assert memory_bytes("VmSize") - address_space < 4 * 2**20


@pytest.mark.parametrize("bad", BAD_BLASTS.values(), ids=BAD_BLASTS)
def test_a_blast_that_makes_no_sense_is_refused_and_leaves_nothing_behind(bad: dict[str, Any]) -> None:
    words = np.zeros(BoardLayout(1, 3, NS_PER_S).slot_words, np.int64)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        give_up(_core.Blast, arguments(words, mine.fileno()), bad)


@pytest.mark.parametrize("bad", BAD_SERVES.values(), ids=BAD_SERVES)
def test_a_serve_that_makes_no_sense_is_refused_and_leaves_nothing_behind(bad: dict[str, Any]) -> None:
    words = np.zeros(BoardLayout(1, 1, 0).slot_words, np.int64)
    mine, theirs = socket.socketpair()
    with mine, theirs, socket.create_server((LOOPBACK, 0)) as listener:
        give_up(_core.Serve, serve_arguments(words, mine.fileno(), listener.fileno()), bad)


def serve_arguments(words: Any, control_fd: int, listener: int) -> dict[str, Any]:
    """Everything a Serve has to be told."""
    return {
        "words": words,
        "control_fd": control_fd,
        "options": serve_options(),
        "listeners": (listener,),
        "tokens": None,
        "machine": bytes(16),
    }


@pytest.fixture(params=["Blast", "Serve"])
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of the two, whatever its turns do."""
    mine, theirs = socket.socketpair()
    with mine, theirs, socket.create_server((LOOPBACK, 0)) as listener:
        if request.param == "Blast":
            layout = BoardLayout(1, 3, NS_PER_S)
            opened: Any = _core.Blast(**arguments(np.zeros(layout.slot_words, np.int64), mine.fileno()))
        else:
            words = np.zeros(BoardLayout(1, 1, 0).slot_words, np.int64)
            opened = _core.Serve(**serve_arguments(words, mine.fileno(), listener.fileno()))
        yield opened
        opened.close()


METHODS = {
    "fileno": (),
    "open_first": (0,),
    "came": (),
    "start": (0, 1.0, 0, 1, 1),
    "stop_opening": (),
    "look_at_tcp": (4,),
    "begin_phases": (0,),
    "stop": (0,),
    "leave": (),
    "turn": (0,),
}


def methods_of(core: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields those that the core has, with values that they take."""
    for name, values in METHODS.items():
        if hasattr(core, name):
            yield name, (0, 0) if name == "stop" and isinstance(core, _core.Serve) else values


def test_a_loop_s_empty_buffer_is_given_back_and_reads_as_before() -> None:
    loop = uvloop.new_event_loop()
    length = type(loop).__basicsize__
    before = ctypes.string_at(id(loop), length)
    # Its buffer for reads, 256,000 bytes, less what stands beside it in its first and its last page.
    assert 256_000 - 2 * mmap.PAGESIZE <= _core.give_back_zeros(loop) <= length
    assert ctypes.string_at(id(loop), length) == before
    # And is written to again.
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        theirs.sendall(b"x" * 1000)
        assert loop.run_until_complete(loop.sock_recv(mine, 2000)) == b"x" * 1000
    loop.close()
    assert _core.give_back_zeros(object()) == 0


def test_a_closed_core_refuses_every_method_but_close(core: Any) -> None:
    core.close()
    core.close()
    for name, values in methods_of(core):
        with pytest.raises(ValueError, match="closed"):
            getattr(core, name)(*values)


def test_a_method_refuses_what_is_no_time(core: Any) -> None:
    for name, values in methods_of(core):
        for bad in ((), ("soon",), (2**63,), (*values, 1)) if values else ():
            with pytest.raises((TypeError, OverflowError)):
                getattr(core, name)(*bad)


def test_a_core_gives_everything_back_when_closed_or_forgotten() -> None:
    words = np.zeros(BoardLayout(1, 3, NS_PER_S).slot_words, np.int64)
    mine, theirs = socket.socketpair()

    def begin(is_closed: bool) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            core = _core.Blast(**changed(arguments(words, mine.fileno()), {"port": listener.getsockname()[1]}))
            core.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
            wait_for(lambda: core.turn(0) >= 0 and words[2] == 1)  # one is open
            words[2] = 0
            if is_closed:
                core.close()

    with mine, theirs:
        begin(is_closed=True)
        gc.collect()
        files, address_space, references = open_files(), memory_bytes("VmSize"), sys.getrefcount(words)
        for number in range(TIMES):
            begin(is_closed=number % 2 == 0)
        gc.collect()
        assert open_files() == files
        assert sys.getrefcount(words) == references
        if not IS_SANITIZED:
            assert memory_bytes("VmSize") - address_space < 4 * 2**20
