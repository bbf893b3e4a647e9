"""What is read off a board: frozen figures, per phase and per worker. Merging is adding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.board import SUM_CARRY, Board, Page
from loadkit.measure.buckets import index_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import COUNTERS, HISTOGRAMS, STAGES, STATE, STEPS, error_name

__all__ = [
    "PhaseSamples",
    "WorkerSamples",
    "merge",
    "read_board",
    "read_histogram",
    "read_totals",
    "read_worker",
]


@dataclass(frozen=True, eq=False, slots=True)
class PhaseSamples:
    """Counters, errors by (step, name) and histograms of a phase, of one worker or of several."""

    counters: Mapping[str, int]
    errors: Mapping[tuple[str, str], int]
    histograms: Mapping[str, Histogram]
    dropped: Mapping[str, int]  # values that no counter of a histogram could take
    tails: NDArray[np.int64]  # rows of journeys: measure/board.py; empty without journeys


@dataclass(frozen=True, eq=False, slots=True)
class WorkerSamples:
    """One worker's slot: its own state and its phases."""

    index: int
    state: Mapping[str, int]
    phases: tuple[PhaseSamples, ...]


def read_board(board: Board) -> tuple[WorkerSamples, ...]:
    """Reads all slots."""
    return tuple(read_worker(board, index) for index in range(board.layout.workers))


def read_worker(board: Board, index: int) -> WorkerSamples:
    """Reads one slot."""
    slot = board.slots[index]
    state = {name: int(value) for name, value in zip(STATE, slot.state, strict=True)}
    return WorkerSamples(index, state, tuple(_read_page(page, board.layout.highest_ns) for page in slot.pages))


def read_totals(board: Board) -> dict[str, int]:
    """Reads the counters, added up over all slots and phases: cheap, for the intervals and the live view."""
    return dict(zip(COUNTERS, board.counters.sum(axis=(0, 1)).tolist(), strict=True))


def _read_page(page: Page, highest_ns: int) -> PhaseSamples:
    counts = page.errors.copy()  # nonzero() raises RuntimeError if the array changes meanwhile
    errors = {
        (STEPS[step], error_name(int(number), STEPS[step])): int(counts[step, number])
        for step, number in zip(*np.nonzero(counts), strict=True)
    }
    return PhaseSamples(
        counters=dict(zip(COUNTERS, (int(value) for value in page.counters), strict=True)),
        errors=errors,
        histograms={name: read_histogram(page, name, highest_ns) for name in page.histograms},
        dropped={name: page.dropped(name) for name in page.histograms},
        tails=page.tails.copy(),
    )


def read_histogram(page: Page, name: str, highest_ns: int) -> Histogram:
    """Copies a histogram. It reads only the pages of memory that hold counts."""
    head, counts = page.histograms[name]
    count, total, low, high, _dropped, carry = (int(value) for value in head)
    if not count:
        return Histogram.empty(highest_ns)
    first, last = (int(index) for index in index_of(np.array([low, high], np.int64)))
    copy = np.zeros(len(counts), np.int64)
    copy[first : last + 1] = counts[first : last + 1]
    return Histogram(highest_ns, copy, carry * SUM_CARRY + total, low, high)


def merge(parts: Iterable[PhaseSamples], highest_ns: int) -> PhaseSamples:
    """Adds phases up: several phases of one worker, or one phase of several workers."""
    found = tuple(parts)
    names = tuple(found[0].histograms) if found else HISTOGRAMS
    nothing = PhaseSamples(
        dict.fromkeys(COUNTERS, 0),
        {},
        {name: Histogram.empty(highest_ns) for name in names},
        dict.fromkeys(names, 0),
        np.zeros_like(found[0].tails) if found else np.zeros((0, 1 + len(STAGES)), np.int64),
    )
    return reduce(_add, found, nothing)


def _add(left: PhaseSamples, right: PhaseSamples) -> PhaseSamples:
    keys = sorted({*left.errors, *right.errors})
    return replace(
        left,
        counters={name: left.counters[name] + right.counters[name] for name in COUNTERS},
        errors={key: left.errors.get(key, 0) + right.errors.get(key, 0) for key in keys},
        histograms={name: one.merge(right.histograms[name]) for name, one in left.histograms.items()},
        dropped={name: count + right.dropped[name] for name, count in left.dropped.items()},
        tails=left.tails + right.tails,
    )
