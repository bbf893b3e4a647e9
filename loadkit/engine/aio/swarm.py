r"""The blast end's connections, from the first message to the close.

    CONNECTING -> OPEN -> CLOSED                     a connection (connection.py)
          |          \-> RETIRING -> CLOSED          past its lifetime: closes with its last reply
          \-> HANDSHAKING -> OPEN                    where something is said before the first message (setup.py)

The same rooms as the compiled core: slots.py says where connections stand (native/slots.c), opening.py begins them and
this ends them (connections.c), outbox.py has what waits to be sent (messages.c), connection.py takes replies
(replies.c), timeline.py says when something happens (phases.c), timeouts.py what takes too long (overdue.c), and
blasting.py is the loop around it (blast.c).

In churn, a connection that ended or failed has a successor along the same route.
"""

from __future__ import annotations

import time
from itertools import pairwise

from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.opening import Opening
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.timeline import ROUND
from loadkit.measure.names import OwnError
from loadkit.profile.blast import Close

__all__ = ["Swarm"]

clock = time.monotonic_ns


class Swarm(Opening):
    """The connections of a shard under way."""

    # -- called by the time line and the loop

    def _do_due(self, now: int) -> None:
        """Does what is due: connects, messages, deadlines, ends of lives."""
        self._open_due(now)
        self.outbox.send_due(now)
        self.thinking.send_due(now)
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

    def _begin_draining(self) -> None:
        self._sampling.watch.end()
        self._expiring.clear()

    def _keep_up(self, now: int) -> None:
        """Looks after those that are open, and gives back what is kept of others, ten times a second."""
        # A connection that is over still takes memory, and so does its task.
        self._connects.tidy()
        self._expiring.tidy()
        self._look_after(now)

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
        is_opening = self._connects.are_under_way() or self._shaking
        return self.openings.due_ns == NEVER and not is_opening and not opens_later

    def _close_all(self, now: int) -> None:
        """Counts what was left unanswered, and closes every connection."""
        self._count_replies()
        for connection in [*self.live, *self._retiring]:
            if connection.pending and not connection.received:
                self._check_accepted(connection, now)
            self._count_pending(connection, "unanswered")
            self._close(connection, now)
        self._retiring.clear()
        self._end_setups()

    # -- messages

    def _begin_messages(self, connection: Connection) -> None:
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
        elif self._is_churning_exchanges and (self.sending or self.is_ended_by_peer):
            if not connection.pending:
                self._end_of_life(connection, now)
        else:
            self.room(connection)

    def room(self, connection: Connection) -> None:
        """Sends what is held, or in a closed loop the next messages, while there is room."""
        outbox = self.outbox
        if connection.held or outbox.homeless or outbox.is_full:
            outbox.fill(connection)
        if self.thinking.is_on:
            self.thinking.begin(connection, clock())
        while self.sending and connection.has_room():
            now = clock()
            if now >= self.next_phase_ns:  # with a large depth this takes long
                self.look(now)
                continue
            connection.send(now, now)
            self.spend()

    def _fill_some(self, waiting: list[Connection]) -> None:
        """Starts a closed loop on all connections, a round at a time so that replies are read in between."""
        now = clock()
        for connection in waiting[:ROUND]:
            if self.thinking.is_on:
                self.thinking.begin(connection, now, is_first=True)
            elif connection.state is State.OPEN:
                self.replied(connection, now)
        if waiting[ROUND:]:
            self.loop.call_soon(self._fill_some, waiting[ROUND:])

    # -- ends

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
        self.thinking.end(connection)
        connection.close(how or self.load.close)
        self.settle(connection)
        self._count_answered(-(connection.received > 0))
        self.outbox.is_full = False
        self.tally.count("closed", now)
