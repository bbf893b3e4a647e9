"""A worker's time line at the blast end: its phases, when the drain begins, and how many messages are left.

Everything that happens at a time (a connect, a message, the end of a phase, the end of a connection's life) is due on
one time line, and one timer wakes the loop for whatever comes first. A round handles what is due by then, at most
ROUND of each kind so that replies are read in between; whatever is late is late in the record too, for times count
from when things were due.

    RAMP -> TRAFFIC -> DRAIN -> (everything closed)
"""

from __future__ import annotations

import abc
import enum
import time

from loadkit.engine.aio.connection import Connection
from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.drain import Drain
from loadkit.engine.aio.openings import Openings
from loadkit.engine.aio.outbox import Outbox
from loadkit.engine.aio.schedule import NEVER, RandomSchedule, Schedule, Scheduled
from loadkit.engine.aio.thinking import Thinking
from loadkit.engine.aio.timeouts import Timeouts
from loadkit.plan.pacing import LinearPace, every, share
from loadkit.plan.phases import PhaseKind
from loadkit.units import NS_PER_S

__all__ = ["ROUND", "Stage", "Timeline"]

ROUND = 128

clock = time.monotonic_ns


class Stage(enum.Enum):
    """What the worker does now."""

    RAMP = enum.auto()
    TRAFFIC = enum.auto()
    DRAIN = enum.auto()


