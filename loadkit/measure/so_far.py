"""What a phase of a run has so far, of all workers: read off the board once in a while, as the run goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from loadkit.measure.board import Board
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import COUNTERS
from loadkit.measure.samples import read_histogram

__all__ = ["SoFar", "read_so_far", "sum_of"]


@dataclass(frozen=True, eq=False, slots=True)
class SoFar:
    """Counters, errors, and those histograms that were asked for; `dropped` are values that no counter could take."""

    counters: Mapping[str, int]
    errors: int
    histograms: Mapping[str, Histogram]
    dropped: Mapping[str, int]

    def plus(self, other: SoFar) -> SoFar:
        """Returns both added up."""
        return SoFar(
            {name: count + other.counters[name] for name, count in self.counters.items()},
            self.errors + other.errors,
            {name: one.merge(other.histograms[name]) for name, one in self.histograms.items()},
            {name: count + other.dropped[name] for name, count in self.dropped.items()},
        )

    def since(self, before: SoFar) -> SoFar:
        """Returns what came after `before`, an earlier look at the same."""
        return SoFar(
            {name: count - before.counters[name] for name, count in self.counters.items()},
            self.errors - before.errors,
            {name: one.since(before.histograms[name]) for name, one in self.histograms.items()},
            {name: count - before.dropped[name] for name, count in self.dropped.items()},
        )


def sum_of(parts: Iterable[SoFar]) -> SoFar:
    """Returns several phases, one at least, added up."""
    return reduce(SoFar.plus, parts)


def read_so_far(board: Board, phase: int, times: Collection[str]) -> SoFar:
    """Reads a phase of all slots; of its histograms those of `times`."""
    highest_ns = board.layout.highest_ns
    histograms = {name: Histogram.empty(highest_ns) for name in times}
    dropped = dict.fromkeys(times, 0)
    for slot in board.slots:
        page = slot.pages[phase]
        for name in times:
            histograms[name] = histograms[name].merge(read_histogram(page, name, highest_ns))
            dropped[name] += page.dropped(name)
    counters = board.counters[:, phase].sum(axis=0).tolist()
    return SoFar(dict(zip(COUNTERS, counters, strict=True)), int(board.errors[:, phase].sum()), histograms, dropped)
