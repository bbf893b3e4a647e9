"""Where the connections of a worker stand: open or retiring, settled, proved, answered; native/slots.c is its twin.

Messages are spread over the open connections, `live`, in no order. Each connection knows its place there, and the last
one takes the place of one that leaves. A connection leaves when its life is over, and is in `_retiring` until its last
reply has come. Before it can take messages it is in `_shaking`, while its set-up lasts.

Nothing here opens, sends or closes: what does is opening.py, outbox.py and swarm.py.
"""

from __future__ import annotations

import time

import numpy as np

from loadkit.engine.aio.connection import OPENING, Connection
from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.sampling import Sampling
from loadkit.engine.aio.timeline import Stage, Timeline
from loadkit.measure.names import PROOFS, OwnError
from loadkit.measure.settings import note_settings
from loadkit.measure.tally import record
from loadkit.measure.tcp_info import is_unacknowledged

__all__ = ["Slots"]

clock = time.monotonic_ns


class Slots(Timeline):
    """The connections of a shard under way, by where they stand."""

    def __init__(self, context: BlastContext) -> None:
        super().__init__(context)
        self._retiring: set[Connection] = set()
        self._shaking: set[Connection] = set()
        self._sampling = Sampling()
        self._alone_ns = clock()  # when a connection was open last
        self._answered = 0  # open connections that have had a reply, until the measured time began
        self._settled = self._settled_ns = 0
        self._peak = 0

    # -- all of them

    def _measure(self, phase: int | None) -> None:
        if phase is None:
            self._sampling.watch.end()
        else:
            self._sampling.watch.begin(self.slot.pages[phase], self.live)

    def _look_after(self, now: int) -> None:
        """Notes when a connection was open last, and samples some that are, ten times a second."""
        if self.live or self._retiring or self.stage is Stage.RAMP:
            self._alone_ns = now
        self.timeouts.tidy(len(self.live) + len(self._retiring) + len(self._shaking))
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

    def _count_replies(self) -> None:
        """Records how many replies each open connection had: at the end."""
        if self.live:
            count = self.script.count
            sent = [count(one.origin + one.sent) - count(one.origin) for one in self.live]
            replies = [messages - len(one.pending) // 3 for messages, one in zip(sent, self.live, strict=True)]
            record(self.slot.pages[0], "per_connection", np.array(replies, np.int64))

    # -- one of them

    def _join(self, connection: Connection) -> None:
        """It takes messages from now on."""
        self._alone_ns = connection.established_ns
        self._sampling.watch.opened(connection)
        connection.place = len(self.live)
        self.live.append(connection)
        self._peak = max(self._peak, len(self.live) + len(self._retiring))

    def _leave(self, connection: Connection) -> None:
        """Takes a connection out of the list that messages are spread over; the last one takes its place."""
        last = self.live.pop()
        if last is not connection:
            self.live[connection.place] = last
            last.place = connection.place
        connection.place = -1

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
