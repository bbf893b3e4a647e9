"""When to look at which connection again: a heap, lazily kept; native/deadlines.h is the same in C."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from loadkit.engine.aio.connection import Connection
from loadkit.engine.aio.schedule import NEVER

__all__ = ["Deadlines"]

# A time-out is found by this part of it later, at the most: those of many connections together.
_GRAINS = 64
_LONGEST_GRAIN_NS = 100_000_000


class Deadlines:
    """A connection has at most one entry that counts: the one whose time it remembers as `timer_ns`."""

    __slots__ = ("_heap", "_number", "grain_ns")

    def __init__(self, shortest_ns: int) -> None:
        """`shortest_ns` is the shortest time-out there is."""
        self._heap: list[tuple[int, int, Connection]] = []
        self._number = itertools.count()
        self.grain_ns = min(max(1, shortest_ns // _GRAINS), _LONGEST_GRAIN_NS)

    @property
    def first_ns(self) -> int:
        """When the first one is, NEVER when there is none."""
        return self._heap[0][0] if self._heap else NEVER

    def push(self, connection: Connection, at_ns: int) -> int:
        """Has it looked at then, or a little later with its neighbours; returns when."""
        at_ns += self.grain_ns - 1
        at_ns -= at_ns % self.grain_ns
        connection.timer_ns = at_ns
        heapq.heappush(self._heap, (at_ns, next(self._number), connection))
        return at_ns

    def due(self, now: int) -> Iterator[Connection]:
        """Yields those whose time has come; what is pushed meanwhile counts."""
        while self._heap and self._heap[0][0] <= now:
            at_ns, _number, connection = heapq.heappop(self._heap)
            if connection.timer_ns == at_ns:
                connection.timer_ns = 0
                yield connection
