"""A connection whose messages are longer than a loop takes at once."""

from __future__ import annotations

from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.crowd import Crowd
from loadkit.plan.target import Route
from loadkit.wire.script import PIECE_BYTES

__all__ = ["LongConnection"]


class LongConnection(Connection):
    """One with messages longer than PIECE_BYTES: each goes out piece by piece, as far as the socket takes them.

    A transport may copy what the socket does not take at once (asyncio's does, up to Python 3.11).
    """

    __slots__ = ("owed",)

    def __init__(self, swarm: Crowd[Connection], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        super().__init__(swarm, due_ns, route, first, has_successor)
        self.owed = 0  # bytes of the last message; where there are any, the socket is full

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.paused = False
        self._write_on()
        if not self.paused:
            self.swarm.room(self)

    def _write(self, intended: int, taken: int, sent: int) -> None:
        at = self.sent
        super()._write(intended, taken, sent)
        self.expected = None  # no chunk is a whole reply
        self.owed = max(0, self.sent - at - PIECE_BYTES)
        self._write_on()

    def _write_on(self) -> None:
        while self.owed and not self.paused and self.state is not State.CLOSED:
            piece = self.swarm.stream.piece(self.sent - self.owed, self.owed)
            self.owed -= len(piece)
            self.transport.write(piece)
