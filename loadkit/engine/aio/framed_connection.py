"""A connection of another wire than the echo: a framing says where its replies end, a judge whether they are right."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Sequence
from typing import Any

from loadkit.engine.aio.connect import has_events
from loadkit.engine.aio.connection import OPENING, State
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.long_connection import LongConnection
from loadkit.measure.names import EXTRA_BYTES, OwnError, place_of
from loadkit.measure.wrong import note_wrong
from loadkit.plan.target import Route
from loadkit.units import NS_PER_S
from loadkit.wire.check import Judge
from loadkit.wire.protocol import WRONG_REPLY, Unexpected

__all__ = ["FramedConnection"]

# What has come is read in the loop's next turn.
_A_TURN_NS = 1_000_000

clock = time.monotonic_ns


class FramedConnection(LongConnection):
    """One that keeps the progress of its reply. The reply may come before all of its message is written."""

    __slots__ = ("came_ns", "judged", "last_ns", "progress", "quiet", "wrong")

    def __init__(self, swarm: Crowd[Any], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        super().__init__(swarm, due_ns, route, first, has_successor)
        self.progress = swarm.framing.begin
        self.came_ns = 0  # when bytes of its reply came last
        self.quiet: asyncio.TimerHandle | None = None  # finds out whether the reply is over
        self.judged = 0
        self.wrong: dict[int, bytes] = {}  # of the replies that have just ended, the last pieces of the wrong ones
        self.last_ns = 0  # when its last message was sent

    def waits_since(self) -> int | None:
        """Since when it waits for a reply, or for room alone; None if it waits for nothing."""
        if self.pending or not self.paused or self.state in (State.HANDSHAKING, State.CLOSED):
            return super().waits_since()
        return self.last_ns

    def _write(self, intended: int, taken: int, sent: int) -> None:
        self.last_ns = sent
        super()._write(intended, taken, sent)

    def _count_replies(self, chunk: bytes) -> int:
        framing, awaited, error = self.swarm.framing, len(self.pending) // 3, ""
        ends: Sequence[int]
        if self.swarm.quiet_ns:
            if not awaited:
                return 0  # the rest of a reply that was taken for whole
            self._wait_for_quiet()
        try:
            self.progress, ends = framing.feed(self.progress, chunk)
        except Unexpected as unexpected:
            ends, error = unexpected.ends, unexpected.error
        if len(ends) > awaited or (len(ends) == awaited and (error or not ends or ends[-1] < len(chunk))):
            ends, error = ends[:awaited], EXTRA_BYTES
        if judge := self.swarm.judge:
            self._judge(judge, ends, chunk)
        if error:
            raise Unexpected(error, ends)
        return len(ends)

    # -- replies that no byte ends

    def eof_received(self) -> None:
        """The peer sends no more: of some services that is where a reply ends."""
        if self.swarm.is_ended_by_peer and self.received and self.pending and self.state is not State.CLOSED:
            self._end_reply(clock())

    def _wait_for_quiet(self) -> None:
        self.came_ns = clock()
        if not self.quiet:
            self.quiet = asyncio.get_running_loop().call_later(self.swarm.quiet_ns / NS_PER_S, self._look_for_quiet)

    def _look_for_quiet(self) -> None:
        """Ends the reply if nothing came for long enough, and nothing lies there that the loop has not read yet."""
        self.quiet = None
        if self.state is State.CLOSED or not self.pending:
            return
        left = self.came_ns + self.swarm.quiet_ns - clock()
        if left <= 0 and has_events(self.transport.get_extra_info("socket").fileno(), select.POLLIN):
            left = _A_TURN_NS
        if left > 0:
            self.quiet = asyncio.get_running_loop().call_later(left / NS_PER_S, self._look_for_quiet)
        else:
            self._end_reply(self.came_ns)

    def _end_reply(self, at_ns: int) -> None:
        """The reply that is under way is whole: its last byte came then."""
        swarm, is_right = self.swarm, True
        self.progress = swarm.framing.begin
        if swarm.judge:
            is_right, self.judged = swarm.judge.is_right(self.judged), 0
        if not is_right and self is swarm.first:
            swarm.broken(self, *place_of(WRONG_REPLY))
            return
        self.wrong = {} if is_right else {0: b""}
        late, noted = self._take_replies(1, at_ns)
        if noted:  # its bytes have been counted as they came
            swarm.tally.extra.extend((at_ns, -noted * swarm.size))
        if late:
            swarm.broken(self, "receive", late)
            return
        if self is swarm.first:
            swarm.prove(self, "right")
        swarm.replied(self, clock())

    # -- what replies say

    def _judge(self, judge: Judge, ends: Sequence[int], chunk: bytes) -> None:
        """Finds the replies that do not say what they should. Raises Unexpected if that is the target's first one."""
        at = 0
        for number, end in enumerate(ends):
            piece, at = chunk[at:end], end
            judged, self.judged = judge.feed(self.judged, piece), 0
            if judge.is_right(judged):
                continue
            if self is self.swarm.first:
                raise Unexpected(WRONG_REPLY, ends[:number])
            self.wrong[number] = piece
        if at < len(chunk):
            self.judged = judge.feed(self.judged, chunk[at:])

    def _take_replies(self, count: int, now: int) -> tuple[int, int]:
        if not self.wrong:
            return super()._take_replies(count, now)
        wrong, self.wrong = self.wrong, {}
        noted = 0
        for number in range(count):
            if number in wrong:
                late = self._take_wrong(wrong[number], now)
            else:
                late, one = super()._take_replies(1, now)
                noted += one
            if late:
                return late, noted
        return 0, noted

    def _take_wrong(self, piece: bytes, now: int) -> int:
        """Its message has failed, and the connection goes on. Returns a number of OwnError if it came too late."""
        swarm, pending = self.swarm, self.pending
        intended, _taken, sent = pending[:3]
        if now - sent > swarm.timeout_ns and swarm.is_too_late(sent, now):
            return OwnError.REPLY_TIMEOUT
        del pending[:3]
        if intended != OPENING:
            swarm.tally.count("failed", intended)
        step, error = place_of(WRONG_REPLY)
        swarm.tally.error(step, error, now)
        if piece:
            note_wrong(swarm.slot, piece)
        swarm.replied_ns = now
        return 0
