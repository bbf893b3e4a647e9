"""Pauses of a closed loop that thinks: between a reply and the next message of its connection; native/pauses.h in C."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from loadkit.chance import share_at
from loadkit.distribution import Drawing
from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.aio.schedule import NEVER

__all__ = ["Thinking"]

_ROUND = 128
_FEW = 1024


class Thinking:
    """The connections that pause, by when they are done with it.

    An entry of a connection that has ended is dropped when its time comes, or when such entries are more than half.
    """

    __slots__ = ("_drawing", "_drawn", "_entries", "_heap", "_seed", "_swarm", "is_on")

    def __init__(self, swarm: Crowd[Connection]) -> None:
        load = swarm.load
        self._swarm = swarm
        self._drawing = Drawing(load.pauses) if load.pauses else None
        self._seed = load.pause_seed(swarm.shard.index)
        self._drawn = itertools.count()
        self._entries: dict[Connection, int] = {}  # when the pause of each connection ends
        self._heap: list[tuple[int, int, Connection]] = []
        self.is_on = False  # replies are followed by pauses

    @property
    def is_asked(self) -> bool:
        """Whether this run thinks."""
        return self._drawing is not None

    @property
    def next_ns(self) -> int:
        """When the first pause ends; NEVER if there is none."""
        return self._heap[0][0] if self._heap else NEVER

    def begin(self, connection: Connection, from_ns: int, is_first: bool = False) -> None:
        """The connection pauses from then on, if it does not yet and has room.

        The first pause is the rest of one that is under way, as if this had gone on for ever: so connections do not go
        in step.
        """
        if self._drawing is None or connection in self._entries or not connection.has_room():
            return
        if len(self._heap) > _FEW + 2 * len(self._entries):
            self._keep(lambda _at: True)
        share = share_at(self._seed, next(self._drawn))
        if is_first:
            pause = round(self._drawing.under_way(share) * share_at(self._seed, next(self._drawn)))
        else:
            pause = self._drawing.at(share)
        at_ns = from_ns + pause
        self._entries[connection] = at_ns
        heapq.heappush(self._heap, (at_ns, id(connection), connection))
        if at_ns < self._swarm.watch.asked_ns:
            self._swarm.arm()

    def end(self, connection: Connection) -> None:
        """The connection has ended."""
        self._entries.pop(connection, None)

    def send_due(self, now: int) -> None:
        """Sends the messages whose pauses are over, at most a round of them."""
        for _ in range(_ROUND):
            if self.next_ns > now:
                break
            self._take()

    def _take(self) -> None:
        at_ns, _, connection = heapq.heappop(self._heap)
        if self._entries.get(connection) != at_ns:
            return
        del self._entries[connection]
        if connection.state is State.OPEN:
            self._swarm.tally.due.append(at_ns)
            self._swarm.spend()
            connection.send(at_ns, None)

    # -- the end

    def stop(self) -> None:
        """No more messages are due: the last of --messages is."""
        self.is_on = False
        self._keep(lambda _at: False)

    def cut(self, now: int) -> None:
        """Nothing new falls due."""
        self.is_on = False
        self._keep(lambda at_ns: at_ns <= now)

    def drop(self) -> None:
        """Counts as unsent what is due."""
        self._swarm.tally.due += self._entries.values()
        self._swarm.tally.unsent += self._entries.values()
        self.stop()

    def _keep(self, is_kept: Callable[[int], bool]) -> None:
        self._entries = {connection: at_ns for connection, at_ns in self._entries.items() if is_kept(at_ns)}
        self._heap = [(at_ns, id(connection), connection) for connection, at_ns in self._entries.items()]
        heapq.heapify(self._heap)
