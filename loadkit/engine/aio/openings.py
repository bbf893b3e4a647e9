"""When a worker's connections are opened, and where each goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from loadkit.engine.aio.schedule import NEVER
from loadkit.measure.board import Slot
from loadkit.plan.split import Shard
from loadkit.plan.target import Route

__all__ = ["Openings"]

# How often we look whether the worker before us has connected: while it is at it, and before. Looks 20 ms apart left a
# gap in the ramp: 5 % of a tenth of 19,000 connections at 11,810/s.
_LOOK_NS = 2_000_000
_REST_NS = 20_000_000


class Openings:
    """The connects of a worker that are still to come: one schedule after the other, each time once.

    They wait while --opening connections are without their first reply, and while the worker before this one on its
    core, with the slot `before`, still connects. native/blast.c says why that does not change when they are due.
    """

    __slots__ = (
        "_before",
        "_connects_before",
        "_look_ns",
        "_most",
        "_routes",
        "_times",
        "due_ns",
        "has_enough",
        "opening",
    )

    def __init__(self, shard: Shard, before: Slot | None) -> None:
        self._times: Iterator[int] = iter(())
        self.due_ns = NEVER  # when the next one is
        self._routes = _endless(shard.routes)
        self._before = before
        self._connects_before = shard.connects_before
        self._look_ns = 0  # when to check again whether it is this worker's turn to connect
        self.opening = 0  # connections of a schedule that have no reply yet
        self._most = shard.most_opening
        self.has_enough = False  # no schedule opens any more connections

    @property
    def next_ns(self) -> int:
        """When the next connect can begin; NEVER if there is none, or if too many are opening."""
        if self.opening >= self._most:
            return NEVER
        return max(self.due_ns, self._look_ns) if self._before else self.due_ns

    def add(self, times: Iterator[int]) -> None:
        """Adds a schedule after what is left of the one before; does nothing after `stop`."""
        if self.has_enough:
            return
        left = [] if self.due_ns == NEVER else [self.due_ns]
        self._times = itertools.chain(left, self._times, times)
        self.due_ns = next(self._times, NEVER)

    def take(self) -> tuple[int, Route]:
        """Takes the next connect: when it was due, and its route."""
        due_ns, self.due_ns = self.due_ns, next(self._times, NEVER)
        return due_ns, next(self._routes)

    def clear(self) -> None:
        """Drops what is still to come."""
        self._times, self.due_ns = iter(()), NEVER

    def stop(self) -> None:
        """Opens no more, from any schedule."""
        self.clear()
        self.has_enough = True

    def settle(self) -> bool:
        """A connection is not opening any more. Returns whether another one may begin because of that."""
        self.opening -= 1
        return self.opening == self._most - 1

    def look_before(self, now: int, is_ramp: bool) -> None:
        """Checks whether the worker before this one has connected. After the ramp it is not waited for any longer."""
        if self._before and self.next_ns <= now:
            settled = self._before.get("settled")
            if settled >= self._connects_before or not is_ramp:
                self._before = None
            else:
                self._look_ns = now + (_LOOK_NS if settled else _REST_NS)


def _endless(routes: tuple[Route, ...]) -> Iterator[Route]:
    """Yields each route as often as it has connections, in turn, over and over."""
    while True:
        for route in routes:
            for _ in range(route.connections):
                yield route
