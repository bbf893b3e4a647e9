"""What one run can tell of its own percentiles: between which values they lie if its seconds are drawn anew.

The stretches of the measured time are drawn with replacement, whole blocks of neighbours at a time, because neighbours
are alike: a stall lasts for longer than a message. That is the circular block bootstrap (Politis and Romano 1992), with
blocks of the cube root of the number of stretches. Runs differ from each other by more than the seconds of one run do:
the band says nothing of another run.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadkit.plan.phases import PhaseKind
from loadkit.report.charts.counted import Counted, Numbers, joined
from loadkit.report.charts.slices import SeriesRow
from loadkit.report.record import RunRecord, measured

__all__ = ["Band", "band_of"]

# Fewer stretches than this have too few blocks to draw from.
_LEAST, _MOST = 10, 120
_DRAWS = 200
# Counters beyond this are taken together: what that changes is less than can be seen.
_COLUMNS = 2048
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """Draws of a run: the ends of each column of counters, and how many values of each draw are up to it."""

    low: Numbers
    high: Numbers
    running: NDArray[np.float64]

    def at(self, shares: Sequence[float]) -> list[tuple[int, int]]:
        """Returns the values between which these shares of all values end in 95 of 100 draws."""
        ranks = np.ceil(np.outer(self.running[:, -1], shares) - 1e-6)
        places = [np.searchsorted(one, rank) for one, rank in zip(self.running, ranks, strict=True)]
        found = np.sort(np.minimum(places, self.high.size - 1), axis=0)
        low, high = (found[round(end * (_DRAWS - 1))] for end in _ENDS)
        return list(zip(self.low[low].tolist(), self.high[high].tolist(), strict=True))


def band_of(record: RunRecord, series: Sequence[SeriesRow]) -> Band | None:
    """Returns the band of latency; None if the series is too short for one, or is not of all measured messages."""
    holds = {phase.name for phase in record.phases if phase.kind == PhaseKind.HOLD}
    rows = [row.latency for row in series if row.latency and row.row.phase in holds]
    whole = joined(rows)
    if whole is None or len(rows) < _LEAST or whole.count != measured(record.histograms, "latency").count:
        return None
    together = math.ceil(len(rows) / _MOST)
    groups = [rows[at : at + together] for at in range(0, len(rows), together)]
    apart = math.ceil(whole.indices.size / _COLUMNS)
    columns = np.zeros(int(whole.indices[-1]) + 1, np.int64)
    columns[whole.indices] = np.arange(whole.indices.size) // apart
    counts = np.stack([_counts(group, columns) for group in groups])
    first = np.arange(0, whole.indices.size, apart)
    last = np.minimum(first + apart - 1, whole.indices.size - 1)
    return Band(whole.high[first], whole.high[last], np.cumsum(_weights(len(groups)) @ counts, axis=1))


def _counts(group: Sequence[Counted], columns: Numbers) -> NDArray[np.float64]:
    """Returns how many values a stretch has in each column; `columns` has that of each counter."""
    places, counts = (np.concatenate([getattr(one, name) for one in group]) for name in ("indices", "counts"))
    return np.bincount(columns[places], weights=counts, minlength=int(columns.max()) + 1).astype(np.float64)


def _weights(count: int) -> NDArray[np.float64]:
    """Returns how often each of so many stretches is drawn in each draw; the same for every page."""
    length = math.ceil(count ** (1 / 3))
    chance = random.Random(count)  # its sequence is the same in every version of Python
    weights = np.zeros((_DRAWS, count))
    for draw in weights:
        starts = (int(chance.random() * count) for _ in range(math.ceil(count / length)))
        drawn = [(start + at) % count for start in starts for at in range(length)]
        np.add.at(draw, list(itertools.islice(drawn, count)), 1)
    return weights
