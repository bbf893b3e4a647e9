"""Deadlines of connections, updated lazily; native/deadlines.h does the same in C."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.schedule import NEVER

__all__ = ["Deadlines"]

# A time-out is found at most this part of it later, so that those of many connections are found together.
_GRAINS = 64
_LONGEST_GRAIN_NS = 100_000_000
_FEW = 1024


class Deadlines:
    """A connection has at most one entry that counts: the one whose time it remembers as `timer_ns`.

    Times are rounded up to a grain, so many connections share one: an entry costs 8 bytes, and a connection that is
    closed its memory until it is tidied away.
    """

    __slots__ = ("_at", "_count", "_times", "grain_ns")

    def __init__(self, shortest_ns: int) -> None:
        """`shortest_ns` is the shortest time-out there is."""
        self._at: dict[int, list[Connection]] = {}
        self._times: list[int] = []  # a heap of its keys
        self._count = 0
        self.grain_ns = min(max(1, shortest_ns // _GRAINS), _LONGEST_GRAIN_NS)

    @property
    def first_ns(self) -> int:
        """When the first one is; NEVER if there is none."""
        return self._times[0] if self._times else NEVER

    def push(self, connection: Connection, at_ns: int) -> int:
        """Has a connection checked then, or a little later together with others. Returns when."""
        at_ns += self.grain_ns - 1
        at_ns -= at_ns % self.grain_ns
        known = self._at.get(at_ns)
        if known is None:
            self._at[at_ns] = known = []
            heapq.heappush(self._times, at_ns)
        known.append(connection)
        self._count += 1
        connection.timer_ns = at_ns
        return at_ns

    def due(self, now: int) -> Iterator[Connection]:
        """Yields the connections whose time has come, including those that are pushed meanwhile."""
        while self._times and self._times[0] <= now:
            at_ns = heapq.heappop(self._times)
            connections = self._at.pop(at_ns)
            self._count -= len(connections)
            for connection in connections:
                if connection.timer_ns == at_ns:
                    connection.timer_ns = 0
                    yield connection

    def tidy(self, live: int) -> None:
        """Drops the closed ones, once they are more than half of many; so many connections are `live`."""
        if self._count <= 2 * live + _FEW:
            return
        for at_ns, connections in self._at.items():
            self._at[at_ns] = [one for one in connections if one.timer_ns == at_ns and one.state is not State.CLOSED]
        self._count = sum(map(len, self._at.values()))
