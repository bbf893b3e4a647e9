"""What is still due in a phase: one event at a time, and the rest as a number; native/schedule.h is the same in C."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

import numpy as np

from loadkit.chance import GOLDEN, MIXERS
from loadkit.plan.arrivals import BLOCK_UNITS, PoissonProcess, sizes_at_most
from loadkit.plan.pacing import LinearPace, share

__all__ = ["NEVER", "RandomSchedule", "Schedule", "Scheduled"]

NEVER = 2**62

_COUNTED_AT_ONCE = 1 << 16


class Scheduled(Protocol):
    """The events of a worker that are still to come. `next_ns` is when the next one is due; NEVER at the end."""

    next_ns: int

    def advance(self) -> None:
        """Goes on to the next event."""

    def left(self) -> int:
        """Returns how many events are left, without walking them."""

    def clear(self) -> None:
        """Drops them all."""

    def cut(self, until_ns: int) -> None:
        """Drops what is due after `until_ns`."""


class Schedule:
    """The events index, index + of, index + 2 of, … of a pace, at most `most` of them."""

    __slots__ = ("_next", "_of", "_pace", "_total", "next_ns")

    def __init__(self, pace: LinearPace | None = None, index: int = 0, of: int = 1, most: int = NEVER) -> None:
        self._pace = pace
        self._next = index
        self._of = of
        total = pace.total() if pace and max(pace.start_hz, pace.end_hz) > 0 else 0
        self._total = min(total, index + most * of)
        self._find()

    def _find(self) -> None:
        self.next_ns = self._pace.time(self._next) if self._pace and self._next < self._total else NEVER

    def advance(self) -> None:
        """Goes on to the next event."""
        self._next += self._of
        self._find()

    def left(self) -> int:
        """Returns how many events are left, without walking them."""
        return max(0, -(-(self._total - self._next) // self._of))

    def clear(self) -> None:
        """Drops them all."""
        self._total = 0
        self._find()

    def cut(self, until_ns: int) -> None:
        """Drops what is due after `until_ns`."""
        if self._pace is None:
            return
        low, high = self._next, self._total
        while low < high:  # the first event past it: time grows with k
            middle = (low + high) // 2
            if self._pace.time(middle) <= until_ns:
                low = middle + 1
            else:
                high = middle
        self._total = low
        self._find()


class RandomSchedule:
    """The random arrivals of a pace that are worker `index` of `of`'s (plan/arrivals.py), at most `most` of them."""

    __slots__ = ("_block", "_index", "_most", "_number", "_of", "_pace", "_places", "_process", "_until_ns", "next_ns")

    def __init__(self, pace: LinearPace, seed: int, index: int, of: int, most: int = NEVER) -> None:
        self._pace = pace
        self._process = PoissonProcess(seed)
        self._index, self._of = index, of
        self._most = most if max(pace.start_hz, pace.end_hz) > 0 else 0
        self._until_ns = pace.begin_ns + pace.duration_ns - 1
        # The block that comes next, the number of its first message, and ours of the block before, the last one first.
        self._block = self._number = 0
        self._places: list[float] = []
        self._find()

    def _time(self, place: float) -> int:
        return self._pace.begin_ns + round(self._pace.after_ns(place))

    def _find(self) -> None:
        self.next_ns = NEVER
        if self._most <= 0:
            return
        while not self._places:
            if self._time(self._block * BLOCK_UNITS) > self._until_ns:
                return
            self._places = self._take_block()
        at_ns = self._time(self._places[-1])
        if at_ns <= self._until_ns:
            self.next_ns = at_ns

    def _take_block(self) -> list[float]:
        places = self._process.places(self._block, self._number, self._index, self._of)
        self._number += self._process.size(self._block)
        self._block += 1
        return places[::-1]

    def advance(self) -> None:
        """Goes on to the next event."""
        self._places.pop()
        self._most -= 1
        self._find()

    def left(self) -> int:
        """Returns how many events are left, counted by blocks."""
        if self._most <= 0:
            return 0
        left = self._due_of(self._places)
        last = self._last_block()
        if last >= self._block:
            number = self._number + sum_of_sizes(self._process, self._block, last)
            left += share(number, self._index, self._of) - share(self._number, self._index, self._of)
            left += self._due_of(self._process.places(last, number, self._index, self._of))
        return min(left, self._most)

    def _due_of(self, places: list[float]) -> int:
        return sum(self._time(place) <= self._until_ns for place in places)

    def _last_block(self) -> int:
        """Returns the last block that begins by the end; -1 if none does."""
        high = 1
        while self._time(high * BLOCK_UNITS) <= self._until_ns:
            high *= 2
        return bisect_right(range(high), self._until_ns, key=lambda block: self._time(block * BLOCK_UNITS)) - 1

    def clear(self) -> None:
        """Drops them all."""
        self._most = 0
        self._find()

    def cut(self, until_ns: int) -> None:
        """Drops what is due after `until_ns`."""
        self._until_ns = min(self._until_ns, until_ns)
        self._find()


def sum_of_sizes(process: PoissonProcess, first: int, end: int) -> int:
    """Returns how many messages the blocks from `first` to before `end` have, together."""
    total, at_most = 0, np.array(sizes_at_most())
    for begin in range(first, end, _COUNTED_AT_ONCE):
        blocks = np.arange(begin, min(begin + _COUNTED_AT_ONCE, end), dtype=np.uint64)
        total += int(np.searchsorted(at_most, shares_at(process.sizes_seed, blocks), "right").sum())
    return total


def shares_at(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Returns the shares of a seed at these numbers, as chance.py does one by one."""
    word = np.uint64(seed) + (numbers + np.uint64(1)) * np.uint64(GOLDEN)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(MIXERS[0])
    word = (word ^ (word >> np.uint64(27))) * np.uint64(MIXERS[1])
    return ((word ^ (word >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
