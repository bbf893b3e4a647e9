"""The blast end's worker: it opens its share of the connections and keeps its part of the schedule.

Everything that happens at a time (a connect, a message, the end of a phase, the end of a connection's life) is due on
one time line, and one timer wakes the loop for whatever comes first. A round handles what is due by then, at most
_ROUND of each kind so that replies are read in between; whatever is late is late in the record too, for times count
from when things were due.

    RAMP -> TRAFFIC -> DRAIN -> (everything closed)
"""

from __future__ import annotations

import asyncio
import enum
import errno
import itertools
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from loadkit.engine.aio.connect import is_readable, open_route
from loadkit.engine.aio.connection import OPENING, Connection, LongConnection, State
from loadkit.engine.aio.deadlines import Deadlines
from loadkit.engine.aio.oldest import OldestFirst
from loadkit.engine.aio.outbox import Outbox
from loadkit.engine.aio.pauses import STANDSTILL_NS
from loadkit.engine.aio.probing import Probing
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.timer import Timer
from loadkit.engine.aio.wakeups import Wait
from loadkit.engine.aio.watch import Watch
from loadkit.engine.base import STOP_NS, Control
from loadkit.measure.board import PROOFS, STAMP_SOURCES, OwnError, Slot
from loadkit.measure.tally import FOLD_EVERY, FOLD_NS, Tally
from loadkit.measure.tcp_info import SAMPLES, is_unacknowledged, note_tcp_info
from loadkit.measure.tcp_watch import TcpWatch
from loadkit.plan.model import PhaseKind, Route, Shard
from loadkit.plan.pacing import LinearPace, every
from loadkit.plan.split import share
from loadkit.profile.model import Close
from loadkit.units import NS_PER_S
from loadkit.wire.echo import PIECE_BYTES, EchoFraming

__all__ = ["Swarm"]

_ROUND = 128
# A churning connection that could not be opened, or broke, is tried again after this: long enough not to hammer a peer
# that refuses, short enough that a restarted one is found.
_RETRY_S = 0.1
_FAILED = PROOFS.index("failed")
# How often we look whether the worker before us has connected; it says so ten times a second.
_LOOK_NS = 20_000_000

clock = time.monotonic_ns


class Stage(enum.Enum):
    """What the worker does now."""

    RAMP = enum.auto()
    TRAFFIC = enum.auto()
    DRAIN = enum.auto()


