"""HDR histograms as plain arrays of counts, in HdrHistogram's own indexing (buckets.py).

So HdrHistogram's libraries read what `encode` returns. The tests compare it with one of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from loadkit.measure.buckets import MOST_VALUES, Counts, counts_length, highest_of, index_of, lowest_of
from loadkit.measure.encoding import decode_used, encode_used

__all__ = ["Histogram", "percentiles_supported", "rank_of", "values_needed"]

# A percentile is given if at least this many values lie above it. With fewer it is one unlucky message.
LEAST_ABOVE = 10


def rank_of(count: int, percentile: float | str) -> int:
    """Returns which of `count` sorted values, from 1, is the percentile: the least with that part at or below it."""
    return max(1, math.ceil(_share(percentile) * count))


def percentiles_supported(count: int, percentile: float | str) -> bool:
    """Whether `count` samples can say anything of `percentile`: LEAST_ABOVE lie above it, or it is the median."""
    share = _share(percentile)
    return count > 0 and (2 * share <= 1 or count * (1 - share) >= LEAST_ABOVE)


def values_needed(percentile: float | str) -> int:
    """Returns the least count that supports `percentile`, which is below 100."""
    share = _share(percentile)
    return 1 if 2 * share <= 1 else math.ceil(LEAST_ABOVE / (1 - share))


@functools.cache
def _share(percentile: float | str) -> Fraction:
    """Returns the percentile as a part of 1, exactly as it is written.

    99.9 / 100 is no float: the nearest is too high, so that 0.999 of 20 million was one rank above 19,980,000.
    """
    return Fraction(str(percentile)) / 100


@functools.cache
def _zeros(length: int) -> Counts:
    """Returns counters of 0: 200 KB and more, and of a run's histograms most are empty."""
    counts = np.zeros(length, np.int64)
    counts.setflags(write=False)
    return counts


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """Counts with their exact sum, minimum and maximum. Merging is adding; the empty one is its identity.

    `count` is the number of values, added up once: that takes as long as a merge.
    """

    highest_ns: int
    counts: Counts
    sum_ns: int = 0
    min_ns: int = 0
    max_ns: int = 0
    count: int = field(init=False)

    def __post_init__(self) -> None:
        is_empty = self.counts is _zeros(len(self.counts))
        object.__setattr__(self, "count", 0 if is_empty else int(self.counts.sum()))

    @classmethod
    def empty(cls, highest_ns: int) -> Histogram:
        """Returns the histogram of nothing. All of one range have the same counters, which cannot be written."""
        return cls(highest_ns, _zeros(counts_length(highest_ns)))

    @classmethod
    def of(cls, values: Iterable[int], highest_ns: int) -> Histogram:
        """Returns the histogram of `values` (nanoseconds). Raises ValueError for one outside 0 … highest_ns."""
        array = np.fromiter(values, np.int64)
        if not array.size:
            return cls.empty(highest_ns)
        if array.min() < 0 or array.max() > highest_ns:
            raise ValueError(f"a value lies outside 0 … {highest_ns} ns")
        counts = np.bincount(index_of(array), minlength=counts_length(highest_ns))
        return cls(highest_ns, counts, sum(array.tolist()), int(array.min()), int(array.max()))

    @classmethod
    def decode(cls, encoded: str, sum_ns: int) -> Histogram:
        """Reads base64 V2 as `encode` writes it. Raises ValueError for another text.

        The package hdrhistogram cannot read files from elsewhere: it inflates without bound, and 146 kB took 225 MiB
        (0.10.8).
        """
        highest_ns, used, values = decode_used(encoded)
        if not used.size:
            return replace(cls.empty(highest_ns), sum_ns=sum_ns)
        counts = np.zeros(counts_length(highest_ns), np.int64)
        counts[used] = values
        return cls(highest_ns, counts, sum_ns, lowest_of(int(used[0])), highest_of(int(used[-1])))

    @property
    def mean_ns(self) -> float:
        """The arithmetic mean from the exact sum; 0 when empty."""
        return self.sum_ns / self.count if self.count else 0.0

    def merge(self, other: Histogram) -> Histogram:
        """Returns the histogram of both ones' values. Raises ValueError for another range."""
        if self.highest_ns != other.highest_ns:
            raise ValueError(f"histograms of unlike range: highest_ns {self.highest_ns} and {other.highest_ns}")
        if not other.count:
            return self
        if not self.count:
            return other
        if self.count + other.count > MOST_VALUES:
            raise ValueError("together they have more values than can be counted")
        return Histogram(
            self.highest_ns,
            self.counts + other.counts,
            self.sum_ns + other.sum_ns,
            min(self.min_ns, other.min_ns),
            max(self.max_ns, other.max_ns),
        )

    def widened(self, highest_ns: int) -> Histogram:
        """Returns the same values with a higher end of the range; the counters of the values stay the same.

        Raises ValueError for an end that is lower.
        """
        more = counts_length(highest_ns) - len(self.counts)
        if highest_ns < self.highest_ns:
            raise ValueError(f"a histogram up to {self.highest_ns} cannot end at {highest_ns}")
        return replace(self, highest_ns=highest_ns, counts=np.pad(self.counts, (0, more)) if more else self.counts)

    def since(self, before: Histogram) -> Histogram:
        """Returns what was added after `before`, an earlier reading of the same histogram.

        Its extremes are known only to their counters.
        """
        counts = np.maximum(self.counts - before.counts, 0)
        (used,) = np.nonzero(counts)
        if not used.size:
            return Histogram.empty(self.highest_ns)
        low, high = lowest_of(int(used[0])), highest_of(int(used[-1]))
        return Histogram(self.highest_ns, counts, self.sum_ns - before.sum_ns, low, high)

    def percentiles(self, wanted: Iterable[float]) -> Mapping[float, int | None]:
        """Returns the value at each percentile; None if the count cannot support it.

        As in HdrHistogram the value is the greatest that its counter counts, and never above the exact maximum.
        """
        total = self.count
        ranks = {one: rank_of(total, one) for one in wanted}
        return {one: self.at_rank(rank) if percentiles_supported(total, one) else None for one, rank in ranks.items()}

    def at_rank(self, rank: int) -> int:
        """Returns the value of that rank among all, from 1 for the least. Raises ValueError for another rank."""
        running = np.cumsum(self.counts)
        if not 1 <= rank <= running[-1]:
            raise ValueError(f"there is no value number {rank} of {running[-1]}")
        return min(highest_of(int(np.searchsorted(running, rank))), self.max_ns)

    def encode(self) -> str:
        """Returns HdrHistogram's base64 V2 encoding, readable by every HdrHistogram library."""
        if not self.count:
            return _encoded_empty(self.highest_ns)
        (used,) = np.nonzero(self.counts)
        return encode_used(self.highest_ns, used, self.counts[used])


@functools.cache
def _encoded_empty(highest_ns: int) -> str:
    nothing = np.zeros(0, np.int64)
    return encode_used(highest_ns, nothing, nothing)
