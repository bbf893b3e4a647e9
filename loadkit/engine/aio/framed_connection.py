"""A connection of another wire than the echo: a framing says where its replies end."""

from __future__ import annotations

from typing import Any

from loadkit.engine.aio.connection import State
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.long_connection import LongConnection
from loadkit.measure.names import EXTRA_BYTES
from loadkit.plan.target import Route
from loadkit.wire.protocol import Unexpected

__all__ = ["FramedConnection"]


class FramedConnection(LongConnection):
    """One that keeps the progress of its reply. The reply may come before all of its message is written."""

    __slots__ = ("last_ns", "progress")

    def __init__(self, swarm: Crowd[Any], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        super().__init__(swarm, due_ns, route, first, has_successor)
        self.progress = swarm.framing.begin
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
        framing, awaited = self.swarm.framing, len(self.pending) // 3
        try:
            self.progress, ends = framing.feed(self.progress, chunk)
        except Unexpected as unexpected:
            if len(unexpected.ends) < awaited:
                raise
            raise Unexpected(EXTRA_BYTES, unexpected.ends[:awaited]) from None
        if len(ends) > awaited or (len(ends) == awaited and (not ends or ends[-1] < len(chunk))):
            raise Unexpected(EXTRA_BYTES, ends[:awaited])
        return len(ends)