class Swarm:
    """A shard under way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shard: Shard,
        slot: Slot,
        control: Control,
        before: Slot | None = None,
        probing: Probing | None = None,
        last_wait: Callable[[], Wait] | None = None,
    ) -> None:
        plan = shard.plan
        self._probing = probing
        if probing:
            probing.on_event = lambda: self.watch.see(clock())
        self.stamps = STAMP_SOURCES[slot.get("stamp_source")] == "rx"
        self.loop = loop
        self.shard = shard
        self.plan = plan
        self.slot = slot
        self.control = control
        self.closed_loop = not plan.open_loop
        self.framing = EchoFraming(plan.size_bytes)
        self.messages = self.framing.messages
        self.period = self.framing.period
        self.size = plan.size_bytes
        self.depth = plan.depth
        self._kind = Connection if plan.size_bytes <= PIECE_BYTES else LongConnection
        self.check = plan.check
        self.tally = Tally(slot, plan.size_bytes, due_is_sent=self.closed_loop)
        self.watch = Watch(slot, self.tally, plan.phases, last_wait)
        self.outbox = Outbox(self)
        self.exchanges = self.tally.exchanges
        self.note_exchange = self.tally.exchanges.extend
        self.fold_length = 2 * FOLD_EVERY
        self.stage = Stage.RAMP
        self.sending = False  # a closed loop answers each reply with the next message
        self.free_running = False  # … with nothing else to decide
        self.live: list[Connection] = []
        self.budget = NEVER if shard.messages is None else shard.messages
        self._is_spent = False  # the last of --messages has been taken
        self._alone_ns = clock()  # when a connection was open last
        self._answered = 0  # open connections that have had a reply, until the measured time began
        self._has_measured = False
        self._replied_ns = 0
        self.timeout_ns = plan.timeout_ns
        self._connect_deadline = NEVER  # when to look at the oldest connect
        self._deadlines = Deadlines(min(plan.timeout_ns, plan.connect_timeout_ns))
        self._sampled = 0
        self._tcp_watch: TcpWatch[Connection] = TcpWatch(_fd_of)
        self._phase = 0
        self._settled = self._settled_ns = 0
        self._connecting: OldestFirst[tuple[int, asyncio.Task[None], Connection]] = OldestFirst(
            lambda one: one[1].done()
        )
        self._expiring: OldestFirst[tuple[int, Connection]] = OldestFirst(lambda one: one[1].state is State.CLOSED)
        self._retiring: set[Connection] = set()
        self._peak = 0
        self._connects: Iterator[int] = iter(())
        self._next_connect = self.next_phase_ns = NEVER
        self.alarm_ns = 0  # a reply from then on is looked at: it may be behind a standstill, or the end of a phase
        self._before = before
        self._look_ns = 0  # when to look again whether it is our turn to connect
        self._opening = 0  # connections a schedule asked for that have no reply yet
        self._most_opening = max(1, plan.opening // plan.lanes)
        self._has_enough = False  # no schedule opens any more connections
        self._noted_ns = 0  # in the ramp: the latest time that something was counted under
        # The run's first connection, while we do not know whether its first reply is right, and what came on it.
        self.first: Connection | None = None
        self.came = b""
        self._first_is_due = shard.opens_first  # the next connection that begins is it
        self._is_started = False  # we know when the connects of the ramp begin
        self._routes = _endless(shard.routes)
        self._done: asyncio.Future[None] = loop.create_future()
        self._drain_from = self._drain_until = self._held_until = NEVER
        self._timer = Timer(loop, self._on_time)
        self._tick_handle: asyncio.TimerHandle | None = None

    # -- the run

    async def run(self) -> None:
        """Runs the shard from the common start to the last close."""
        self.control.ready()
        start = self.control.wait_start()
        self.watch.seen_ns = clock()
        self.outbox.looks.note(self.watch.seen_ns)
        self.tally.begin_phase(0, start)
        if self.shard.opens_first:
            self._open_at(iter((start,)))
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
            for _, task, _ in self._connecting:
                task.cancel()
            await asyncio.gather(*(task for _, task, _ in self._connecting), return_exceptions=True)
            for _, _, connection in self._connecting:
                if connection.state is State.CONNECTING:  # its task was cancelled before it began
                    self._not_needed(connection)
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

    @property
    def _part(self) -> tuple[int, int]:
        return self.shard.index, self.shard.of

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
                self._connects, self._next_connect, self._has_enough = iter(()), NEVER, True
            start = self.control.hold_start() if self.stage is Stage.RAMP else None
            if start is not None:
                self._begin_phases(start)

    def _on_time(self) -> None:
        """Does what is due. One clock reading decides the round."""
        now = clock()
        self.watch.see(now)
        self.outbox.looks.note(now)
        self._enter_phases(now)
        self._look_before(now)
        for _ in range(_ROUND):
            if self._connect_time() > now:
                break
            due, self._next_connect = self._next_connect, next(self._connects, NEVER)
            self._open(due, next(self._routes), first=self.stage is Stage.RAMP, scheduled=True)
        self.outbox.send_due(now)
        self._judge(now)
        while self._expiring and self._expiring.oldest[0] <= now:
            self._retire(*self._expiring.pop())
        self.arm()

    def arm(self) -> None:
        """Sets the timer for what is due first."""
        first = min(self.next_phase_ns, self._connect_time(), self.outbox.next_ns, self._connect_deadline)
        first = min(first, self._deadlines.first_ns)
        if self._expiring:
            first = min(first, self._expiring.oldest[0])
        self.watch.asked_ns = first
        self._timer.arm(first if first < NEVER else None)

    def look(self, now: int) -> None:
        """A reply has come after a gap, or after the end of a phase: finds out which, before it is counted.

        Where neither was, the next reply is looked at after as long a time as a standstill has.
        """
        self.watch.see(now)
        self._enter_phases(now)
        self.alarm_ns = min(now + STANDSTILL_NS, self.next_phase_ns)

    def _connect_time(self) -> int:
        """When the next connect can be begun; the native engine (native/blast.c) says why not when it is due."""
        if self._opening >= self._most_opening:
            return NEVER
        return max(self._next_connect, self._look_ns) if self._before else self._next_connect

    def _look_before(self, now: int) -> None:
        """Looks whether the worker before us on this core has connected."""
        if self._before and self._connect_time() <= now:
            if self._before.get("settled") >= self.shard.connects_before or self.stage is not Stage.RAMP:
                self._before = None
            else:
                self._look_ns = now + _LOOK_NS

    @property
    def _is_churning_exchanges(self) -> bool:
        return self.plan.lifetime_ns == 0

    def _tick(self) -> None:
        """Ten times a second, which is the beat too: fold, publish, and find out whether it is over."""
        now = clock()
        self.watch.see(now)
        self._enter_phases(now)
        if self.live or self._retiring or self.stage is Stage.RAMP:
            self._alone_ns = now
        self.slot.pages[self._phase].add("beats")
        # What is over takes memory: a connection, its task.
        self._connecting.tidy()
        self._expiring.tidy()
        self._deadlines.tidy(len(self.live) + len(self._retiring))
        self._publish(now)
        self._sample_tcp_info()
        self._end_if_spent()
        self._end_if_stranded(now)
        if self.stage is Stage.DRAIN and self._held_until <= now:
            self.outbox.drop()
            self._held_until = NEVER
        if self.stage is Stage.DRAIN and (self._is_drained() or now >= self._drain_end()):
            self._finish()
            return
        pause = 0.02 if self.stage is Stage.DRAIN or self._is_spent else FOLD_NS / NS_PER_S
        if self._tick_handle:
            self._tick_handle.cancel()  # the drain has begun just now, and asked for another
        self._tick_handle = self.loop.call_later(pause, self._tick)

    def _drain_end(self) -> int:
        """The drain is longer by what we stood still, for no reply could reach us, and what waits is read first."""
        stood = self.watch.standstills.since(self._drain_from)
        return self._drain_until + stood + (self._deadlines.grain_ns if stood else 0)

    def _sample_tcp_info(self) -> None:
        """Looks at some connections, others each time."""
        self._tcp_watch.want(SAMPLES)
        chosen = []
        for _ in range(min(SAMPLES, len(self.live))):
            self._sampled = (self._sampled + 1) % len(self.live)
            chosen.append(_fd_of(self.live[self._sampled]))
        note_tcp_info(self.slot.pages[self._phase], [fd for fd in chosen if fd >= 0])

    def _publish(self, now: int) -> None:
        self.tally.fold()
        self.tally.fold_cpu(now)
        self.slot.set("open", len(self.live) + len(self._retiring))
        self.slot.set("peak", self._peak)
        self.slot.set("replied_ns", self._replied_ns)
        self.slot.set("settled_ns", self._settled_ns)
        self.slot.set("settled", self._settled)

    # -- phases

    def _begin_ramp(self, at_ns: int) -> None:
        """The connects of the ramp begin at `at_ns`."""
        self._is_started = True
        self._open_at(self.shard.ramp.due_times(at_ns, self.plan.connect_rate_hz))

    def _begin_phases(self, at_ns: int) -> None:
        """The ramp ends at `at_ns`.

        The tally hears of every phase now: a turn of a busy loop takes milliseconds, and what is sent between a phase's
        beginning and our noticing it is the new phase's already.
        """
        self.next_phase_ns = at_ns
        self.alarm_ns = 0
        self.outbox.looks.forget(at_ns)  # if we hear of it late
        for index, phase in enumerate(self.plan.phases[1:], 1):
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
        before = self.plan.phases[self._phase]
        phase = self.plan.phases[index]
        if phase.kind is not PhaseKind.DRAIN:
            self.outbox.end_phase(at_ns, self.watch.seen_ns)
        self.tally.fold_cpu(at_ns - 1)
        self._phase = index
        self.slot.set("phase", index)
        self._has_measured = self._has_measured or phase.kind is PhaseKind.HOLD
        none_is_ours = phase.kind is PhaseKind.HOLD and self.budget <= 0
        if phase.kind is PhaseKind.DRAIN or self._is_spent or none_is_ours:
            self.next_phase_ns = NEVER
            self._begin_drain(self.plan.timeout_ns, self.plan.held_ns)
            return
        if self._probing and self.stage is Stage.RAMP:
            self._probing.start(at_ns)
        self.stage = Stage.TRAFFIC
        if phase.kind is PhaseKind.HOLD:
            self._tcp_watch.begin(self.slot.pages[index], self.live)
        else:
            self._tcp_watch.end()
        self.next_phase_ns = at_ns + phase.duration_ns
        self._change_connections(before.connections, phase.connections, at_ns, phase.duration_ns)
        if phase.rate_hz is not None:
            most = self.budget if phase.kind is PhaseKind.HOLD else NEVER
            self.outbox.begin(LinearPace(at_ns, phase.duration_ns, *phase.rate_hz), *self._part, most)
        elif not self.sending:
            self.sending = True
            self.free_running = self.shard.messages is None and not self._is_churning_exchanges
            self._fill_some(list(self.live))

    def _change_connections(self, before: int, after: int, at_ns: int, duration_ns: int) -> None:
        """More connections come evenly over the phase; fewer go at its beginning."""
        if after > before and not self._has_enough:
            # Connection number before + k is worker (before + k) modulo of's: then each has its share of the phase's.
            index, of = self._part
            rate_hz = (after - before) / (duration_ns / NS_PER_S)
            self._open_at(every(at_ns, rate_hz, after - before, (index - before) % of, of))
        for _ in range(share(before, *self._part) - share(after, *self._part)):
            if self.live:
                self._retire(at_ns, self.live[-1], reopen=False)

    def _open_at(self, times: Iterator[int]) -> None:
        """Takes up a connect schedule, after what is left of the former."""
        left = [] if self._next_connect == NEVER else [self._next_connect]
        self._connects = itertools.chain(left, self._connects, times)
        self._next_connect = next(self._connects, NEVER)

    def _fill_some(self, waiting: list[Connection]) -> None:
        """Starts a closed loop on all connections, a round at a time so that replies are read in between."""
        now = clock()
        for connection in waiting[:_ROUND]:
            if connection.state is State.OPEN:
                self.replied(connection, now)
        if waiting[_ROUND:]:
            self.loop.call_soon(self._fill_some, waiting[_ROUND:])

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
        self._tcp_watch.end()
        if self._probing:
            self._probing.stop()
        last = len(self.plan.phases) - 1
        if self._phase != last:
            self.tally.fold()
            self.tally.fold_cpu(now)
            for index in range(self._phase + 1, last + 1):
                self.tally.begin_phase(index, now)
            self._phase = last
            self.slot.set("phase", last)
        self.slot.set("finished_ns", now)
        self.sending = self.free_running = False
        self._connects = iter(())
        self.next_phase_ns = self._next_connect = NEVER
        self._expiring.clear()
        if self._tick_handle:
            self._tick_handle.cancel()
        self._tick_handle = self.loop.call_later(0, self._tick)

    def _is_drained(self) -> bool:
        if self._retiring or not self.outbox.is_empty:
            return False
        return not any(connection.pending for connection in self.live)

    def _finish(self) -> None:
        """Counts what was left unanswered and closes everything."""
        if self._done.done():
            return
        now = clock()
        self.outbox.cut(now)
        self.outbox.drop()
        for connection in [*self.live, *self._retiring]:
            if connection.pending and not connection.received:
                self._check_accepted(connection, now)
            self._count_pending(connection, "unanswered")
            self._close(connection, now)
        if not self.slot.get("finished_ns"):
            self.slot.set("finished_ns", now)
        self._publish(clock())
        self._done.set_result(None)

    # -- connections

    def _open(self, due_ns: int, route: Route, first: bool, scheduled: bool = False) -> None:
        connection = self._kind(self, due_ns, route, first, has_successor=self.plan.lifetime_ns is not None)
        connection.opening = scheduled
        if self._first_is_due:
            self._first_is_due, self.first = False, connection
        self._opening += scheduled
        if self.stage is Stage.RAMP:
            self._noted_ns = max(self._noted_ns, due_ns)
        self.tally.count("asked", due_ns)
        task = self.loop.create_task(self._connect(connection))
        now = clock()
        self.watch.see(now)
        self._connecting.append((now, task, connection))
        if self._connect_deadline == NEVER:
            self._connect_deadline = now + self.plan.connect_timeout_ns

    async def _connect(self, connection: Connection) -> None:
        try:
            await open_route(self.loop, lambda: connection, connection.route, self.plan.target.port)
        except asyncio.CancelledError:
            if connection.state is State.CONNECTING:
                if not self._done.done():
                    self._not_opened(connection, OwnError.CONNECT_TIMEOUT)
                else:
                    self._not_needed(connection)
        except OSError as error:
            self._not_opened(connection, error.errno or OwnError.UNKNOWN)

    def _expire_connects(self, now: int) -> None:
        """Ends the connects that take too long, less what we stood still; the oldest are first."""
        self._connect_deadline = NEVER
        while self._connecting:
            begun, task, _connection = self._connecting.oldest
            if not task.done():
                stood = self.watch.standstills.since(begun)
                # After a standstill what has come meanwhile is read first.
                until = begun + self.plan.connect_timeout_ns + stood + (self._deadlines.grain_ns if stood else 0)
                if until > now:
                    self._connect_deadline = until
                    return
                task.cancel()
            self._connecting.pop()

    def _not_opened(self, connection: Connection, number: int) -> None:
        now = clock()
        connection.state = State.CLOSED
        self.tally.count("failed_connects", connection.due_ns)
        self.tally.error("connect", number, now)
        self.prove(connection, "failed")
        self.settle(connection)
        self._again(connection)

    def met_itself(self, connection: Connection) -> None:
        """Both its ends are the same socket: no process listens at the target's port, and it is refused."""
        connection.close(Close.RST)
        if self._done.done():
            self._not_needed(connection)
        else:
            self._not_opened(connection, errno.ECONNREFUSED)

    def _not_needed(self, connection: Connection) -> None:
        """The run is over and it was still connecting: one of the first is missing, a successor was asked in vain."""
        if connection.first:
            self._not_opened(connection, OwnError.RUN_ENDED)
        else:
            connection.state = State.CLOSED
            self.tally.count("asked", connection.due_ns, -1)

    def settle(self, connection: Connection) -> None:
        """Its first reply has come, or it has ended without."""
        if connection.first:
            self._settled += 1
            self._settled_ns = clock()
            connection.first = False
            # At once: the parent makes the rates of the ramp's tenths of them.
            self.slot.set("settled_ns", self._settled_ns)
            self.slot.set("settled", self._settled)
        if connection.opening:
            connection.opening = False
            self._opening -= 1
            if self._opening == self._most_opening - 1:
                self.arm()

    def prove(self, connection: Connection, proof: str) -> None:
        """If it is the run's first connection: its first reply was right, or it failed."""
        if connection is not self.first:
            return
        self.first = None
        if proof == "failed" and not self._is_started:
            # Another one would be a second connection to a target that may be wrong.
            connection.has_successor = False
        self.slot.set("proved", PROOFS.index(proof))

    def opened(self, connection: Connection) -> None:
        """A connection is established: its first message goes out at once."""
        if self._done.done():
            connection.close(Close.RST)
            self._not_needed(connection)
            return
        # Its first message is the new phase's if one has begun, and then counts against --messages.
        self._enter_phases(connection.established_ns)
        self.tally.connected.extend((connection.due_ns, connection.established_ns))
        self.outbox.is_full = False
        self._alone_ns = connection.established_ns
        self._tcp_watch.opened(connection)
        connection.place = len(self.live)
        self.live.append(connection)
        self._peak = max(self._peak, len(self.live) + len(self._retiring))
        if self.plan.lifetime_ns:
            self._expiring.append((connection.established_ns + self.plan.lifetime_ns, connection))
            if len(self._expiring) == 1:
                self.arm()
        if self._is_ending():
            self.settle(connection)
            return
        if self.stage is Stage.RAMP:
            self._noted_ns = connection.established_ns
        connection.send_first()
        if self.sending:
            self.spend()
        if self.sending and not self._is_churning_exchanges:
            self.room(connection)
        self.outbox.give_homeless()

    def _is_ending(self) -> bool:
        """Whether nothing new is begun any more: but for messages that still wait for a connection to open."""
        return self.stage is Stage.DRAIN or (self._is_spent and not self.outbox.waiting)

    def spend(self, count: int = 1) -> None:
        """Takes messages off what --messages allows; with the last one's reply the drain begins."""
        if self.plan.phases[self._phase].kind is not PhaseKind.HOLD:
            return
        self.budget -= count
        if self.budget <= 0:
            self.outbox.spend()
            self._is_spent = True
            self.sending = self.free_running = False
            if self._tick_handle and self.stage is Stage.TRAFFIC:
                self._tick_handle.cancel()
                self._tick_handle = self.loop.call_later(0, self._tick)

    def _end_if_spent(self) -> None:
        """The last of --messages has its reply, or never will: until then what comes back is of its window."""
        if not self._is_spent or self.stage is not Stage.TRAFFIC or self.outbox.waiting:
            return
        if not self._retiring and not any(connection.pending for connection in self.live):
            self._begin_drain(self.plan.timeout_ns, self.plan.held_ns)

    def _end_if_stranded(self, now: int) -> None:
        """Ends what has no connection and will have none; native/blast.c says what that is, and what is left of it."""
        if not self._is_stranded(now):
            return
        if not self.slot.get("stranded_ns"):
            self.slot.set("stranded_ns", now)
        if self.plan.is_endless:
            self.outbox.drop()
            self._begin_drain(self.plan.timeout_ns, 0)

    def _is_stranded(self, now: int) -> bool:
        if self.stage is not Stage.TRAFFIC or self.live or self._retiring:
            return False
        if self.plan.lifetime_ns is not None:
            alone = now - self._alone_ns - self.watch.standstills.since(self._alone_ns)
            return self.plan.is_endless and alone > self.timeout_ns
        later = self.plan.phases[self._phase :]
        opens_later = not self._has_enough and any(two.connections > one.connections for one, two in pairwise(later))
        is_connecting = any(not task.done() for _, task, _ in self._connecting)
        return self._next_connect == NEVER and not is_connecting and not opens_later

    def replied(self, connection: Connection, now: int) -> None:
        """Whole replies came in, and the connection may have room: go on, retire, or stop."""
        if connection.state is State.RETIRING:
            if not connection.pending:
                self._retiring.discard(connection)
                self._end_of_life(connection, now)
        elif self._is_churning_exchanges and self.sending:
            if not connection.pending:
                self._end_of_life(connection, now)
        else:
            self.room(connection)

    def room(self, connection: Connection) -> None:
        """Sends what is held, or in a closed loop the next messages, while there is room."""
        if connection.held or self.outbox.is_full:
            self.outbox.fill(connection)
        while self.sending and connection.has_room():
            now = clock()
            if now >= self.next_phase_ns:  # with a large depth this takes long
                self.look(now)
                continue
            connection.send(now, now)
            self.spend()

    def broken(self, connection: Connection, step: str, number: int) -> None:
        """The connection failed: its messages are counted as failed, what it held goes to others."""
        now = clock()
        if number != OwnError.REPLY_TIMEOUT or connection.received or not self._check_accepted(connection, now):
            self.tally.error(step, number, now)
        self.prove(connection, "failed")
        self._count_pending(connection, "failed")
        held, connection.held = connection.held, None
        self._retiring.discard(connection)
        self._close(connection, now, Close.RST)
        self.outbox.give_held(held)
        self._again(connection)

    def _count_pending(self, connection: Connection, counter: str) -> None:
        """Counts messages without a reply; the first one of a connection is none that was due in an open loop."""
        for intended in connection.pending[::3]:
            if intended != OPENING:
                self.tally.count(counter, intended)
        connection.pending.clear()

    def _check_accepted(self, connection: Connection, now: int) -> bool:
        """Whether the peer never heard of a connection that is open for us (a SYN cookie): then it failed."""
        if not is_unacknowledged(connection.transport.get_extra_info("socket").fileno()):
            return False
        self.tally.fold()
        self.tally.count("opened", connection.due_ns, -1)
        self.tally.count("failed_connects", connection.due_ns)
        self.tally.count("closed", now, -1)  # it is closed all the same
        self.tally.error("connect", OwnError.NOT_ACCEPTED, now)
        return True

    def _again(self, connection: Connection) -> None:
        """In churn a connection that failed has a successor a little later; elsewhere it is missing, and said to be."""
        if connection.has_successor and not self._is_ending():
            self.loop.call_later(_RETRY_S, self._reopen, connection.route)

    def _reopen(self, route: Route) -> None:
        if not self._is_ending():
            self._open(clock(), route, first=False)

    def _retire(self, due_ns: int, connection: Connection, reopen: bool = True) -> None:
        """A connection's time is over: it closes once its replies are in."""
        if connection.state is not State.OPEN:
            return
        held, connection.held = connection.held, None
        connection.has_successor = connection.has_successor and reopen
        connection.expected = None
        self._leave(connection)
        if connection.pending:
            connection.state = State.RETIRING
            self._retiring.add(connection)
        else:
            self._end_of_life(connection, due_ns)
        self.outbox.give_held(held)

    def _end_of_life(self, connection: Connection, due_ns: int) -> None:
        self._close(connection, due_ns)
        if connection.has_successor and not self._is_ending():
            self._open(due_ns, connection.route, first=False)

    def _close(self, connection: Connection, now: int, how: Close | None = None) -> None:
        if connection.place >= 0:
            self._leave(connection)
        self._tcp_watch.closing(connection)
        connection.close(how or self.plan.close)
        self.settle(connection)
        self._count_answered(-(connection.received > 0))
        self.outbox.is_full = False
        self.tally.count("closed", now)

    def _leave(self, connection: Connection) -> None:
        """Takes a connection out of the list that messages are spread over; the last one takes its place."""
        last = self.live.pop()
        if last is not connection:
            self.live[connection.place] = last
            last.place = connection.place
        connection.place = -1

    def answered(self, connection: Connection, now: int) -> None:
        """The first bytes of its first reply have come."""
        self._count_answered(1)
        self.settle(connection)
        self.tally.first_bytes.extend((connection.due_ns, connection.established_ns, now))

    def _count_answered(self, change: int) -> None:
        """For the parent, up to the window's start. It may look later than that, and a short window is over by then."""
        if not self._has_measured:
            self._answered += change
            self.slot.set("answered", self._answered)

    def has_replied(self, now: int) -> None:
        """Whole replies came in."""
        self._replied_ns = now

    # -- what the outbox asks

    def may_open(self) -> bool:
        """Whether a connection may open yet, where none is open: in churn."""
        return self.plan.lifetime_ns is not None and self.stage is not Stage.DRAIN

    def may_go_out(self) -> bool:
        """Whether what is due may go out: always, and a little while into the drain."""
        return self.stage is not Stage.DRAIN or (self._held_until != NEVER and self._held_until > clock())

    # -- deadlines

    def need_reply_by(self, connection: Connection, at_ns: int) -> None:
        """Has it looked at when the time of its oldest message is over; one look at a time will do."""
        if self._deadlines.push(connection, at_ns) < self.watch.asked_ns:
            self.arm()

    def is_too_late(self, sent_ns: int, now: int) -> bool:
        """Whether a reply that is read now came after the time-out.

        A standstill counts from when the wait was to end: where that was this message's own deadline, the time-out and
        its grain had passed by then.
        """
        slack = 2 * self._deadlines.grain_ns if self.watch.standstills.since(sent_ns) else 0
        return self.watch.age(sent_ns, now) > self.timeout_ns + slack

    def _judge(self, now: int) -> None:
        """Ends what takes too long."""
        if self._connect_deadline <= now:
            self._expire_connects(now)
        for connection in self._deadlines.due(now):
            if connection.pending:
                self._judge_reply(connection, now)

    def _judge_reply(self, connection: Connection, now: int) -> None:
        sent = connection.pending[2]
        until = sent + self.timeout_ns + self.watch.standstills.since(sent)
        if until > now:
            self._deadlines.push(connection, until)
        elif is_readable(connection.transport.get_extra_info("socket").fileno()):
            # It is read first, and judged by the wait that told of it.
            self._deadlines.push(connection, now + self._deadlines.grain_ns)
        else:
            self.broken(connection, "receive", OwnError.REPLY_TIMEOUT)


def _fd_of(connection: Connection) -> int:
    """Returns its file descriptor, -1 once it has none."""
    descriptor: int = connection.transport.get_extra_info("socket").fileno()
    return descriptor


def _endless(routes: tuple[Route, ...]) -> Iterator[Route]:
    """Yields each route as often as it has connections, in turn, over and over."""
    while True:
        for route in routes:
            for _ in range(route.connections):
                yield route
