"""How connections begin: a connect along a route, and what becomes of it.

native/connections.c has the same in its first half.
"""

from __future__ import annotations

import abc
import asyncio
import errno
import time

from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.connects import Connects
from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.framed_connection import FramedConnection
from loadkit.engine.aio.long_connection import LongConnection
from loadkit.engine.aio.oldest import OldestFirst
from loadkit.engine.aio.setup import Setup, SetupStep
from loadkit.engine.aio.slots import Slots
from loadkit.engine.aio.timeline import ROUND, Stage
from loadkit.measure.names import OwnError
from loadkit.measure.tcp_info import is_unacknowledged
from loadkit.plan.target import Route
from loadkit.profile.blast import Close
from loadkit.wire.echo import Echo
from loadkit.wire.script import PIECE_BYTES

__all__ = ["Opening"]

# A churning connection that could not be opened, or broke, is tried again after this: long enough not to hammer a peer
# that refuses, short enough that a restarted one is found.
_RETRY_S = 0.1

clock = time.monotonic_ns


class Opening(Slots):
    """Opens the connections of a shard under way."""

    def __init__(self, context: BlastContext) -> None:
        super().__init__(context)
        self.loop = context.loop
        is_short = self.script.longest <= PIECE_BYTES and not self.is_patched
        self._kind = Connection if is_short else LongConnection
        if not isinstance(self.shard.wire.rule, Echo):
            self._kind = FramedConnection
        self._setup = tuple(SetupStep.of(step, self.stream) for step in self.shard.setup)
        self._connects = Connects(
            self.loop, self.shard, self.watch, self.timeouts.grain_ns, self._protocol_of, self._connect_failed
        )
        self._expiring: OldestFirst[tuple[int, Connection]] = OldestFirst(lambda one: one[1].state is State.CLOSED)
        self._first_is_due = self.shard.opens_first  # the next connection that begins is the run's first

    @abc.abstractmethod
    def _begin_messages(self, connection: Connection) -> None:
        """It is open: its first message goes out at once, and in a closed loop as many as there is room for."""

    def _open_due(self, now: int) -> None:
        """Begins the connects that are due, at most a round of them."""
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

    def _protocol_of(self, connection: Connection) -> asyncio.Protocol:
        return Setup(connection, self._setup) if self._setup else connection

    def _connect_failed(self, connection: Connection, number: int | None) -> None:
        if number is not None:
            self._not_opened(connection, number)
        elif self.is_over:
            self._not_needed(connection)
        else:
            self._not_opened(connection, OwnError.CONNECT_TIMEOUT)

    def _not_opened(self, connection: Connection, number: int, step: str = "connect") -> None:
        now = clock()
        connection.state = State.CLOSED
        self.tally.count("failed_connects", connection.due_ns)
        self.tally.error(step, number, now)
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

    def _not_needed(self, connection: Connection, step: str = "connect") -> None:
        """The run is over and it was not open yet. One of the first is missing; a successor is not counted."""
        if connection.first:
            self._not_opened(connection, OwnError.RUN_ENDED, step)
        else:
            connection.state = State.CLOSED
            self.tally.count("asked", connection.due_ns, -1)

    def opened(self, connection: Connection) -> None:
        """A connection is established: its first message goes out at once."""
        if self._is_late(connection):
            return
        self.tally.connected.extend((connection.due_ns, connection.established_ns))
        self._opened(connection)

    def established(self, connection: Connection) -> bool:
        """A connection is established, and its set-up begins. It is watched for as long as a connect is."""
        if self._is_late(connection):
            return False
        at = connection.established_ns
        self.tally.established.extend((connection.due_ns, at))
        connection.state = State.HANDSHAKING
        self._shaking.add(connection)
        self.need_reply_by(connection, at + self.load.connect_timeout_ns)
        return True

    def shaken(self, connection: Connection, now: int) -> None:
        """Its set-up is done: it begins anew, with its first message."""
        self._shaking.discard(connection)
        self.tally.shaken.extend((connection.due_ns, connection.established_ns, now))
        connection.established_ns = now
        connection.received = 0
        if connection is self.first:
            self.came = b""  # what came before its first reply is none of it
        connection.state = State.OPEN
        self._enter_phases(now)
        self._opened(connection)

    def not_shaken(self, connection: Connection, number: int) -> None:
        """Its set-up has failed. If the peer has acknowledged nothing, it never accepted the connection."""
        step, sock = "handshake", connection.transport.get_extra_info("socket")
        is_silent = number == OwnError.HANDSHAKE_TIMEOUT and not connection.received
        if is_silent and is_unacknowledged(sock.fileno()):
            step, number = "connect", OwnError.NOT_ACCEPTED
        self._shaking.discard(connection)
        connection.close(Close.RST)
        self._not_opened(connection, number, step)

    def _end_setups(self) -> None:
        """The run is over: ends those whose set-up is not done."""
        for connection in [*self._shaking]:
            connection.close(Close.RST)
            self._not_needed(connection, "handshake")
        self._shaking.clear()

    def _is_late(self, connection: Connection) -> bool:
        """Whether it was established when the run was over. If not, the phases that have begun by then are entered."""
        if self.is_over:
            connection.close(Close.RST)
            self._not_needed(connection)
            return True
        # Its first message is the new phase's if one has begun, and then counts against --messages.
        self._enter_phases(connection.established_ns)
        return False

    def _opened(self, connection: Connection) -> None:
        self.outbox.is_full = False
        self._join(connection)
        if self.load.lifetime_ns:
            self._expiring.append((connection.established_ns + self.load.lifetime_ns, connection))
            if len(self._expiring) == 1:
                self.arm()
        if self._is_ending():
            self.settle(connection)
            return
        if self.stage is Stage.RAMP:
            self._noted_ns = connection.established_ns
        self._begin_messages(connection)

    def _again(self, connection: Connection) -> None:
        """In churn, a connection that failed has a successor a little later. Else it is missing, and counted so."""
        if connection.has_successor and not self._is_ending():
            self.loop.call_later(_RETRY_S, self._reopen, connection.route)

    def _reopen(self, route: Route) -> None:
        if not self._is_ending():
            self._open(clock(), route, first=False)
