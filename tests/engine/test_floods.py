"""However peers flood a worker, it comes back to its wait, and to what its parent says, within a bound.

The floods come from this process at a worker process of its own. LOADKIT_FLOOD=whole (`make floods`) takes as many
connections as there may be descriptors, up to 100,000, instead of a few thousand.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadkit.host import raise_nofile, read_host
from loadkit.measure.samples import read_worker
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.serve import ServeProfile
from loadkit.run.forker import Forker
from loadkit.run.serve import ServeGroup
from loadkit.run.signals import Interrupts
from loadkit.units import Count, Duration

from .conftest import ENGINES, LOOPBACK, wait_for
from .native.by_hand import Turns, _core, serve_turns

pytestmark = pytest.mark.slow

# A turn of any engine under any flood takes this long at most, beside what other processes have of its core.
BOUND_NS = 150_000_000
_WHOLE = os.environ.get("LOADKIT_FLOOD") == "whole"
IDLE_NS = 10_000_000_000 if _WHOLE else 2_000_000_000  # longer than it takes to open all of them


def connections() -> int:
    """How many a flood has."""
    if not _WHOLE:
        return 1500
    return min(100_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


@dataclass
class Flooded:
    """A worker process, and what its board says of it."""

    group: ServeGroup

    @property
    def pid(self) -> int:
        return self.group.workers[0].pid

    def counter(self, name: str) -> int:
        return read_worker(self.group.board, 0).phases[0].counters[name]

    def longest_turn_ns(self) -> int:
        return int(self.group.board.slots[0].pages[0].histograms["busy"][0][3])  # the head: count, sum, min, max

    def waited_for_a_core_ns(self) -> int:
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1])

    def has_nothing_to_do(self) -> bool:
        """Whether it has not run for a while."""
        ran = Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]
        time.sleep(0.02)
        return Path(f"/proc/{self.pid}/schedstat").read_text().split()[0] == ran

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside is there at once when it goes on. It is stopped in a wait, which makes no turn long."""
        wait_for(self.has_nothing_to_do)
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.group.port), timeout=30)

    def open(self, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
        before = self.counter("opened")
        socks = [stack.enter_context(self.connect()) for _ in range(count)]
        wait_for(lambda: self.counter("opened") == before + count)
        return socks

    def is_empty(self) -> bool:
        return self.counter("closed") == self.counter("opened")


@pytest.fixture
def flooded(request: pytest.FixtureRequest) -> Iterator[Flooded]:
    name, edge_triggered = ENGINES[request.param]
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_nofile()
    plan = build_serve_plan(
        read_host(),
        (LOOPBACK,),
        0,
        ServeProfile(workers=Count(1), edge_triggered=edge_triggered, idle_timeout=Duration(IDLE_NS)),
        engine=ChosenEngine(name),
    )
    with Interrupts() as interrupts, Forker(interrupts) as forker:
        group = ServeGroup(plan, forker)
        try:
            yield Flooded(group)
        finally:
            group.leave()
            group.close(5.0)
            resource.setrlimit(resource.RLIMIT_NOFILE, soft)


def echoes(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Fifty that send whatever they can, and read it."""
    socks = flooded.open(stack, 50)
    until = time.monotonic() + 0.5
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
    with flooded.stopped():
        for sock in socks:
            sock.sendall(hello)
    answers = [sock.recv(47, socket.MSG_WAITALL) for sock in socks]
    welcomed = [
        sock for sock, answer in zip(socks, answers, strict=True) if answer.startswith(_core.WELCOME_TEXT.encode())
    ]
    assert len(welcomed) == _core.MOST_ANSWERS
    with flooded.stopped():
        for sock in welcomed:
            sock.sendall(bytes(64 * 200))
    for sock in welcomed:
        with contextlib.suppress(ConnectionError):
            while sock.recv(65536):
                pass


def accepts(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that all wait to be accepted, as far as the backlog goes, again and again."""
    flooded.open(stack, connections() // 3)
    with flooded.stopped():
        socks = [stack.enter_context(flooded.connect()) for _ in range(min(4000, connections() // 3))]
    assert socks[-1].send(b"here") == 4
    assert socks[-1].recv(4, socket.MSG_WAITALL) == b"here"


def resets(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that are all reset at once."""
    socks = flooded.open(stack, connections())
    with flooded.stopped():
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


def idle_closes(flooded: Flooded, stack: contextlib.ExitStack) -> None:
    """Connections that have all been idle for too long at once."""
    socks = flooded.open(stack, connections())
    with flooded.stopped():
        time.sleep(IDLE_NS / 10**9)
    assert socks[-1].recv(1) == b""


FLOODS: tuple[Callable[[Flooded, contextlib.ExitStack], None], ...] = (echoes, hellos, accepts, resets, idle_closes)


@pytest.mark.parametrize("flooded", ENGINES, indirect=True)
def test_no_flood_keeps_a_worker_from_its_next_turn(flooded: Flooded) -> None:
    turns = {}
    longest_ns = 0
    for flood in FLOODS:
        waited_ns = flooded.waited_for_a_core_ns()
        with contextlib.ExitStack() as stack:
            flood(flooded, stack)
        wait_for(flooded.is_empty)
        waited_ns = flooded.waited_for_a_core_ns() - waited_ns
        before_ns, longest_ns = longest_ns, flooded.longest_turn_ns()
        turns[flood.__name__] = f"{longest_ns / 1e6:.1f} ms, {waited_ns / 1e6:.1f} ms without a core"
        assert longest_ns == before_ns or longest_ns <= BOUND_NS + waited_ns, turns
    print(turns)


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
        assert len(sock.recv(47, socket.MSG_WAITALL)) == 47
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
        assert sent > 1.2 * 2**24
        moved = worker.turn_until("received_bytes", sent)
        assert 2**22 < max(moved) <= 2**24
