"""An engine without sockets: every connect takes 100 us, every reply 1 ms, at once and always the same.

It stands in for a real one where the processes, the board and the record are what is tested. It runs ahead of the
clock: the shard's whole schedule is noted in one go, then it waits to be let go.
"""

from __future__ import annotations

import itertools
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence

from loadkit.engine.base import Control
from loadkit.measure.board import Slot
from loadkit.measure.names import PROOFS
from loadkit.measure.tally import FOLD_EVERY, Tally
from loadkit.plan.arrivals import arrival_times
from loadkit.plan.pacing import LinearPace, due_times
from loadkit.plan.phases import PhaseKind
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard

__all__ = ["CONNECT_NS", "REPLY_NS", "FakeEngine"]

CONNECT_NS = 100_000
REPLY_NS = 1_000_000


class FakeEngine:
    """Deterministic figures in place of a network."""

    name = "fake"

    def version(self) -> str:
        """Returns the engine's name; there is nothing underneath."""
        return "fake"

    def blast(self, shard: Shard, slot: Slot, control: Control, before: Slot | None = None) -> None:
        """Notes what a perfect peer would have given."""
        load = shard.load
        self._script, self._at = shard.wire.script, 0
        tally = Tally(slot, self._script.size, due_is_sent=not load.is_timed)
        control.ready()
        start = control.wait_start()
        tally.begin_phase(0, start)
        ramp: int | None = start
        opened = 0
        if shard.opens_first:
            opened = self._open(tally, [start])
            slot.set("proved", PROOFS.index("right"))
            ramp = self._wait(control, control.ramp_start)
        if ramp is not None:
            opened += self._open(tally, shard.ramp.due_times(ramp, load.connect_rate_hz))
        begin = self._wait(control, control.hold_start)
        if begin is not None:
            budget = shard.messages
            for index, phase in enumerate(load.phases[1:], 1):
                tally.begin_phase(index, begin)
                slot.set("phase", index)
                most = budget if phase.kind is PhaseKind.HOLD else None
                for due in itertools.islice(self._due(index, begin, shard), most):
                    self._message(tally, due)
                    slot.set("replied_ns", due + REPLY_NS)
                    if len(tally.sent) >= 2 * FOLD_EVERY:
                        tally.fold()
                tally.fold()
                begin += phase.duration_ns if phase.kind is not PhaseKind.DRAIN else 0
        end = begin or slot.get("settled_ns")
        tally.count("closed", end, opened)
        tally.fold_cpu(end)
        slot.set("open", 0)
        slot.set("finished_ns", end)
        control.finished()

    def _open(self, tally: Tally, times: Iterable[int]) -> int:
        """Opens a connection at each of the times, and returns how many."""
        opened = 0
        for due in times:
            tally.count("asked", due)
            tally.connected.extend((due, due + CONNECT_NS))
            tally.first_bytes.extend((due, due + CONNECT_NS, due + CONNECT_NS + REPLY_NS))
            if tally.due_is_sent:
                self._message(tally, due + CONNECT_NS)
            else:  # no schedule wanted it
                tally.openings.append(due + CONNECT_NS)
                tally.extra.extend((due + CONNECT_NS + REPLY_NS, tally.size))
                self._count_bytes(tally, due + CONNECT_NS)
            tally.slot.set("settled_ns", due + CONNECT_NS + REPLY_NS)
            opened += 1
        if opened:
            tally.fold()
        for name in ("open", "peak", "settled", "answered"):
            tally.slot.set(name, tally.slot.get(name) + opened)
        return opened

    def _message(self, tally: Tally, due: int) -> None:
        if not tally.due_is_sent:
            tally.due.append(due)
        tally.sent.extend((due, due, due))
        tally.replied.extend((due, due, due, due + REPLY_NS))
        self._count_bytes(tally, due)

    def _count_bytes(self, tally: Tally, sent: int) -> None:
        """Counts the bytes of a message, and of its reply, if messages have several lengths."""
        if tally.size:
            return
        length = self._script.length(self._at)
        self._at += length
        tally.outgoing.extend((sent, length))
        tally.extra.extend((sent + REPLY_NS, length))

    def _due(self, index: int, begin: int, shard: Shard) -> Iterator[int]:
        """A closed loop at 1 ms per reply is a schedule too: 1,000 messages per second on each connection."""
        load, phase = shard.load, shard.load.phases[index]
        if phase.kind is PhaseKind.DRAIN:
            return iter(())
        each_ns = REPLY_NS + (load.pauses.mean if load.pauses else 0)
        rate = phase.rate_hz or (1e9 / each_ns * phase.connections,) * 2
        pace = LinearPace(begin, phase.duration_ns, *rate)
        if load.is_random:
            return arrival_times(pace, load.arrivals_seed(index), shard.index, shard.of)
        return due_times(pace, shard.index, shard.of)

    def _wait(self, control: Control, said: Callable[[], int | None]) -> int | None:
        """Waits until the parent has said when something begins; None if it ends the run instead."""
        control.hear()
        while not (control.should_stop() or control.should_leave()):
            begin = said()
            if begin is not None:
                return begin
            select.select([control.fileno()], [], [])
            control.hear()
        return None

    def serve(self, plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> None:
        """Serves nobody until told to stop."""
        control.ready()
        control.hear()
        while not (control.should_stop() or control.should_leave()):
            select.select([control.fileno()], [], [])
            control.hear()
