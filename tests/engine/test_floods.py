"""However peers flood a worker, it comes back to its wait, and to what its parent says, after a bounded amount of work.

What is bounded is the CPU time of a turn: how long it takes besides is up to the other processes of its core, and to
the host of a virtual machine. The floods come from the test's own thread, the worker has another one, and its turns are
taken one at a time. LOADKIT_FLOOD=whole (`make floods`) takes as many connections as there may be descriptors instead
of a few thousand, and prints what was measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import uvloop

from loadkit.engine.aio.loop import AsyncioEngine, UvloopEngine
from loadkit.engine.aio.wakeups import Counting, CountingSelector
from loadkit.host import raise_nofile, read_host
from loadkit.measure.board import Board, BoardLayout, Slot
from loadkit.measure.samples import read_worker
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ServeProfile
from loadkit.run.worker import listen_on
from loadkit.units import NS_PER_S, Count, Duration
from tests.receiving import receive
from tests.truth.witness import Witness, timely

from .conftest import ENGINES, LOOPBACK, TIMEOUT_S, HandControl, wait_for
from .native.by_hand import Turns, _core, serve_turns, unacknowledged

pytestmark = pytest.mark.slow

# A turn takes this much CPU time at most: 10 ms were measured of the compiled engine, up to 48 ms of asyncio, where the
# same turns took up to 630 ms under load (2-core VM, kernel 6.18). libuv reads a stream that is filled as fast as it is
# read up to 32 times in a turn (uv__read in its src/unix/stream.c): 125 ms for fifty that send whatever they can.
BOUND_NS, BOUND_OF_UVLOOP_NS = 100_000_000, 500_000_000
# How long they send: a turn that goes on for as long as there is something to read is above either bound.
_ECHOES_S = 1.5
_WHOLE = os.environ.get("LOADKIT_FLOOD") == "whole"
IDLE_NS = 10_000_000_000 if _WHOLE else 2_000_000_000  # about as long as it takes to open all of them
_WAIT_MS = 5  # a turn may be taken for a timer, which no file descriptor tells of


def connections() -> int:
    """How many a flood has: both ends of each are in this process."""
    if not _WHOLE:
        return 1500
    return min(100_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2)


class Measured:
    """The turns of a worker, taken in its thread: the most CPU time and the most time that one took."""

    def __init__(self) -> None:
        self._may_turn, self._stands = threading.Event(), threading.Event()
        self._may_turn.set()
        self.cpu_ns = self.wall_ns = 0

    def take(self, turn: Callable[[], object]) -> None:
        """Has a turn, unless the worker is to stand still."""
        if not self._may_turn.is_set():
            self._stands.set()
            assert self._may_turn.wait(TIMEOUT_S)
        wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        turn()
        cpu_ns, wall_ns = time.thread_time_ns() - cpu_ns, time.monotonic_ns() - wall_ns
        self.cpu_ns, self.wall_ns = max(self.cpu_ns, cpu_ns), max(self.wall_ns, wall_ns)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside is there at once when the worker goes on."""
        self._stands.clear()
        self._may_turn.clear()
        assert self._stands.wait(TIMEOUT_S)
        try:
            yield
        finally:
            self._may_turn.set()


def turn_by_turn(loop: Any, measured: Measured, fd: int, future: Any) -> Any:
    """Runs a loop as run_until_complete does, one turn at a time; `fd` is its epoll instance."""
    task = loop.create_task(future)
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    while not task.done():
        ready.poll(_WAIT_MS)
        loop.call_soon(loop.stop)
        measured.take(loop.run_forever)
    return task.result()


class TurnedAsyncio(AsyncioEngine):
    def __init__(self, measured: Measured) -> None:
        self.measured = measured

    def _open(self, slot: Slot) -> tuple[asyncio.AbstractEventLoop, Counting | None]:
        selector, measured = CountingSelector(slot), self.measured

        class Loop(asyncio.SelectorEventLoop):
            def run_until_complete(self, future: Any) -> Any:
                return turn_by_turn(self, measured, selector.fileno(), future)

        return Loop(selector), selector


