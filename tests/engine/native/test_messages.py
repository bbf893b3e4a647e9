"""The compiled blast end against any peer: what came, and under which name it is counted (messages.c)."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.engine.base import Engine
from loadkit.measure.samples import PhaseSamples
from loadkit.plan.pacing import LinearPace
from loadkit.units import NS_PER_S
from tests.engine.conftest import EDGE_TRIGGERED, Blast, Peer, wait_for
from tests.full_listener import full_listener

from .by_hand import (
    MOST_PIECES,
    Core,
    paced,
    pieces_of_anything,
    reset,
    serve_turns,
)

pytestmark = pytest.mark.slow


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
        pieces = itertools.chain(itertools.islice(itertools.cycle(self.pieces), MOST_PIECES), itertools.repeat(1 << 30))
        reads = itertools.chain(itertools.islice(itertools.cycle(self.reads), MOST_PIECES), itertools.repeat(1 << 20))
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
        listener = open_sockets.enter_context(full_listener())  # the SYN is sent again after a second
        port = listener.getsockname()[1]
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


_MOST_WAITING = 2**16  # of blast.h


def _cpu_ns_of_an_end(rate_hz: float, waited: int) -> float:
    """How much CPU time turns take per connection that ends and is replaced, once so many messages have waited."""
    pace = LinearPace(0, 3600 * NS_PER_S, rate_hz, rate_hz)
    options = {"phases": paced(pace), "depth": 1, "lifetime_ns": 1}
    with serve_turns() as server, Core(port=server.port, **options) as core:

        def turn() -> int:
            began = time.thread_time_ns()
            core.turn(1)
            took = time.thread_time_ns() - began
            server.turn()
            return took

        def closed() -> int:
            return sum(core.phase(index).counters["closed"] for index in range(3))

        core.blast.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
        while not core.slot.get("settled"):
            turn()
        core.blast.begin_phases(time.monotonic_ns())
        while core.phase(1).counters["waited"] < waited:
            turn()
        before, spent = closed(), 0
        while closed() < before + 20:
            spent += turn()
        return spent / (closed() - before)


def test_the_end_of_a_connection_is_no_more_work_where_many_messages_wait() -> None:
    """To move them all took 1 ms, and the turns of an end without them 150 us."""
    # The least of some: what other processes leave of the caches only adds to it.
    alone = min(_cpu_ns_of_an_end(0.001, 0) for _ in range(3))
    crowded = min(_cpu_ns_of_an_end(1e7, _MOST_WAITING) for _ in range(3))
    assert crowded < 3 * alone, f"{crowded:,.0f} ns with messages that wait, {alone:,.0f} ns without"
