"""The counters of an encoded histogram that are in use, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.buckets import bounds_of
from loadkit.measure.encoding import Decode, add_used, decode_used
from loadkit.measure.histogram import percentiles_supported, rank_of

__all__ = ["Counted", "Numbers", "counted", "joined"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Counted:
    """Counters in their order, the least and the greatest value of each, and how many values it has."""

    indices: Numbers
    low: Numbers
    high: Numbers
    counts: Numbers

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def percentile(self, percentile: str) -> int | None:
        """Returns the value at a percentile, None if the count does not support it."""
        count = self.count
        if not percentiles_supported(count, percentile):
            return None
        return self.at_rank(rank_of(count, percentile))

    def at_rank(self, rank: int) -> int:
        """Returns the value of that rank, from 1 for the least, which has to be there."""
        return int(self.high[np.searchsorted(np.cumsum(self.counts), rank)])

    def binned(self, edges: NDArray[np.float64]) -> Numbers:
        """Returns how many values are between the edges: each counter by its middle, what is beyond at the ends."""
        middles = (self.low.astype(np.float64) + self.high) / 2
        places = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, edges.size - 2)
        return np.bincount(places, weights=self.counts, minlength=edges.size - 1).astype(np.int64)


def counted(hdr: str | None, decode: Decode = decode_used) -> Counted | None:
    """Returns what an encoding has; None if there is none, it is of no value, or it is damaged."""
    if hdr is None:
        return None
    try:
        _, indices, counts = decode(hdr)
    except ValueError:
        return None
    return _counted(indices, counts) if indices.size else None


def joined(several: Iterable[Counted]) -> Counted | None:
    """Returns all of them as one; None of none."""
    parts = list(several)
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    return _counted(*add_used((one.indices, one.counts) for one in parts))


def _counted(indices: Numbers, counts: Numbers) -> Counted:
    return Counted(indices, *bounds_of(indices), counts)