class TurnedUvloop(UvloopEngine):
    def __init__(self, measured: Measured) -> None:
        self.measured = measured

    def new_loop(self) -> asyncio.AbstractEventLoop:
        measured = self.measured

        class Loop(uvloop.Loop):
            def run_until_complete(self, future: Any) -> Any:
                return turn_by_turn(self, measured, self._get_backend_id(), future)

        return Loop()


@dataclass
class Flooded:
    """A worker in a thread, and what its board says of it."""

    board: Board
    port: int
    measured: Measured

    def counter(self, name: str) -> int:
        return read_worker(self.board, 0).phases[0].counters[name]

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=TIMEOUT_S)

    def open(self, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
        before = self.counter("opened")
        socks = [stack.enter_context(self.connect()) for _ in range(count)]
        wait_for(lambda: self.counter("opened") == before + count)
        return socks

    def is_empty(self) -> bool:
        return self.counter("closed") == self.counter("opened")


@contextlib.contextmanager
def native(edge_triggered: bool, idle_ns: int) -> Iterator[Flooded]:
    measured, is_over = Measured(), threading.Event()
    options = {"idle_timeout_ns": idle_ns, "most_slots": 2**20, "is_edge_triggered": edge_triggered}
    with serve_turns(**options) as worker:

        def run() -> None:
            while not is_over.is_set():
                measured.take(lambda: worker.core.turn(1))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield Flooded(worker.board, worker.port, measured)
        is_over.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@contextlib.contextmanager
def aio(name: EngineName, idle_ns: int) -> Iterator[Flooded]:
    measured, control = Measured(), HandControl()
    engine = TurnedUvloop(measured) if name is EngineName.UVLOOP else TurnedAsyncio(measured)
    profile = ServeProfile(workers=Count(1), idle_timeout=Duration(idle_ns))
    plan = build_serve_plan(read_host(), (LOOPBACK,), 0, profile, engine=ChosenEngine(name))
    listeners = listen_on(plan.addresses, 0, plan.backlog)
    board = Board(BoardLayout(1, 1, 10 * NS_PER_S))
    thread = threading.Thread(target=engine.serve, args=(plan, listeners, board.slots[0], control), daemon=True)
    thread.start()
    assert control.is_ready.wait(TIMEOUT_S)
    yield Flooded(board, listeners[0].getsockname()[1], measured)
    control.say(leave=True)
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    control.close()
    board.close()


Flood = Callable[[Flooded, contextlib.ExitStack], None]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_nofile()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, soft)