class Timeline(Crowd[Connection]):
    """A shard under way, but for its connections (slots.py, opening.py, swarm.py), and for the loop around it.

    They are one object, as struct blast is one: they are asked at each message, and a step between them costs more
    than what most of the methods do.
    """

    def __init__(self, context: BlastContext) -> None:
        super().__init__(context)
        shard = context.shard
        self._probing = context.probing
        self.control = context.control
        self.outbox = Outbox(self)
        self.thinking = Thinking(self)
        self.openings = Openings(shard, context.before)
        self.timeouts = Timeouts(self)
        self.drain = Drain()
        self.stage = Stage.RAMP
        self.is_over = False  # everything is closed
        self.budget = NEVER if shard.messages is None else shard.messages
        self._is_counting = False  # --messages counts those of this phase
        self._is_spent = False  # the last of --messages has been taken
        self._phase = 0
        self.next_phase_ns = NEVER
        self._has_measured = False
        self._is_started = False  # it is known when the connects of the ramp begin
        self._noted_ns = 0  # in the ramp: the latest time that something was counted under

    # -- what the swarm does

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
    def _begin_draining(self) -> None:
        """What was measured is over, and no life ends any more but with the last reply."""

    @abc.abstractmethod
    def _is_waiting(self) -> bool:
        """Whether a message has no reply yet."""

    @abc.abstractmethod
    def _is_stranded(self, now: int) -> bool:
        """Whether there is no connection, and will be none."""

    # -- what the loop around it does

    @abc.abstractmethod
    def _tick_soon(self) -> None:
        """Has it found out in the next turn whether the traffic, or the drain, is over."""

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

        The tally gets every phase now. A turn of a busy loop takes milliseconds. What is sent after a phase's beginning
        and before the turn that notices it belongs to the new phase already.
        """
        self.next_phase_ns = at_ns
        self.alarm_ns = 0
        self.outbox.looks.forget(at_ns)  # if the word comes late
        for index, phase in enumerate(self.load.phases[1:], 1):
            # If the word comes too late, what was counted in the ramp stays there.
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
        is_measured = phase.kind is PhaseKind.HOLD
        self._has_measured = self._has_measured or is_measured
        self._is_counting = is_measured and self.shard.messages is not None
        none_is_ours = is_measured and self.budget <= 0
        if phase.kind is PhaseKind.DRAIN or self._is_spent or none_is_ours:
            self.next_phase_ns = NEVER
            self.thinking.cut(at_ns - 1)  # no pause ends in the drain
            self._begin_drain(self.load.timeout_ns, self.load.held_ns)
            return
        if self._probing and self.stage is Stage.RAMP:
            self._probing.start(at_ns)
        self.stage = Stage.TRAFFIC
        self._measure(index if is_measured else None)
        self.next_phase_ns = at_ns + phase.duration_ns
        self._change_connections(before.connections, phase.connections, at_ns, phase.duration_ns)
        if phase.rate_hz is not None:
            pace = LinearPace(at_ns, phase.duration_ns, *phase.rate_hz)
            self.outbox.begin(self._schedule(index, pace, self.budget if is_measured else NEVER))
        elif self.thinking.is_asked:
            if not self.thinking.is_on:
                self.thinking.is_on = True
                self._fill_all()
        elif not self.sending:
            self.sending = True
            self.free_running = self.shard.messages is None and not self._is_churning_exchanges
            self._fill_all()

    def _schedule(self, phase: int, pace: LinearPace, most: int) -> Scheduled:
        """Returns this worker's messages of a phase, no more than `most` of them."""
        if self.load.is_random:
            return RandomSchedule(pace, self.load.arrivals_seed(phase), *self._part, most)
        return Schedule(pace, *self._part, most)

    def _change_connections(self, before: int, after: int, at_ns: int, duration_ns: int) -> None:
        """Additional connections open evenly over the phase; superfluous ones end at its beginning."""
        if after > before:
            # Connection number before + k is worker (before + k) modulo of's: then each has its share of the phase's.
            index, of = self._part
            rate_hz = (after - before) / (duration_ns / NS_PER_S)
            self.openings.add(every(at_ns, rate_hz, after - before, (index - before) % of, of))
        self._retire_last(share(before, *self._part) - share(after, *self._part), at_ns)

    # -- how many messages are left, and the end

    def spend(self, count: int = 1) -> None:
        """Takes messages off what --messages allows; with the last one's reply the drain begins."""
        if not self._is_counting:
            return
        self.budget -= count
        if self.budget <= 0:
            self.outbox.spend()
            self.thinking.stop()
            self._is_spent = True
            self.sending = self.free_running = False
            if self.stage is Stage.TRAFFIC:
                self._tick_soon()

    def _end_if_spent(self) -> None:
        """Begins the drain if no message of --messages waits for a reply. Until then replies count in the window."""
        if not self._is_spent or self.stage is not Stage.TRAFFIC or self.outbox.waiting:
            return
        if not self._is_waiting():
            self._begin_drain(self.load.timeout_ns, self.load.held_ns)

    def _end_if_stranded(self, now: int) -> None:
        """Ends a worker that has no connection and will have none; native/phases.c has the details."""
        if self.stage is not Stage.TRAFFIC or not self._is_stranded(now):
            return
        if not self.slot.get("stranded_ns"):
            self.slot.set("stranded_ns", now)
        if self.load.is_endless:
            self._drop_due()
            self._begin_drain(self.load.timeout_ns, 0)

    def _is_ending(self) -> bool:
        """Whether nothing new begins any more, except messages that still wait for a connection to open."""
        return self.stage is Stage.DRAIN or (self._is_spent and not self.outbox.waiting)

    def may_open(self) -> bool:
        """Whether a connection may open yet, where none is open: in churn."""
        return self.load.lifetime_ns is not None and self.stage is not Stage.DRAIN

    def may_go_out(self) -> bool:
        """Whether what is due may go out: always, and a little while into the drain."""
        return self.stage is not Stage.DRAIN or self.drain.lets_out(clock())

    def _begin_drain(self, longest_ns: int, held_ns: int) -> None:
        """Nothing new falls due. Replies are waited for; messages that are due may still go out for a little while."""
        now = clock()
        self.drain.begin(now, longest_ns, held_ns)
        self.outbox.cut(now)
        self.thinking.cut(now)
        if not held_ns:
            self._drop_due()
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
            self._is_counting = False
            self.slot.set("phase", last)
        self.slot.set("finished_ns", now)
        self.control.finished()
        self.sending = self.free_running = False
        self.openings.clear()
        self.next_phase_ns = NEVER
        self._tick_soon()

    def _drop_due(self) -> None:
        """Counts as unsent what is due and has not gone out."""
        self.outbox.drop()
        self.thinking.drop()

    def _drain_end(self) -> int:
        """The drain is longer by what the worker stood still: no reply could be read then. What waits is read first."""
        stood = self.watch.standstills.since(self.drain.began_ns)
        return self.drain.until_ns + stood + (self.timeouts.grain_ns if stood else 0)

    def _is_drained(self) -> bool:
        return self.outbox.is_empty and self.thinking.next_ns == NEVER and not self._is_waiting()
