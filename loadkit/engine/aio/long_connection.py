"""A connection whose messages are longer than a loop takes at once, or have something fresh in each."""

from __future__ import annotations

from loadkit.engine.aio.connection import Bytes, Connection, State
from loadkit.engine.aio.crowd import Crowd
from loadkit.plan.target import Route
from loadkit.wire.script import PIECE_BYTES

__all__ = ["LongConnection"]


class LongConnection(Connection):
    """One with messages longer than PIECE_BYTES: each goes out piece by piece, as far as the socket takes them.

    A transport may copy what the socket does not take at once (asyncio's does, up to Python 3.11).
    """

    __slots__ = ("number", "owed", "values")

    def __init__(self, swarm: Crowd[Connection], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        super().__init__(swarm, due_ns, route, first, has_successor)
        self.owed = 0  # bytes of the last message; where there are any, the socket is full
        self.number = swarm.last_number  # of the run's connections
        self.values: tuple[int, ...] = ()  # of the last message, for its patches

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

    def _patched(self, message: Bytes, place: int, sent: int) -> Bytes:
        self.values = self.swarm.next_values(self.number, sent)
        return self.swarm.stream.patched(message, place, self.values)

    def _write_on(self) -> None:
        while self.owed and not self.paused and self.state is not State.CLOSED:
            place = self.origin + self.sent - self.owed
            piece: Bytes = self.swarm.stream.piece(place, self.owed)
            if self.values:
                piece = self.swarm.stream.patched(piece, place, self.values)
            self.owed -= len(piece)
            self.transport.write(piece)
