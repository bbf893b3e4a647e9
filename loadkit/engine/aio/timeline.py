"""A worker's time line at the blast end: its phases, what is due when, the drain, and how many messages are left.

Everything that happens at a time (a connect, a message, the end of a phase, the end of a connection's life) is due on
one time line, and one timer wakes the loop for whatever comes first. A round handles what is due by then, at most
ROUND of each kind so that replies are read in between; whatever is late is late in the record too, for times count
from when things were due.

    RAMP -> TRAFFIC -> DRAIN -> (everything closed)
"""

from __future__ import annotations

import abc
import asyncio
import enum
import time
from collections.abc import Callable
from typing import Any

from loadkit.engine.aio.connection import Crowd
from loadkit.engine.aio.deadlines import Deadlines
from loadkit.engine.aio.openings import Openings
from loadkit.engine.aio.outbox import Outbox
from loadkit.engine.aio.pauses import STANDSTILL_NS
from loadkit.engine.aio.probing import Probing
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.timer import Timer
from loadkit.engine.aio.wakeups import Wait
from loadkit.engine.base import STOP_NS, Control
from loadkit.measure.board import PROOFS, Slot
from loadkit.measure.tally import FOLD_NS
from loadkit.plan.pacing import LinearPace, every, share
from loadkit.plan.phases import PhaseKind
from loadkit.plan.split import Shard
from loadkit.units import NS_PER_S

__all__ = ["ROUND", "Stage", "Timeline"]

ROUND = 128
_FAILED = PROOFS.index("failed")

clock = time.monotonic_ns


class Stage(enum.Enum):
    """What the worker does now."""

    RAMP = enum.auto()
    TRAFFIC = enum.auto()
    DRAIN = enum.auto()


