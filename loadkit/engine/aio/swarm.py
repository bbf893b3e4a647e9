r"""The blast end's connections: their lives, from the connect to the close.

    CONNECTING -> OPEN -> CLOSED               a connection (connection.py)
                     \-> RETIRING -> CLOSED    past its lifetime: closes with its last reply

timeline.py says when something happens, outbox.py what waits to be sent: the same three rooms as native/connections.c,
native/blast.c and native/messages.c.

Messages are spread over the open connections, `live`, in no order. Each connection knows its place there, and the last
one takes the place of one that leaves. A connection leaves when its life is over, and is in `_retiring` until its last
reply has come. In churn, a connection that ended or failed has a successor along the same route.
"""

from __future__ import annotations

import errno
import time
from itertools import pairwise

import numpy as np

from loadkit.engine.aio.connection import OPENING, Connection, State
from loadkit.engine.aio.connects import Connects
from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.framed_connection import FramedConnection
from loadkit.engine.aio.long_connection import LongConnection
from loadkit.engine.aio.oldest import OldestFirst
from loadkit.engine.aio.sampling import Sampling
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.timeline import ROUND, Stage, Timeline
from loadkit.measure.names import PROOFS, OwnError
from loadkit.measure.settings import note_settings
from loadkit.measure.tally import record
from loadkit.measure.tcp_info import is_unacknowledged
from loadkit.plan.target import Route
from loadkit.profile.blast import Close
from loadkit.wire.echo import Echo
from loadkit.wire.script import PIECE_BYTES

__all__ = ["Swarm"]

# A churning connection that could not be opened, or broke, is tried again after this: long enough not to hammer a peer
# that refuses, short enough that a restarted one is found.
_RETRY_S = 0.1

clock = time.monotonic_ns


