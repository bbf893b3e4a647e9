"""What is still due in a phase: one event at a time, and the rest as a number; native/schedule.h is the same in C."""

from __future__ import annotations

from loadkit.plan.pacing import LinearPace

__all__ = ["NEVER", "Schedule"]

NEVER = 2**62


class Schedule:
    """The events index, index + of, index + 2 of, … of a pace, at most `most` of them.

    `next_ns` is when the next one is due; NEVER at the end.
    """

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
