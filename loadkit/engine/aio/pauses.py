"""What a worker missed: when it did not look at its schedule, and when it stood still.

Pure; native/looks.h and native/standstills.h are the same in C.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

__all__ = ["BEAT_NS", "STANDSTILL_NS", "Looks", "Standstills"]

# A wait or turn that takes this much longer than asked is a standstill.
STANDSTILL_NS = 10_000_000
# A wait is not longer than this, so that a standstill is seen where nothing else is due.
BEAT_NS = 100_000_000
_GAP_NS = 1_000_000
_GAPS = 1024
_REMEMBERED = 64


class Looks:
    """The gaps between two looks at the schedule that were longer than a millisecond, the latest of them.

    A message that had to wait for room was late because of the worker until the worker first looked at the schedule at
    or after it was due, and because of the target from then on. Outside the gaps that is the moment it was due.
    """

    __slots__ = ("_from", "_last_ns", "_to")

    def __init__(self, now_ns: int) -> None:
        self._last_ns = now_ns
        self._from: list[int] = []
        self._to: list[int] = []

    def note(self, now_ns: int) -> None:
        """Says that the schedule is looked at."""
        if now_ns - self._last_ns > _GAP_NS:
            self._from.append(self._last_ns)
            self._to.append(now_ns)
            if len(self._to) > 2 * _GAPS:
                del self._from[:_GAPS], self._to[:_GAPS]
        self._last_ns = now_ns

    def forget(self, since_ns: int) -> None:
        """Forgets the looks since then: the worker did not know the schedule yet."""
        self._last_ns = min(self._last_ns, since_ns - 1)

    def after(self, at_ns: int) -> int:
        """Returns when the schedule was first looked at, at or after that time."""
        gap = bisect_left(self._to, at_ns)
        return self._to[gap] if gap < len(self._to) and self._from[gap] < at_ns else at_ns


class Standstills:
    """The standstills that a worker noticed. `last` has the latest (begin, end) in order."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def note(self, begin_ns: int, end_ns: int) -> None:
        """Adds one."""
        self.last.append((begin_ns, end_ns))

    def since(self, at_ns: int) -> int:
        """Returns how much of the time since then the worker stood still."""
        total = 0
        for begin, end in reversed(self.last):
            if end <= at_ns:
                break
            total += end - max(begin, at_ns)
        return total
