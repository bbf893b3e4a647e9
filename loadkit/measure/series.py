"""The rows of a series, of which there are only so many however long it goes on.

Beyond that, neighbours of a phase are merged, one for each row that comes: to rows of two seconds first, from the
oldest on; once all are that long, to rows of four, and so on. So a row costs one merge at most, the newest rows are the
finest, and no row is longer than twice the time there is divided by `most`. Rows of two phases are never merged.
"""

from __future__ import annotations

import bisect

from loadkit.measure.samples import IntervalSample
from loadkit.units import NS_PER_S

__all__ = ["MOST_ROWS", "STEP_NS", "Rows"]

# Ten minutes of seconds; a figure is not wider than that in points. With its histogram a row takes 1 to 3 KB.
MOST_ROWS = 600
STEP_NS = NS_PER_S


def _place(row: IntervalSample) -> tuple[int, int]:
    return row.phase, row.t_ns


class Rows:
    """At most `most` rows, or one for each phase if there are more phases than that."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._rows: list[IntervalSample] = []  # by phase, and then by time
        self._at = 0  # where neighbours are merged next
        self._width_ns = STEP_NS  # … if they are not longer than this together

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: IntervalSample) -> None:
        """Adds a row, later than those of its phase so far."""
        bisect.insort(self._rows, row, key=_place)
        if len(self._rows) > self._most:
            self._merge_two()

    def by_time(self) -> tuple[IntervalSample, ...]:
        """Returns the rows in the order of their ends, and of their phases where these are the same."""
        return tuple(sorted(self._rows, key=lambda row: (row.t_ns, row.phase)))

    def _merge_two(self) -> None:
        """Merges the next row with its neighbour; in vain if each phase has a row."""
        while True:
            is_whole_round = not self._at
            while self._at + 1 < len(self._rows):
                one, later = self._rows[self._at : self._at + 2]
                if one.phase == later.phase and later.t_ns - one.from_ns <= self._width_ns:
                    self._rows[self._at : self._at + 2] = [one.plus(later)]
                    return
                self._at += 1
            if is_whole_round and self._width_ns > max(row.t_ns for row in self._rows):
                return
            self._at = 0
            self._width_ns *= 2