class Timeline(Crowd):
    """A shard under way, but for the lives of its connections: those are the swarm's (swarm.py).

    The two are one object, as struct blast is one: both are asked at each message, and a step between them costs more
    than what most of the methods do.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shard: Shard,
        slot: Slot,
        control: Control,
        before: Slot | None,
        probing: Probing | None,
        last_wait: Callable[[], Wait] | None,
    ) -> None:
        super().__init__(shard, slot, last_wait)
        self._probing = probing
        if probing:
            probing.on_event = lambda: self.watch.see(clock())
        self.loop = loop
        self.control = control
        self.outbox = Outbox(self)
        self.openings = Openings(shard, before)
        self._deadlines = Deadlines(min(self.load.timeout_ns, self.load.connect_timeout_ns))
        self.stage = Stage.RAMP
        self.budget = NEVER if shard.messages is None else shard.messages
        self._is_spent = False  # the last of --messages has been taken
        self._phase = 0
        self.next_phase_ns = NEVER
        self._has_measured = False
        self._is_started = False  # we know when the connects of the ramp begin
        self._noted_ns = 0  # in the ramp: the latest time that something was counted under
        self._drain_from = self._drain_until = self._held_until = NEVER
        self._done: asyncio.Future[None] = loop.create_future()
        self._timer = Timer(loop, self._on_time)
        self._tick_handle: asyncio.TimerHandle | None = None

    # -- what the swarm does

    @abc.abstractmethod
    def _do_due(self, now: int) -> None:
        """Does what is due: connects, messages, deadlines, ends of lives."""

    @abc.abstractmethod
    def _first_end(self) -> int:
        """Returns when the first life is over, or the first connect takes too long."""

    @abc.abstractmethod
    def _retire_last(self, count: int, at_ns: int) -> None:
        """Ends so many connections, without successors: they were to be fewer from `at_ns` on."""

    @abc.abstractmethod
    def _fill_all(self) -> None:
        """Starts a closed loop on all connections."""

    @abc.abstractmethod
    def _measure(self, phase: int | None) -> None:
        """That phase is measured, and begins; None: what was measured is over."""

    @abc.abstractmethod
    def _keep_up(self, now: int) -> None:
        """Gives back what is kept of connections that are over, and samples some that are not, ten times a second."""

    @abc.abstractmethod
    def _publish(self, now: int) -> None:
        """Writes everything to the board."""

    @abc.abstractmethod
    def _begin_draining(self) -> None:
        """What was measured is over, and no life ends any more but with the last reply."""

    @abc.abstractmethod
    def _is_waiting(self) -> bool:
        """Whether a message has no reply yet."""

    @abc.abstractmethod
    def _is_stranded(self, now: int) -> bool:
        """Whether there is no connection, and will be none."""

    @abc.abstractmethod
    def _close_all(self, now: int) -> None:
        """Counts what was left unanswered, and closes every connection."""

    @abc.abstractmethod
    async def _end_connects(self) -> None:
        """Cancels the connects that are under way."""

    # -- the run

    async def run(self) -> None:
        """Runs the shard from the common start to the last close."""
        self.control.ready()
        start = self.control.wait_start()
        self.watch.seen_ns = clock()
        self.outbox.looks.note(self.watch.seen_ns)
        self.tally.begin_phase(0, start)
        if self.shard.opens_first:
            self.openings.add(iter((start,)))
        else:
            self._begin_ramp(start)
        self.loop.add_reader(self.control.fileno(), self._heard)
        self.loop.set_exception_handler(self._failed)
        self._tick()
        self._on_time()
        self._heard()
        try:
            await self._done
        finally:
            self.loop.remove_reader(self.control.fileno())
            self._timer.close()
            if self._probing:
                self._probing.close()
            if self._tick_handle:
                self._tick_handle.cancel()
            await self._end_connects()
            # The transports that were closed report connection_lost in the next turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self.slot.get("proved") == _FAILED:
                self.control.came(self.came)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback has failed. Without memory there is no going on; what else it is, a loop says by itself."""
        error = context.get("exception")
        if not isinstance(error, MemoryError):
            loop.default_exception_handler(context)
        elif not self._done.done():
            self._done.set_exception(error)

    def _heard(self) -> None:
        """The parent said something."""
        self.control.hear()
        if self.control.should_leave():
            self._finish()
        elif self.control.should_stop():
            self._begin_drain(STOP_NS, 0)
        else:
            ramp = self.control.ramp_start()
            if ramp is not None and not self._is_started and self.stage is Stage.RAMP:
                self._begin_ramp(ramp)
                self.arm()
            if self.control.should_stop_opening():
                self.openings.stop()
            start = self.control.hold_start() if self.stage is Stage.RAMP else None
            if start is not None:
                self._begin_phases(start)

    def _on_time(self) -> None:
        """Does what is due. One clock reading decides the round."""
        now = clock()
        self.watch.see(now)
        self.outbox.looks.note(now)
        self._enter_phases(now)
        self._do_due(now)
        self.arm()

    def arm(self) -> None:
        """Sets the timer for what is due first."""
        first = min(self.next_phase_ns, self.openings.next_ns, self.outbox.next_ns, self._deadlines.first_ns)
        self.watch.asked_ns = first = min(first, self._first_end())
        self._timer.arm(first if first < NEVER else None)

    def look(self, now: int) -> None:
        """A reply has come after a gap, or after the end of a phase: finds out which, before it is counted.

        Where neither was, the next reply is looked at after as long a time as a standstill has.
        """
        self.watch.see(now)
        self._enter_phases(now)
        self.alarm_ns = min(now + STANDSTILL_NS, self.next_phase_ns)

    def _tick(self) -> None:
        """Ten times a second, which is the beat too: fold, publish, and find out whether it is over."""
        now = clock()
        self.watch.see(now)
        self._enter_phases(now)
        self.slot.pages[self._phase].add("beats")
        self._keep_up(now)
        self._publish(now)
        self._end_if_spent()
        self._end_if_stranded(now)
        if self.stage is Stage.DRAIN and self._held_until <= now:
            self.outbox.drop()
            self._held_until = NEVER
        if self.stage is Stage.DRAIN and (self._is_drained() or now >= self._drain_end()):
            self._finish()
            return
        self._tick_in(0.02 if self.stage is Stage.DRAIN or self._is_spent else FOLD_NS / NS_PER_S)

    def _tick_in(self, pause_s: float) -> None:
        """Has the next tick come then, and none before."""
        if self._tick_handle:
            self._tick_handle.cancel()
        self._tick_handle = self.loop.call_later(pause_s, self._tick)

    # -- phases

    @property
    def _part(self) -> tuple[int, int]:
        return self.shard.index, self.shard.of

    @property
    def _is_churning_exchanges(self) -> bool:
        return self.load.lifetime_ns == 0

    def _begin_ramp(self, at_ns: int) -> None:
        """The connects of the ramp begin at `at_ns`."""
        self._is_started = True
        self.openings.add(self.shard.ramp.due_times(at_ns, self.load.connect_rate_hz))

    def _begin_phases(self, at_ns: int) -> None:
        """The ramp ends at `at_ns`.

        The tally hears of every phase now: a turn of a busy loop takes milliseconds, and what is sent between a phase's
        beginning and our noticing it is the new phase's already.
        """
        self.next_phase_ns = at_ns
        self.alarm_ns = 0
        self.outbox.looks.forget(at_ns)  # if we hear of it late
        for index, phase in enumerate(self.load.phases[1:], 1):
            # If we hear of it too late, what was counted as the ramp's stays there.
            begin = max(at_ns, self._noted_ns + 1)
            self.tally.begin_phase(index, begin)
            if self._probing:
                self._probing.begin_phase(index, begin)
            at_ns += phase.duration_ns
        self.arm()

    def _enter_phases(self, now: int) -> None:
        """Enters the phases that have begun by now."""
        while self.next_phase_ns <= now:
            self.alarm_ns = 0
            self._enter_phase(self._phase + 1, self.next_phase_ns)

    def _enter_phase(self, index: int, at_ns: int) -> None:
        """Phase `index` begins; `at_ns` is when it should have."""
        before = self.load.phases[self._phase]
        phase = self.load.phases[index]
        if phase.kind is not PhaseKind.DRAIN:
            self.outbox.end_phase(at_ns, self.watch.seen_ns)
        self.tally.fold_cpu(at_ns - 1)
        self._phase = index
        self.slot.set("phase", index)
        self._has_measured = self._has_measured or phase.kind is PhaseKind.HOLD
        none_is_ours = phase.kind is PhaseKind.HOLD and self.budget <= 0
        if phase.kind is PhaseKind.DRAIN or self._is_spent or none_is_ours:
            self.next_phase_ns = NEVER
            self._begin_drain(self.load.timeout_ns, self.load.held_ns)
            return
        if self._probing and self.stage is Stage.RAMP:
            self._probing.start(at_ns)
        self.stage = Stage.TRAFFIC
        self._measure(index if phase.kind is PhaseKind.HOLD else None)
        self.next_phase_ns = at_ns + phase.duration_ns
        self._change_connections(before.connections, phase.connections, at_ns, phase.duration_ns)
        if phase.rate_hz is not None:
            most = self.budget if phase.kind is PhaseKind.HOLD else NEVER
            self.outbox.begin(LinearPace(at_ns, phase.duration_ns, *phase.rate_hz), *self._part, most)
        elif not self.sending:
            self.sending = True
            self.free_running = self.shard.messages is None and not self._is_churning_exchanges
            self._fill_all()

    def _change_connections(self, before: int, after: int, at_ns: int, duration_ns: int) -> None:
        """More connections come evenly over the phase; fewer go at its beginning."""
        if after > before:
            # Connection number before + k is worker (before + k) modulo of's: then each has its share of the phase's.
            index, of = self._part
            rate_hz = (after - before) / (duration_ns / NS_PER_S)
            self.openings.add(every(at_ns, rate_hz, after - before, (index - before) % of, of))
        self._retire_last(share(before, *self._part) - share(after, *self._part), at_ns)

    # -- how many messages are left, and the end

    def spend(self, count: int = 1) -> None:
        """Takes messages off what --messages allows; with the last one's reply the drain begins."""
        if self.load.phases[self._phase].kind is not PhaseKind.HOLD:
            return
        self.budget -= count
        if self.budget <= 0:
            self.outbox.spend()
            self._is_spent = True
            self.sending = self.free_running = False
            if self._tick_handle and self.stage is Stage.TRAFFIC:
                self._tick_in(0)

    def _end_if_spent(self) -> None:
        """The last of --messages has its reply, or never will: until then what comes back is of its window."""
        if not self._is_spent or self.stage is not Stage.TRAFFIC or self.outbox.waiting:
            return
        if not self._is_waiting():
            self._begin_drain(self.load.timeout_ns, self.load.held_ns)

    def _end_if_stranded(self, now: int) -> None:
        """Ends what has no connection and will have none; native/blast.c says what that is, and what is left of it."""
        if self.stage is not Stage.TRAFFIC or not self._is_stranded(now):
            return
        if not self.slot.get("stranded_ns"):
            self.slot.set("stranded_ns", now)
        if self.load.is_endless:
            self.outbox.drop()
            self._begin_drain(self.load.timeout_ns, 0)

    def _is_ending(self) -> bool:
        """Whether nothing new is begun any more: but for messages that still wait for a connection to open."""
        return self.stage is Stage.DRAIN or (self._is_spent and not self.outbox.waiting)

    def may_open(self) -> bool:
        """Whether a connection may open yet, where none is open: in churn."""
        return self.load.lifetime_ns is not None and self.stage is not Stage.DRAIN

    def may_go_out(self) -> bool:
        """Whether what is due may go out: always, and a little while into the drain."""
        return self.stage is not Stage.DRAIN or (self._held_until != NEVER and self._held_until > clock())

    def _begin_drain(self, longest_ns: int, held_ns: int) -> None:
        """Nothing new falls due; replies are waited for, for a little while messages that are due may still go out."""
        now = clock()
        if self.stage is not Stage.DRAIN:
            self._drain_from = now
        self._drain_until = min(self._drain_until, now + longest_ns)
        self._held_until = min(self._held_until, now + held_ns)
        self.outbox.cut(now)
        if not held_ns:
            self.outbox.drop()
        if self.stage is Stage.DRAIN:
            return
        self.stage = Stage.DRAIN
        self._begin_draining()
        if self._probing:
            self._probing.stop()
        last = len(self.load.phases) - 1
        if self._phase != last:
            self.tally.fold()
            self.tally.fold_cpu(now)
            for index in range(self._phase + 1, last + 1):
                self.tally.begin_phase(index, now)
            self._phase = last
            self.slot.set("phase", last)
        self.slot.set("finished_ns", now)
        self.control.finished()
        self.sending = self.free_running = False
        self.openings.clear()
        self.next_phase_ns = NEVER
        self._tick_in(0)

    def _drain_end(self) -> int:
        """The drain is longer by what we stood still, for no reply could reach us, and what waits is read first."""
        stood = self.watch.standstills.since(self._drain_from)
        return self._drain_until + stood + (self._deadlines.grain_ns if stood else 0)

    def _is_drained(self) -> bool:
        return self.outbox.is_empty and not self._is_waiting()

    def _finish(self) -> None:
        """Counts what was left unanswered and closes everything."""
        if self._done.done():
            return
        now = clock()
        self.outbox.cut(now)
        self.outbox.drop()
        self._close_all(now)
        if not self.slot.get("finished_ns"):
            self.slot.set("finished_ns", now)
        self._publish(clock())
        self._done.set_result(None)
