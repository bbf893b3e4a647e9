"""A connection of another wire than the echo: a framing says where its replies end."""

from __future__ import annotations

from typing import Any

from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.long_connection import LongConnection
from loadkit.measure.names import EXTRA_BYTES
from loadkit.plan.target import Route
from loadkit.wire.protocol import Unexpected

__all__ = ["FramedConnection"]


class FramedConnection(LongConnection):
    """One that keeps the progress of its reply."""

    __slots__ = ("progress",)

    def __init__(self, swarm: Crowd[Any], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        super().__init__(swarm, due_ns, route, first, has_successor)
        self.progress = swarm.framing.begin

    def _count_replies(self, chunk: bytes) -> int:
        framing, awaited = self.swarm.framing, len(self.pending) // 3
        try:
            self.progress, replies = framing.feed(self.progress, chunk)
        except Unexpected as unexpected:
            if unexpected.replies < awaited:
                raise
            replies = awaited + 1
        if replies > awaited or (replies == awaited and self.progress != framing.begin):
            raise Unexpected(EXTRA_BYTES, awaited)
        return replies