class Swarm(Timeline):
    """The connections of a shard under way."""

    def __init__(self, context: BlastContext) -> None:
        super().__init__(context)
        self.loop = context.loop
        self._kind = Connection if self.script.longest <= PIECE_BYTES else LongConnection
        if not isinstance(self.shard.wire.rule, Echo):
            self._kind = FramedConnection
        self._connects = Connects(self.loop, self.shard, self.watch, self.timeouts.grain_ns, self._connect_failed)
        self._expiring: OldestFirst[tuple[int, Connection]] = OldestFirst(lambda one: one[1].state is State.CLOSED)
        self._retiring: set[Connection] = set()
        self._sampling = Sampling()
        self._alone_ns = clock()  # when a connection was open last
        self._answered = 0  # open connections that have had a reply, until the measured time began
        self._settled = self._settled_ns = 0
        self._peak = 0
        self._first_is_due = self.shard.opens_first  # the next connection that begins is the run's first

    # -- called by the time line and the loop

    def _do_due(self, now: int) -> None:
        """Does what is due: connects, messages, deadlines, ends of lives."""
        openings = self.openings
        openings.look_before(now, self.stage is Stage.RAMP)
        for _ in range(ROUND):
            if openings.next_ns > now:
                break
            due, route = openings.take()
            is_ramp = self.stage is Stage.RAMP
            if is_ramp and self.load.connect_rate_hz is None:
                due = clock()  # a closed loop of connects: no rate says when
            self._open(due, route, first=is_ramp, scheduled=True)
        self.outbox.send_due(now)
        if self._connects.next_ns <= now:
            self._connects.expire(now)
        self.timeouts.judge(now)
        while self._expiring and self._expiring.oldest[0] <= now:
            self._retire(*self._expiring.pop())

    def _first_end(self) -> int:
        """Returns when the first life is over, or the first connect takes too long."""
        return min(self._connects.next_ns, self._expiring.oldest[0]) if self._expiring else self._connects.next_ns

    def _retire_last(self, count: int, at_ns: int) -> None:
        for _ in range(count):
            if self.live:
                self._retire(at_ns, self.live[-1], reopen=False)

    def _fill_all(self) -> None:
        self._fill_some(list(self.live))

    def _measure(self, phase: int | None) -> None:
        if phase is None:
            self._sampling.watch.end()
        else:
            self._sampling.watch.begin(self.slot.pages[phase], self.live)

    def _begin_draining(self) -> None:
        self._sampling.watch.end()
        self._expiring.clear()

    def _keep_up(self, now: int) -> None:
        """Gives back what is kept of connections that are over, and samples some that are not, ten times a second."""
        if self.live or self._retiring or self.stage is Stage.RAMP:
            self._alone_ns = now
        # A connection that is over still takes memory, and so does its task.
        self._connects.tidy()
        self._expiring.tidy()
        self.timeouts.tidy(len(self.live) + len(self._retiring))
        self._sampling.look(self.slot.pages[self._phase], self.live)

    def _publish(self, now: int) -> None:
        """Writes everything to the board."""
        self.tally.fold()
        self.tally.fold_cpu(now)
        self.slot.set("open", len(self.live) + len(self._retiring))
        self.slot.set("peak", self._peak)
        self.slot.set("replied_ns", self.replied_ns)
        self.slot.set("settled_ns", self._settled_ns)
        self.slot.set("settled", self._settled)

    def _is_waiting(self) -> bool:
        return bool(self._retiring) or any(connection.pending for connection in self.live)

    def _is_stranded(self, now: int) -> bool:
        if self.live or self._retiring:
            return False
        if self.load.lifetime_ns is not None:
            alone = now - self._alone_ns - self.watch.standstills.since(self._alone_ns)
            return self.load.is_endless and alone > self.timeout_ns
        later = self.load.phases[self._phase :]
        opens_later = not self.openings.has_enough and any(
            two.connections > one.connections for one, two in pairwise(later)
        )
        return self.openings.due_ns == NEVER and not self._connects.are_under_way() and not opens_later

    def _close_all(self, now: int) -> None:
        """Counts what was left unanswered, and closes every connection."""
        if self.live:
            replies = [self.script.count(one.sent) - len(one.pending) // 3 for one in self.live]
            record(self.slot.pages[0], "per_connection", np.array(replies, np.int64))
        for connection in [*self.live, *self._retiring]:
            if connection.pending and not connection.received:
                self._check_accepted(connection, now)
            self._count_pending(connection, "unanswered")
            self._close(connection, now)
        self._retiring.clear()

    # -- connections

    def _open(self, due_ns: int, route: Route, first: bool, scheduled: bool = False) -> None:
        connection = self._kind(self, due_ns, route, first, has_successor=self.load.lifetime_ns is not None)
        connection.opening = scheduled
        if self._first_is_due:
            self._first_is_due, self.first = False, connection
        self.openings.opening += scheduled
        if self.stage is Stage.RAMP:
            self._noted_ns = max(self._noted_ns, due_ns)
        self.tally.count("asked", due_ns)
        self._connects.begin(connection)

    def _connect_failed(self, connection: Connection, number: int | None) -> None:
        if number is not None:
            self._not_opened(connection, number)
        elif self.is_over:
            self._not_needed(connection)
        else:
            self._not_opened(connection, OwnError.CONNECT_TIMEOUT)

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
        if self.is_over:
            self._not_needed(connection)
        else:
            self._not_opened(connection, errno.ECONNREFUSED)

    def _not_needed(self, connection: Connection) -> None:
        """The run is over and it was still connecting. One of the first is missing; a successor is not counted."""
        if connection.first:
            self._not_opened(connection, OwnError.RUN_ENDED)
        else:
            connection.state = State.CLOSED
            self.tally.count("asked", connection.due_ns, -1)

    def settle(self, connection: Connection) -> None:
        """Its first reply has come, or it has ended without one."""
        if connection.first:
            self._settled += 1
            self._settled_ns = clock()
            connection.first = False
            # At once, because the parent computes the rates of the ramp's tenths from them.
            self.slot.set("settled_ns", self._settled_ns)
            self.slot.set("settled", self._settled)
        if connection.opening:
            connection.opening = False
            if self.openings.settle():
                self.arm()

    def prove(self, connection: Connection, proof: str) -> None:
        """If it is the run's first connection: its first reply was right, or it failed."""
        if connection is not self.first:
            return
        self.first = None
        if proof == "failed" and not self._is_started:
            # Another one would be a second connection to a target that may be wrong.
            connection.has_successor = False
        if proof == "right":
            note_settings(self.slot, connection.transport.get_extra_info("socket"))
        self.slot.set("proved", PROOFS.index(proof))

    def opened(self, connection: Connection) -> None:
        """A connection is established: its first message goes out at once."""
        if self.is_over:
            connection.close(Close.RST)
            self._not_needed(connection)
            return
        # Its first message is the new phase's if one has begun, and then counts against --messages.
        self._enter_phases(connection.established_ns)
        self.tally.connected.extend((connection.due_ns, connection.established_ns))
        self.outbox.is_full = False
        self._alone_ns = connection.established_ns
        self._sampling.watch.opened(connection)
        connection.place = len(self.live)
        self.live.append(connection)
        self._peak = max(self._peak, len(self.live) + len(self._retiring))
        if self.load.lifetime_ns:
            self._expiring.append((connection.established_ns + self.load.lifetime_ns, connection))
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
        if self.outbox.homeless:
            self.outbox.fill(connection)

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
        outbox = self.outbox
        if connection.held or outbox.homeless or outbox.is_full:
            outbox.fill(connection)
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
        """Counts messages without a reply. In an open loop the first message of a connection is not one of them."""
        for intended in connection.pending[::3]:
            if intended != OPENING:
                self.tally.count(counter, intended)
        connection.pending.clear()

    def _check_accepted(self, connection: Connection, now: int) -> bool:
        """Whether a connection that is open here was never accepted by the peer (a SYN cookie): then it failed."""
        if not is_unacknowledged(connection.transport.get_extra_info("socket").fileno()):
            return False
        self.tally.fold()
        self.tally.count("opened", connection.due_ns, -1)
        self.tally.count("failed_connects", connection.due_ns)
        self.tally.count("closed", now, -1)  # it is closed all the same
        self.tally.error("connect", OwnError.NOT_ACCEPTED, now)
        return True

    def _again(self, connection: Connection) -> None:
        """In churn, a connection that failed has a successor a little later. Else it is missing, and counted so."""
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
        self._sampling.watch.closing(connection)
        connection.close(how or self.load.close)
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
        """For the parent, until the window begins. It may read this only when a short window is over already."""
        if not self._has_measured:
            self._answered += change
            self.slot.set("answered", self._answered)

    def need_reply_by(self, connection: Connection, at_ns: int) -> None:
        """Has it looked at when the time of its oldest message is over."""
        self.timeouts.need_reply_by(connection, at_ns)

    def is_too_late(self, sent_ns: int, now: int) -> bool:
        """Whether a reply that is read now came after the time-out."""
        return self.timeouts.is_too_late(sent_ns, now)

    def _fill_some(self, waiting: list[Connection]) -> None:
        """Starts a closed loop on all connections, a round at a time so that replies are read in between."""
        now = clock()
        for connection in waiting[:ROUND]:
            if connection.state is State.OPEN:
                self.replied(connection, now)
        if waiting[ROUND:]:
            self.loop.call_soon(self._fill_some, waiting[ROUND:])
