"""Messages of an open loop: taken out of the schedule, given to connections, and kept while these have no room.

A message waits for the connection whose turn it was. If that ends first, it waits for any that has room. It never waits
for a certain one again: each message is moved once at most, so an end costs no more where many wait.
"""

from __future__ import annotations

import time
from collections import deque

from loadkit.engine.aio.connection import Connection
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.pauses import Looks
from loadkit.engine.aio.schedule import NEVER, Schedule, Scheduled

__all__ = ["Outbox"]

_ROUND = 128
# Messages that may wait for room on their connections; beyond that they stay in the schedule, which needs no memory.
_MOST_WAITING = 1 << 16
# A message of a phase that has ended still goes out if the worker comes to it no later than this.
_EDGE_NS = 10_000_000

clock = time.monotonic_ns


class Outbox:
    """A worker's messages between the moment they are due and the moment they are sent.

    `waiting` counts the messages that wait on their connections, and those that are `homeless`: they wait for any, as
    their connection has ended, or as churn had none open. The outbox `is_full` if the most that may wait do so and no
    connection has room. The rest stays in the schedule then.
    """

    def __init__(self, swarm: Crowd[Connection]) -> None:
        self._swarm = swarm
        self._tally = swarm.tally
        self._due: Scheduled = Schedule()
        self._turn = 0
        self.homeless = deque[int]()
        self.looks = Looks(clock())
        self.waiting = 0
        self.is_full = False

    @property
    def next_ns(self) -> int:
        """When the next message can be taken. If the outbox is full, that is when a reply makes room."""
        return NEVER if self.is_full else self._due.next_ns

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing falls due any more."""
        return self._due.next_ns == NEVER and not self.waiting

    # -- phases

    def begin(self, schedule: Scheduled) -> None:
        """A phase begins, with a schedule of its own."""
        self._due = schedule

    def end_phase(self, at_ns: int, now: int) -> None:
        """The phase ended at `at_ns`. What it has left is counted there, and takes no time of the next phase."""
        if self.is_empty:
            return
        if now < at_ns + _EDGE_NS:
            for _ in range(_ROUND):
                if self._due.next_ns >= at_ns or self.waiting or not self.take():
                    break
        self.drop()

    def spend(self) -> None:
        """The last of --messages is taken: no more fall due."""
        self._due.clear()

    def cut(self, now: int) -> None:
        """Nothing new falls due."""
        self._due.cut(now)

    def drop(self) -> None:
        """Counts as unsent what waits, and what the schedule has left."""
        left = self._due.left()
        if left:
            for counter in ("intended", "unsent", "waited") if self.is_full else ("intended", "unsent"):
                self._tally.count(counter, self._due.next_ns, left)
            self._swarm.spend(left)
        self._due.clear()
        self.is_full = False
        if not self.waiting:
            return
        self._tally.unsent += self.homeless
        self.homeless.clear()
        for connection in self._swarm.live:
            self._tally.unsent += connection.held or ()
            connection.held = None
        self.waiting = 0

    # -- messages

    def send_due(self, now: int) -> None:
        """Takes messages that are due, at most a round of them."""
        for _ in range(_ROUND):
            if self.next_ns > now or not self.take():
                break

    def take(self) -> bool:
        """Takes the next message out of the schedule. Returns False if there is no place for it, and it stays there."""
        intended, live = self._due.next_ns, self._swarm.live
        if not live and not self._swarm.may_open():
            self._count(intended)
            self._tally.unsent.append(intended)
            return True
        has_place = self.waiting < _MOST_WAITING
        connection = self._next_turn() if live else None
        if connection and not has_place and not connection.has_room():
            connection = self._find_room()
        if connection is None and not has_place:
            self.is_full = True
            return False
        self._count(intended)
        if connection and connection.has_room():
            # While others wait, this one may also have waited for a connection.
            connection.send(intended, self.looks.after(intended) if self.waiting else None)
        else:
            self._tally.count("waited", intended)
            self._keep(connection, intended)
        return True

    def fill(self, connection: Connection) -> None:
        """Sends, while there is room, what waits for this connection or for any, the older first; then what is due."""
        held, homeless = connection.held, self.homeless
        while (held or homeless) and connection.has_room():
            is_own = held and not (homeless and homeless[0] < held[0])
            intended = held.popleft() if held and is_own else homeless.popleft()
            self.waiting -= 1
            connection.send(intended, self.looks.after(intended))
        if self.is_full and not held and not homeless:
            self._fill_from_schedule(connection)

    def _fill_from_schedule(self, connection: Connection) -> None:
        now = clock()
        self.looks.note(now)
        while self._due.next_ns <= now and connection.has_room():
            intended = self._due.next_ns
            self._tally.count("waited", intended)
            self._count(intended)
            connection.send(intended, self.looks.after(intended))
        if self._due.next_ns > now:
            self.is_full = False
            self._swarm.arm()

    def give_held(self, held: deque[int] | None) -> None:
        """Sends messages that waited on a connection that is over, as far as others have room; the rest waits for any.

        They are unsent if no connection is to come. As many connections are tried as messages have come, and one at
        least: what waits for any never waits while each has room.
        """
        turns = len(held or ()) + bool(self.homeless)
        self.homeless += held or ()
        swarm = self._swarm
        if self.homeless and not (swarm.may_go_out() and (swarm.live or swarm.may_open())):
            self._tally.unsent += self.homeless
            self.waiting -= len(self.homeless)
            self.homeless.clear()
        for _ in range(min(turns, len(swarm.live))):
            if not self.homeless:
                break
            connection = self._next_turn()
            if connection.has_room():
                self.fill(connection)

    def _count(self, intended: int) -> None:
        self._due.advance()
        self._tally.due.append(intended)
        self._swarm.spend()

    def _keep(self, connection: Connection | None, intended: int) -> None:
        """Keeps a message until its connection has room, or until a connection opens."""
        self.waiting += 1
        if connection:
            connection.hold(intended)
        else:
            self.homeless.append(intended)

    def _next_turn(self) -> Connection:
        self._turn += 1
        return self._swarm.live[self._turn % len(self._swarm.live)]

    def _find_room(self) -> Connection | None:
        """Returns the next connection in turn that has room; None if there is none."""
        for _ in range(1, len(self._swarm.live)):
            connection = self._next_turn()
            if connection.has_room():
                return connection
        return None
