"""Replies that take too long: when a connection is looked at for that, and what is too late."""

from __future__ import annotations

import select

from loadkit.engine.aio.connect import has_events
from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.deadlines import Deadlines
from loadkit.engine.aio.pauses import STANDSTILL_NS
from loadkit.measure.names import OwnError

__all__ = ["Timeouts"]


class Timeouts:
    """The reply time-outs of a worker. What the worker itself stood still does not count against a reply."""

    __slots__ = ("_deadlines", "_setup_ns", "_swarm", "_timeout_ns", "_watch", "grain_ns")

    def __init__(self, swarm: Crowd[Connection]) -> None:
        self._swarm = swarm
        self._watch = swarm.watch
        self._timeout_ns = swarm.timeout_ns
        self._setup_ns = swarm.load.connect_timeout_ns
        self._deadlines = Deadlines(min(swarm.timeout_ns, swarm.load.connect_timeout_ns))
        self.grain_ns = self._deadlines.grain_ns

    @property
    def next_ns(self) -> int:
        """When the next one is looked at; NEVER if there is none."""
        return self._deadlines.first_ns

    def need_reply_by(self, connection: Connection, at_ns: int) -> None:
        """Has a connection looked at when the time of its oldest message is over; one look at a time will do."""
        if self._deadlines.push(connection, at_ns) < self._watch.asked_ns:
            self._swarm.arm()

    def is_too_late(self, sent_ns: int, now: int) -> bool:
        """Whether a reply that is read now came after the time-out.

        A standstill counts from when the wait was to end. If that was this message's own deadline, the time-out and its
        grain had passed by then.
        """
        slack = 2 * self.grain_ns if self._watch.standstills.since(sent_ns) else 0
        return self._watch.age(sent_ns, now) > self._timeout_ns + slack

    def judge(self, now: int) -> None:
        """Ends the connections whose oldest message has waited too long."""
        for connection in self._deadlines.due(now):
            since = connection.waits_since()
            if since is not None:
                self._judge_one(connection, since, now)

    def _judge_one(self, connection: Connection, since: int, now: int) -> None:
        is_shaking = connection.state is State.HANDSHAKING
        until = since + (self._setup_ns if is_shaking else self._timeout_ns) + self._watch.standstills.since(since)
        # What has come is read first, and judged by the wait that reported it. That takes a turn, which may be as long
        # as a standstill without being one; bytes that keep coming and end no reply are not waited for any longer.
        is_over = now > until + 2 * self.grain_ns + STANDSTILL_NS
        if until > now:
            self._deadlines.push(connection, until)
        elif not is_over and _has_moved(connection):
            self._deadlines.push(connection, now + self.grain_ns)
        elif is_shaking:
            self._swarm.not_shaken(connection, OwnError.HANDSHAKE_TIMEOUT)
        elif connection.pending:
            self._swarm.broken(connection, "receive", OwnError.REPLY_TIMEOUT)
        else:
            self._swarm.broken(connection, "send", OwnError.SEND_TIMEOUT)

    def tidy(self, live: int) -> None:
        """Lets go of connections that are closed; so many are `live`."""
        self._deadlines.tidy(live)


def _has_moved(connection: Connection) -> bool:
    """Whether the kernel has what it waits for, and the loop has not come to it: a reply, or room for a message."""
    fd = connection.transport.get_extra_info("socket").fileno()
    is_full = not connection.pending and connection.state is not State.HANDSHAKING
    return has_events(fd, select.POLLOUT if is_full else select.POLLIN)
