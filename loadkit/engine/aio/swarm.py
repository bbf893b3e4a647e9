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
import itertools
import time
from collections import deque
from collections.abc import Iterator

from loadkit.engine.aio.connect import open_route
from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.probing import Probing
from loadkit.engine.aio.timer import Timer
from loadkit.engine.base import STOP_NS, Control
from loadkit.measure.board import PROOFS, STAMP_SOURCES, OwnError, Slot
from loadkit.measure.tally import FOLD_EVERY, FOLD_NS, Tally
from loadkit.measure.tcp_info import SAMPLES, note_tcp_info
from loadkit.plan.model import PhaseKind, Route, Shard
from loadkit.plan.pacing import LinearPace, due_times, every
from loadkit.plan.split import share
from loadkit.profile.model import Close
from loadkit.units import NS_PER_S
from loadkit.wire.echo import EchoFraming

__all__ = ["Swarm"]

_ROUND = 128
_NEVER = 2**62
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
    ) -> None:
        plan = shard.plan
        self._probing = probing
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
        self.check = plan.check
        self.tally = Tally(slot, plan.size_bytes, due_is_sent=self.closed_loop)
        self.exchanges = self.tally.exchanges
        self.note_exchange = self.tally.exchanges.extend
        self.fold_length = 2 * FOLD_EVERY
        self.stage = Stage.RAMP
        self.sending = False  # a closed loop answers each reply with the next message
        self.free_running = False  # … with nothing else to decide
        self.live: list[Connection] = []
        self.budget = _NEVER if shard.messages is None else shard.messages
        self._turn = 0
        self._scan = self._sampled = 0
        self._phase = 0
        self._settled = self._settled_ns = 0
        self._connecting: deque[tuple[int, asyncio.Task[None], Connection]] = deque()
        self._expiring: deque[tuple[int, Connection]] = deque()
        self._retiring: set[Connection] = set()
        self._waiting: list[int] = []  # due messages while churn has no connection open
        self._peak = 0
        self._connects: Iterator[int] = iter(())
        self._due: Iterator[int] = iter(())
        self._next_connect = self._next_due = self._next_phase = _NEVER
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
        self._drain_until = self._held_until = _NEVER
        self._timer = Timer(loop, self._on_time)
        self._tick_handle: asyncio.TimerHandle | None = None

    # -- the run

    async def run(self) -> None:
        """Runs the shard from the common start to the last close."""
        self.control.ready()
        start = self.control.wait_start()
        self.tally.begin_phase(0, start)
        if self.shard.opens_first:
            self._open_at(iter((start,)))
        else:
            self._begin_ramp(start)
        self.loop.add_reader(self.control.fileno(), self._heard)
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
                self._arm()
            if self.control.should_stop_opening():
                self._connects, self._next_connect, self._has_enough = iter(()), _NEVER, True
            start = self.control.hold_start() if self.stage is Stage.RAMP else None
            if start is not None:
                self._begin_phases(start)

    def _on_time(self) -> None:
        """Does what is due. One clock reading decides the round."""
        now = clock()
        self._enter_phases(now)
        self._look_before(now)
        for _ in range(_ROUND):
            if self._connect_time() > now:
                break
            due, self._next_connect = self._next_connect, next(self._connects, _NEVER)
            self._open(due, next(self._routes), first=self.stage is Stage.RAMP, scheduled=True)
        for _ in range(_ROUND):
            if self._next_due > now:
                break
            due, self._next_due = self._next_due, next(self._due, _NEVER)
            self._dispatch_due(due)
        while self._expiring and self._expiring[0][0] <= now:
            self._retire(*self._expiring.popleft())
        self._arm()

    def _arm(self) -> None:
        first = min(self._next_phase, self._connect_time(), self._next_due)
        if self._expiring:
            first = min(first, self._expiring[0][0])
        self._timer.arm(first if first < _NEVER else None)

    def _connect_time(self) -> int:
        """When the next connect can be begun; the native engine (native/blast.c) says why not when it is due."""
        if self._opening >= self._most_opening:
            return _NEVER
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
        """Ten times a second: fold, publish, and find what takes too long."""
        now = clock()
        self._publish(now)
        self._sample_tcp_info()
        while self._connecting and (self._connecting[0][0] <= now or self._connecting[0][1].done()):
            self._connecting.popleft()[1].cancel()
        self._find_timeouts(now)
        self._end_if_spent()
        if self.stage is Stage.DRAIN and self._held_until <= now:
            self._drop_due(now)
            self._held_until = _NEVER
        if self.stage is Stage.DRAIN and (now >= self._drain_until or self._is_drained()):
            self._finish()
            return
        pause = 0.02 if self.stage is Stage.DRAIN or self.budget <= 0 else FOLD_NS / NS_PER_S
        self._tick_handle = self.loop.call_later(pause, self._tick)

    def _sample_tcp_info(self) -> None:
        """Looks at some connections, others each time."""
        chosen = []
        for _ in range(min(SAMPLES, len(self.live))):
            self._sampled = (self._sampled + 1) % len(self.live)
            chosen.append(self.live[self._sampled].transport.get_extra_info("socket").fileno())
        note_tcp_info(self.slot.pages[self._phase], [fd for fd in chosen if fd >= 0])

    def _publish(self, now: int) -> None:
        self.tally.fold(now)
        self.tally.fold_cpu(now)
        self.slot.set("open", len(self.live) + len(self._retiring))
        self.slot.set("peak", self._peak)
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
        self._next_phase = at_ns
        for index, phase in enumerate(self.plan.phases[1:], 1):
            # If we hear of it too late, what was counted as the ramp's stays there.
            begin = max(at_ns, self._noted_ns + 1)
            self.tally.begin_phase(index, begin)
            if self._probing:
                self._probing.begin_phase(index, begin)
            at_ns += phase.duration_ns
        self._arm()

    def _enter_phases(self, now: int) -> None:
        """Enters the phases that have begun by now."""
        while self._next_phase <= now:
            self._enter_phase(self._phase + 1, self._next_phase)

    def _enter_phase(self, index: int, at_ns: int) -> None:
        """Phase `index` begins; `at_ns` is when it should have."""
        before = self.plan.phases[self._phase]
        phase = self.plan.phases[index]
        self.tally.fold_cpu(at_ns - 1)
        self._phase = index
        self.slot.set("phase", index)
        if phase.kind is PhaseKind.DRAIN or self.budget <= 0:
            # Without a budget this shard's part of --messages is none: it is done before it begins.
            self._next_phase = _NEVER
            self._begin_drain(self.plan.timeout_ns, self.plan.held_ns)
            return
        if self._probing and self.stage is Stage.RAMP:
            self._probing.start(at_ns)
        self.stage = Stage.TRAFFIC
        self._next_phase = at_ns + phase.duration_ns
        self._change_connections(before.connections, phase.connections, at_ns, phase.duration_ns)
        if phase.rate_hz is not None:
            pace = LinearPace(at_ns, phase.duration_ns, *phase.rate_hz)
            # What is still due from the phase before comes first, however late.
            left = self._left_due()
            self._due = itertools.chain(left, due_times(pace, *self._part) if max(phase.rate_hz) > 0 else ())
            self._next_due = next(self._due, _NEVER)
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
        left = [] if self._next_connect == _NEVER else [self._next_connect]
        self._connects = itertools.chain(left, self._connects, times)
        self._next_connect = next(self._connects, _NEVER)

    def _left_due(self, until: int = _NEVER) -> Iterator[int]:
        """What is due by `until` and was not dispatched."""
        left = itertools.chain([] if self._next_due == _NEVER else [self._next_due], self._due)
        return itertools.takewhile(lambda due: due <= until, left)

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
        self._drain_until = min(self._drain_until, now + longest_ns)
        self._held_until = min(self._held_until, now + held_ns)
        self._due = self._left_due(until=now)
        self._next_due = next(self._due, _NEVER)
        if not held_ns:
            self._drop_due(now)
        if self.stage is Stage.DRAIN:
            return
        self.stage = Stage.DRAIN
        if self._probing:
            self._probing.stop()
        last = len(self.plan.phases) - 1
        if self._phase != last:
            self.tally.fold(now)
            self.tally.fold_cpu(now)
            for index in range(self._phase + 1, last + 1):
                self.tally.begin_phase(index, now)
            self._phase = last
            self.slot.set("phase", last)
        self.slot.set("finished_ns", now)
        self.sending = self.free_running = False
        self._connects = iter(())
        self._next_phase = self._next_connect = _NEVER
        self._expiring.clear()
        if self._tick_handle:
            self._tick_handle.cancel()
        self._tick_handle = self.loop.call_later(0, self._tick)

    def _is_drained(self) -> bool:
        if self._retiring or self._next_due != _NEVER:
            return False
        return not any(connection.pending or connection.held for connection in self.live)

    def _drop_due(self, now: int) -> None:
        """Counts what is due, and will not be sent, as such."""
        never = list(self._left_due(until=now))
        self._due, self._next_due = iter(()), _NEVER
        self.tally.due += never
        self.tally.unsent += never + self._waiting
        self._waiting = []
        for connection in self.live:
            self.tally.unsent += connection.held or ()
            connection.held = None

    def _finish(self) -> None:
        """Counts what was left unanswered and closes everything."""
        if self._done.done():
            return
        now = clock()
        self._drop_due(now)
        for connection in [*self.live, *self._retiring]:
            for intended in connection.pending[::2]:
                self.tally.count("unanswered", intended)
            connection.pending.clear()
            self._close(connection, now)
        if not self.slot.get("finished_ns"):
            self.slot.set("finished_ns", now)
        self._publish(clock())
        self._done.set_result(None)

    # -- connections

    def _open(self, due_ns: int, route: Route, first: bool, scheduled: bool = False) -> None:
        connection = Connection(self, due_ns, route, first, has_successor=self.plan.lifetime_ns is not None)
        connection.opening = scheduled
        if self._first_is_due:
            self._first_is_due, self.first = False, connection
        self._opening += scheduled
        if self.stage is Stage.RAMP:
            self._noted_ns = max(self._noted_ns, due_ns)
        self.tally.count("asked", due_ns)
        task = self.loop.create_task(self._connect(connection))
        self._connecting.append((clock() + self.plan.connect_timeout_ns, task, connection))

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

    def _not_opened(self, connection: Connection, number: int) -> None:
        now = clock()
        connection.state = State.CLOSED
        self.tally.count("failed_connects", connection.due_ns)
        self.tally.error("connect", number, now)
        self.prove(connection, "failed")
        self._settle(connection)
        self.settle_opening(connection)
        self._again(connection)

    def _not_needed(self, connection: Connection) -> None:
        """The run is over and it was still connecting: one of the first is missing, a successor was asked in vain."""
        if connection.first:
            self._not_opened(connection, OwnError.RUN_ENDED)
        else:
            connection.state = State.CLOSED
            self.tally.count("asked", connection.due_ns, -1)

    def _settle(self, connection: Connection) -> None:
        if connection.first:
            self._settled += 1
            self._settled_ns = clock()
            connection.first = False
            # At once: the parent makes the rates of the ramp's tenths of them.
            self.slot.set("settled_ns", self._settled_ns)
            self.slot.set("settled", self._settled)

    def prove(self, connection: Connection, proof: str) -> None:
        """If it is the run's first connection: its first reply was right, or it failed."""
        if connection is not self.first:
            return
        self.first = None
        if proof == "failed" and not self._is_started:
            # Another one would be a second connection to a target that may be wrong.
            connection.has_successor = False
        self.slot.set("proved", PROOFS.index(proof))

    def settle_opening(self, connection: Connection) -> None:
        """Its first reply has come, or it has ended without."""
        if connection.opening:
            connection.opening = False
            self._opening -= 1
            if self._opening == self._most_opening - 1:
                self._arm()

    def opened(self, connection: Connection) -> None:
        """A connection is established: its first message goes out at once."""
        if self._done.done():
            connection.close(Close.RST)
            self._not_needed(connection)
            return
        # Its first message is the new phase's if one has begun, and then counts against --messages.
        self._enter_phases(connection.established_ns)
        self.tally.connected.extend((connection.due_ns, connection.established_ns))
        connection.place = len(self.live)
        self.live.append(connection)
        self._peak = max(self._peak, len(self.live) + len(self._retiring))
        self._settle(connection)
        if self.plan.lifetime_ns:
            self._expiring.append((connection.established_ns + self.plan.lifetime_ns, connection))
            if len(self._expiring) == 1:
                self._arm()
        if self.stage is Stage.DRAIN:
            return
        if self.sending:
            self._spend()
        elif not self.closed_loop:
            self.tally.due.append(connection.established_ns)
        if self.stage is Stage.RAMP:
            self._noted_ns = connection.established_ns
        connection.send(connection.established_ns)
        if self.sending and not self._is_churning_exchanges:
            self.room(connection)
        waiting, self._waiting = self._waiting, []
        for intended in waiting:
            self._dispatch(intended, was_held=True)

    def _spend(self) -> None:
        """Takes a message off what --messages allows; the last one begins the drain."""
        self.budget -= 1
        if self.budget <= 0:
            self._due, self._next_due = iter(()), _NEVER
            self.sending = self.free_running = False
            self._end_if_spent()
            if self._tick_handle and self.stage is Stage.TRAFFIC:
                self._tick_handle.cancel()
                self._tick_handle = self.loop.call_later(0, self._tick)

    def _end_if_spent(self) -> None:
        """The last of --messages has gone out: nothing is left but replies."""
        if self.budget > 0 or self.stage is not Stage.TRAFFIC or self._waiting:
            return
        if not any(connection.held for connection in self.live):
            self._begin_drain(self.plan.timeout_ns, self.plan.held_ns)

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
        held = connection.held
        while held and connection.has_room():
            connection.send(held.popleft())
        while self.sending and connection.has_room():
            connection.send(clock())
            self._spend()

    def broken(self, connection: Connection, step: str, number: int) -> None:
        """The connection failed: its messages are counted as failed, what it held goes to others."""
        now = clock()
        self.tally.error(step, number, now)
        self.prove(connection, "failed")
        for intended in connection.pending[::2]:
            self.tally.count("failed", intended)
        connection.pending.clear()
        held, connection.held = connection.held, None
        self._retiring.discard(connection)
        self._close(connection, now, Close.RST)
        for intended in held or ():
            self._dispatch(intended, was_held=True)
        self._again(connection)

    def _again(self, connection: Connection) -> None:
        """In churn a connection that failed has a successor a little later; elsewhere it is missing, and said to be."""
        if connection.has_successor and self.stage is not Stage.DRAIN:
            self.loop.call_later(_RETRY_S, self._reopen, connection.route)

    def _reopen(self, route: Route) -> None:
        if self.stage is not Stage.DRAIN:
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
        for intended in held or ():
            self._dispatch(intended, was_held=True)

    def _end_of_life(self, connection: Connection, due_ns: int) -> None:
        self._close(connection, due_ns)
        if connection.has_successor and self.stage is not Stage.DRAIN:
            self._open(due_ns, connection.route, first=False)

    def _close(self, connection: Connection, now: int, how: Close | None = None) -> None:
        if connection.place >= 0:
            self._leave(connection)
        connection.close(how or self.plan.close)
        self.settle_opening(connection)
        self.tally.count("closed", now)

    def _leave(self, connection: Connection) -> None:
        """Takes a connection out of the list that messages are spread over; the last one takes its place."""
        last = self.live.pop()
        if last is not connection:
            self.live[connection.place] = last
            last.place = connection.place
        connection.place = -1

    # -- messages of an open loop

    def _dispatch_due(self, intended: int) -> None:
        self.tally.due.append(intended)
        self._dispatch(intended)
        self._spend()

    def _dispatch(self, intended: int, was_held: bool = False) -> None:
        """Gives a due message to the connection whose turn it is. One that `was_held` is not counted as that again."""
        if self.stage is Stage.DRAIN and (self._held_until == _NEVER or self._held_until <= clock()):
            self.tally.unsent.append(intended)
            return
        connection = None
        if self.live:
            self._turn += 1
            connection = self.live[self._turn % len(self.live)]
            if connection.has_room():
                connection.send(intended)
                return
        if connection is None and (self.plan.lifetime_ns is None or self.stage is Stage.DRAIN):
            self.tally.unsent.append(intended)
            return
        if not was_held:
            self.tally.count("waited", intended)
        if connection:
            connection.hold(intended)
        else:
            self._waiting.append(intended)

    def _find_timeouts(self, now: int) -> None:
        """Looks at a tenth of the connections, so that each is looked at once a second."""
        limit = now - self.plan.timeout_ns
        count = min(len(self.live), len(self.live) // 10 + 1)
        for _ in range(count):
            if not self.live:
                break
            self._scan = (self._scan + 1) % len(self.live)
            self._check_timeout(self.live[self._scan], limit)
        for connection in list(self._retiring):
            self._check_timeout(connection, limit)

    def _check_timeout(self, connection: Connection, limit: int) -> None:
        if connection.pending and connection.pending[1] <= limit:
            self.broken(connection, "receive", OwnError.REPLY_TIMEOUT)


def _endless(routes: tuple[Route, ...]) -> Iterator[Route]:
    """Yields each route as often as it has connections, in turn, over and over."""
    while True:
        for route in routes:
            for _ in range(route.connections):
                yield route
