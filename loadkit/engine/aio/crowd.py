"""The seam between connection.py and what is above it: what connections share, and what they report."""

from __future__ import annotations

import abc
import time
from typing import Generic, TypeVar

from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.watch import Watch
from loadkit.engine.base import CAME_BYTES
from loadkit.measure.names import STAMP_SOURCES
from loadkit.measure.tally import FOLD_EVERY, Tally
from loadkit.wire.check import judge_of
from loadkit.wire.echo import Echo
from loadkit.wire.script import Stream
from loadkit.wire.unmarked import Closed, Quiet
from loadkit.wire.wires import framing_of

__all__ = ["Crowd"]

Member = TypeVar("Member")  # a connection


class Crowd(abc.ABC, Generic[Member]):
    """What the connections of a worker share, each value one step away from them, and what they report to it.

    The swarm is a crowd (swarm.py). A connection knows no more of it than this.
    """

    def __init__(self, context: BlastContext) -> None:
        shard, slot = context.shard, context.slot
        load = shard.load
        self.shard = shard
        self.load = load
        self.slot = slot
        self.stamps = STAMP_SOURCES[slot.get("stamp_source")] == "rx"
        self.sets_sockets = bool(load.sockets)
        self.closed_loop = not load.is_timed
        rule = shard.wire.rule
        self.script = shard.wire.script
        self.stream = Stream(self.script)
        self.messages = self.stream.messages
        self.cycle = self.stream.cycle
        self.framing = framing_of(rule, self.stream)
        self.judge = judge_of(shard.wire.judging)
        self.is_ended_by_peer = isinstance(rule, Closed)  # a reply ends with its connection
        self.quiet_ns = rule.quiet_ns if isinstance(rule, Quiet) else 0  # a reply ends if nothing came for so long
        self.size = self.script.size  # 0: messages have several lengths
        self.is_patched = bool(self.script.patches)
        self._begun = self._noted = 0  # connections of this worker, and messages with something fresh
        self._wall_ns = time.time_ns() - time.monotonic_ns()
        self.depth = load.depth
        # Whether a reply is known to the byte: then a right one can take a shorter path.
        self.foresees = isinstance(rule, Echo) and rule.check and self.size > 0
        self.timeout_ns = load.timeout_ns
        self.tally = Tally(slot, self.size, due_is_sent=self.closed_loop)
        self.watch = Watch(slot, self.tally, load.phases, context.last_wait)
        self.exchanges = self.tally.exchanges
        self.note_exchange = self.tally.exchanges.extend
        self.fold_length = 2 * FOLD_EVERY
        self.sending = False  # a closed loop answers each reply with the next message
        self.free_running = False  # … and has nothing else to decide
        self.live: list[Member] = []
        self.alarm_ns = (
            0  # a reply from then on calls `look`: it may come after a standstill, or after the end of a phase
        )
        self.replied_ns = 0  # when whole replies came last
        # The run's first connection, until its first reply is known to be right or wrong, and what came on it.
        self.first: Member | None = None
        self.came = b""

    def keep(self, chunk: bytes) -> None:
        """Keeps how what came on the run's first connection begins."""
        self.came = (self.came + chunk[:CAME_BYTES])[:CAME_BYTES]

    # -- what a connection sends

    def next_origin(self) -> int:
        """Returns where in the stream the next connection of this worker begins."""
        self._begun += 1
        return self.script.origin(self.last_number)

    @property
    def last_number(self) -> int:
        """The number, among all connections of the run, of the one that began last."""
        return self.shard.index + (self._begun - 1) * self.shard.of

    def next_values(self, connection: int, sent: int) -> tuple[int, ...]:
        """Returns what is fresh in the next message, in the order of FRESH, on a connection of that number."""
        number = self.shard.index + self._noted * self.shard.of
        self._noted += 1
        return number, connection, self.shard.index, sent + self._wall_ns

    # -- what a connection reports

    @abc.abstractmethod
    def look(self, now: int) -> None:
        """A reply has come at or after `alarm_ns`. Called before it is counted."""

    @abc.abstractmethod
    def opened(self, connection: Member) -> None:
        """It is established, and has nothing to say before its first message."""

    @abc.abstractmethod
    def established(self, connection: Member) -> bool:
        """It is established, and its set-up may begin; False if the run is over."""

    @abc.abstractmethod
    def shaken(self, connection: Member, now: int) -> None:
        """Its set-up is done."""

    @abc.abstractmethod
    def not_shaken(self, connection: Member, number: int) -> None:
        """Its set-up has failed, with an errno or a number of the step `handshake`."""

    @abc.abstractmethod
    def met_itself(self, connection: Member) -> None:
        """Both its ends are the same socket."""

    @abc.abstractmethod
    def answered(self, connection: Member, now: int) -> None:
        """The first bytes of its first reply have come."""

    @abc.abstractmethod
    def prove(self, connection: Member, proof: str) -> None:
        """Its first reply was right, or it failed."""

    @abc.abstractmethod
    def replied(self, connection: Member, now: int) -> None:
        """Whole replies have come, and are noted."""

    @abc.abstractmethod
    def room(self, connection: Member) -> None:
        """Its socket takes bytes again."""

    @abc.abstractmethod
    def broken(self, connection: Member, step: str, number: int) -> None:
        """It has failed at a step, with an errno or a number of OwnError."""

    # -- what a connection needs

    @abc.abstractmethod
    def need_reply_by(self, connection: Member, at_ns: int) -> None:
        """Has the connection checked at that time."""

    @abc.abstractmethod
    def is_too_late(self, sent_ns: int, now: int) -> bool:
        """Whether a reply that is read now came after the time-out."""

    @abc.abstractmethod
    def spend(self, count: int = 1) -> None:
        """Takes messages off what --messages allows."""

    @abc.abstractmethod
    def arm(self) -> None:
        """Sets the timer for what is due first."""

    @abc.abstractmethod
    def may_open(self) -> bool:
        """Whether another connection may still open if none is open: in churn."""

    @abc.abstractmethod
    def may_go_out(self) -> bool:
        """Whether a message that is due may go out: until a little while into the drain."""
