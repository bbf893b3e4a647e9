"""The classic buckets of Prometheus, counted off HDR histograms.

A counter of an HDR histogram whose values reach above a bound is not in the bucket of that bound: no value above it
is ever counted, and up to 0.1 % below it some are not. A percentile of a record is the greatest value of its counter
(measure/histogram.py), so the share in the bucket of an objective's threshold is at least 99 % exactly if p99 is at or
below the threshold.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadkit.errors import LoadkitError
from loadkit.measure.buckets import index_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import TIMES
from loadkit.report.slo import parse_slo
from loadkit.units import NS_PER_S

__all__ = ["STANDARD_NS", "Buckets", "bounds_of", "counted", "nothing", "of_histogram"]

# From 10 us to 60 s in steps of 1.3 to 1.7: what a bucket says of a percentile is right within a third.
_STEPS = (10, 15, 20, 30, 50, 70)
_LONGEST_NS = 60 * NS_PER_S
STANDARD_NS = (
    *(step * 10**power for power in range(3, 10) for step in _STEPS if step * 10**power < _LONGEST_NS),
    _LONGEST_NS,
)
# A bucket is a series of each phase.
MOST_OBJECTIVES = 64


class Buckets(NamedTuple):
    """How many values lie at or below each bound (ns), how many there are, and their sum in ns.

    `total` has those above every counter of the histogram too; they are in the bucket without a bound alone, and not
    in the sum.
    """

    bounds: tuple[int, ...]
    at_most: tuple[int, ...]
    total: int
    sum_ns: int

    def plus(self, other: Buckets) -> Buckets:
        """Returns the buckets of both; they have the same bounds."""
        at_most = tuple(one + more for one, more in zip(self.at_most, other.at_most, strict=True))
        return Buckets(self.bounds, at_most, self.total + other.total, self.sum_ns + other.sum_ns)


def bounds_of(objectives: Iterable[str]) -> Mapping[str, tuple[int, ...]]:
    """Returns the bounds of each time in ns, in order: the standard ones, and the threshold of each objective on it."""
    bounds = {time: set(STANDARD_NS) for time in TIMES}
    for text in itertools.islice(objectives, MOST_OBJECTIVES):
        try:
            objective = parse_slo(text)
        except LoadkitError:
            continue  # of a later loadkit's record
        if objective.figure.time and objective.bound >= 1:
            bounds[objective.figure.time].add(round(objective.bound))
    return {time: tuple(sorted(found)) for time, found in bounds.items()}


def counted(
    bounds: tuple[int, ...], counts: NDArray[np.int64], ends_ns: tuple[int, int], sum_ns: int, dropped: int = 0
) -> Buckets:
    """Returns the buckets of a histogram's counts, of which it touches those between its least and greatest value."""
    high = ends_ns[1]
    first, last = (int(index) for index in index_of(np.array(ends_ns, np.int64)))
    running = np.cumsum(counts[first : last + 1])
    count = int(running[-1]) if running.size else 0
    # The counters below an edge have no value above its bound.
    edges = np.clip(_edges(bounds) - first, 0, running.size)
    at_most = np.concatenate(([0], running))[edges].tolist()
    whole = [count if bound >= high else number for bound, number in zip(bounds, at_most, strict=True)]
    return Buckets(bounds, tuple(whole), count + dropped, sum_ns)


def of_histogram(bounds: tuple[int, ...], histogram: Histogram, dropped: int = 0) -> Buckets:
    """Returns the buckets of a histogram."""
    ends_ns = (histogram.min_ns, histogram.max_ns)
    return counted(bounds, histogram.counts, ends_ns, histogram.sum_ns, dropped)


def nothing(bounds: Sequence[int]) -> Buckets:
    """Returns the buckets of no value."""
    return Buckets(tuple(bounds), (0,) * len(bounds), 0, 0)


@functools.lru_cache(maxsize=64)
def _edges(bounds: tuple[int, ...]) -> NDArray[np.int64]:
    return index_of(np.array(bounds, np.int64) + 1)
