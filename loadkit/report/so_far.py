"""Figures of a run that goes on: what those of figures.py come to so far, in the measured time or in a stretch of it.

Messages under way have no outcome yet, and are left out; but those that have been under way for longer than the bound
that a figure is compared with are later than that, whatever becomes of them. A mean has them with the bound, as the
least that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loadkit.measure.histogram import percentiles_supported, rank_of
from loadkit.measure.so_far import SoFar
from loadkit.units import NS_PER_S, format_count, format_share, plural

__all__ = ["WAYS", "Found", "Stretch", "Way", "count_so_far", "rate_so_far", "share_lost", "time_so_far"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a figure comes to, or why it has no value; `is_never`: it lies among what never came back."""

    value: float | None
    reason: str | None = None
    is_never: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """What came in `measured_ns` of a run.

    `late` are under way, and have been for longer than the bound, `bound_ns`. `is_single`: it is one of several
    stretches in a row, which support a percentile together.
    """

    came: SoFar
    measured_ns: int
    late: int = 0
    bound_ns: float = 0.0
    is_single: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """What the values of a time are of: the counter of those begun, and those of the ends that bring none."""

    begun: str
    came: str | None
    lost: tuple[str, ...] = ()

    def under_way(self, counters: Mapping[str, int]) -> int:
        """Returns how many were begun and have not ended. What has no end of its own is not under way."""
        if self.came is None:
            return 0
        return max(0, counters[self.begun] - counters[self.came] - self.count_lost(counters))

    def count_lost(self, counters: Mapping[str, int]) -> int:
        """Returns how many ended without a value."""
        return sum(counters[name] for name in self.lost)


# The first byte of a connection has no counter: what is under way of it cannot be told from what is lost.
WAYS: Mapping[str, Way] = {
    "connect": Way("asked", "opened", ("failed_connects",)),
    "handshake": Way("asked", "opened", ("failed_connects",)),
    "first_byte": Way("opened", None),
    "latency": Way("intended", "replied", ("failed", "unanswered", "unsent")),
    "service": Way("sent", "replied", ("failed", "unanswered")),
    "lateness": Way("sent", None),
    "held": Way("intended", "sent", ("unsent",)),
}


def time_so_far(time: str, part: str) -> Callable[[Stretch], Found]:
    """Returns what reads `part` (min, mean, max or pN) of the histogram of a time, as figures.py does at the end."""

    def read(stretch: Stretch) -> Found:
        histogram = stretch.came.histograms[time]
        gone = WAYS[time].count_lost(stretch.came.counters) + stretch.came.dropped[time]
        lost = gone + stretch.late
        of = histogram.count + lost
        if not of:
            return Found(None, "not measured")
        value: float | None
        if part.startswith("p"):
            if not stretch.is_single and not percentiles_supported(of, part[1:]):
                return Found(None, f"{plural(of, 'value')}: too few for a {part}")
            rank = rank_of(of, part[1:])
            value = histogram.at_rank(rank) if rank <= histogram.count else None
        elif part == "min":
            value = histogram.min_ns if histogram.count else None
        elif part == "mean":
            value = None if gone else (histogram.sum_ns + stretch.late * stretch.bound_ns) / of
        else:
            value = None if lost else histogram.max_ns
        return Found(value) if value is not None else _never(lost, of)

    return read


def _never(lost: int, of: int) -> Found:
    return Found(None, f"{format_share(lost / of)} of {format_count(of)} did not come back", is_never=True)


def count_so_far(name: str) -> Callable[[Stretch], Found]:
    """Returns what reads a counter of the board."""
    return lambda stretch: Found(stretch.came.counters[name])


def rate_so_far(counter: str) -> Callable[[Stretch], Found]:
    """Returns what reads a counter of the board per second."""

    def read(stretch: Stretch) -> Found:
        if stretch.measured_ns <= 0:
            return Found(None, "not measured")
        return Found(stretch.came.counters[counter] * NS_PER_S / stretch.measured_ns)

    return read


def share_lost(failed: int, unanswered: int, unsent: int, intended: int) -> Found:
    """Returns (failed + unanswered + unsent) / due: error_ratio."""
    lost = failed + unanswered + unsent
    # In a stretch of a run more can fail than fall due.
    due = max(intended, lost)
    return Found(lost / due) if due else Found(None, "no message was due")