def echoes(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Fifty that send whatever they can, and read it."""
    socks = flooded.open(stack, 50)
    until = time.monotonic() + _ECHOES_S
    for sock in socks:
        sock.setblocking(False)
    while time.monotonic() < until:
        for sock in socks:
            with contextlib.suppress(BlockingIOError):
                sock.send(bytes(2**18))
            with contextlib.suppress(BlockingIOError):
                sock.recv(2**18)


def hellos(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Probes that send all that they may at once, and more; and hellos of more probes than there may be."""
    hello = _core.HELLO_TEXT.encode() + struct.pack("<I", 64) + bytes(4)
    socks = flooded.open(stack, 600)
    with flooded.measured.stopped():
        for sock in socks:
            sock.sendall(hello)
    answers = [receive(sock, 47) for sock in socks]
    welcomed = [
        sock for sock, answer in zip(socks, answers, strict=True) if answer.startswith(_core.WELCOME_TEXT.encode())
    ]
    assert len(welcomed) == _core.MOST_ANSWERS
    with flooded.measured.stopped():
        for sock in welcomed:
            sock.sendall(bytes(64 * 200))
    for sock in welcomed:
        with contextlib.suppress(ConnectionError):
            while sock.recv(65536):
                pass


def accepts(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that all wait to be accepted, as far as the backlog goes, again and again."""
    flooded.open(stack, connections() // 3)
    with flooded.measured.stopped():
        socks = [stack.enter_context(flooded.connect()) for _ in range(min(4000, connections() // 3))]
    assert socks[-1].send(b"here") == 4
    assert receive(socks[-1], 4) == b"here"


def resets(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that are all reset at once."""
    socks = flooded.open(stack, connections())
    with flooded.measured.stopped():
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


def idle_closes(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that have all been idle for too long at once."""
    socks = flooded.open(stack, connections())
    with flooded.measured.stopped():
        time.sleep(IDLE_NS / 10**9)
    assert socks[-1].recv(1) == b""


# Each with the idle time-out of its worker.
FLOODS: dict[Flood, int] = {
    **dict.fromkeys((echoes, accepts, resets), 600 * NS_PER_S),
    **dict.fromkeys((hellos, idle_closes), IDLE_NS),  # probes that flooded are read from no more, and end with it
}


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("engine", ENGINES)
def test_no_flood_makes_a_turn_long(engine: str) -> None:
    turns = {}
    bound_ns = BOUND_OF_UVLOOP_NS if ENGINES[engine][0] is EngineName.UVLOOP else BOUND_NS

    def assert_short(flood: Flood, idle_ns: int) -> None:
        measured = _longest_turn(engine, flood, idle_ns)
        turns[flood.__name__] = f"{measured.cpu_ns / 1e6:.1f} ms of CPU time, {measured.wall_ns / 1e6:.1f} ms"
        assert measured.cpu_ns
        # CPU time has what interrupts did on it, and what the host took.
        timely(measured.cpu_ns <= bound_ns, turns)

    with contextlib.closing(Witness()) as witness:
        for flood, idle_ns in FLOODS.items():
            witness.attempt(partial(assert_short, flood, idle_ns))
    print(turns)


def _longest_turn(engine: str, flood: Flood, idle_ns: int) -> Measured:
    name, edge_triggered = ENGINES[engine]
    is_native = name is EngineName.NATIVE
    with native(edge_triggered, idle_ns) if is_native else aio(name, idle_ns) as flooded:
        with contextlib.ExitStack() as stack:
            flood(flooded, stack)
        wait_for(flooded.is_empty)
        return flooded.measured


# -- the compiled worker, turn by turn: what one does is counted, whatever the machine is busy with


@pytest.fixture(params=[False, True], ids=["native", "native edge-triggered"])
def turns(request: pytest.FixtureRequest) -> Iterator[Callable[..., Turns]]:
    """Makes a worker that has a turn when it is told to."""
    with contextlib.ExitStack() as stack:

        def make(idle_ns: int = -1) -> Turns:
            options = {"idle_timeout_ns": idle_ns, "most_slots": 2000, "is_edge_triggered": request.param}
            return stack.enter_context(serve_turns(**options))

        yield make


def test_a_turn_accepts_so_many_and_closes_so_many(turns: Callable[..., Turns]) -> None:
    worker = turns(idle_ns=1)
    with contextlib.ExitStack() as stack:
        for _ in range(700):
            stack.enter_context(socket.create_connection((LOOPBACK, worker.port)))
        grown = [worker.turn()]
        while sum(turn["closed"] for turn in grown) < 700:
            grown.append(worker.turn())
        # It accepts and closes in the same turns.
        assert max(turn["opened"] for turn in grown) == 256
        assert 0 < max(turn["closed"] for turn in grown) <= 256


def test_a_turn_answers_one_message_of_a_probe(turns: Callable[..., Turns]) -> None:
    worker = turns()
    with socket.create_connection((LOOPBACK, worker.port), timeout=30) as sock:
        sock.sendall(_core.HELLO_TEXT.encode() + struct.pack("<I", 64) + bytes(4))
        worker.turn_until("probes", 1)
        assert len(receive(sock, 47)) == 47
        sock.sendall(bytes(64 * 50))
        for _ in range(50):
            assert worker.turn_until("probe_events", 1)[-1] == 1
            assert len(sock.recv(4096)) == 64 + _core.TRAILER_BYTES


def test_the_peers_of_a_turn_share_what_it_moves(turns: Callable[..., Turns]) -> None:
    worker = turns()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((LOOPBACK, worker.port))) for _ in range(600)]
        worker.turn_until("opened", 600)
        sent = 0
        for sock in socks:
            sock.setblocking(False)
            sent += sock.send(bytes(2**16))
        # More than a turn may move is there before the first one.
        wait_for(lambda: sent - sum(map(unacknowledged, socks)) > 1.2 * 2**24)
        moved = worker.turn_until("received_bytes", sent)
        assert 2**22 < max(moved) <= 2**24
