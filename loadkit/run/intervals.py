"""The series of a run: what happened in each second, read off the board while it goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loadkit.measure.board import COUNTERS, Board
from loadkit.measure.histogram import Counts, Histogram, counts_length, highest_of, lowest_of
from loadkit.measure.samples import IntervalSample, LatencySample, read_counters, read_histogram
from loadkit.units import NS_PER_S

__all__ = ["Series"]

_STEP_NS = NS_PER_S


class Series:
    """Rows of one second each; the last one is what was left when the run ended.

    A row takes 0.5 KB. There are two histograms, however long the run: that of the last look, and what came since.
    """

    def __init__(self, board: Board, serve: Board | None = None) -> None:
        self.rows: list[IntervalSample] = []
        self._board = board
        self._serve = serve
        self._at_ns = 0
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._errors = 0
        self._served = dict.fromkeys(COUNTERS, 0)
        self._latency: Counts = np.zeros(counts_length(board.layout.highest_ns), np.int64)
        self._sum_ns = 0

    def totals(self) -> tuple[dict[str, int], int]:
        """Returns the counters added up over everything, and how many connections are open."""
        return _totals(self._board), sum(slot.get("open") for slot in self._board.slots)

    def errors(self) -> int:
        """Returns how many errors there were, of every step."""
        return sum(int(page.errors.sum()) for slot in self._board.slots for page in slot.pages)

    def replies_per_s(self) -> float:
        """Returns the last row's rate, 0 before the first."""
        if not self.rows:
            return 0.0
        before = self.rows[-2].t_ns if len(self.rows) > 1 else 0
        return self.rows[-1].replied * NS_PER_S / max(1, self.rows[-1].t_ns - before)

    def look(self, t_ns: int) -> None:
        """Adds a row when a second has passed since the last."""
        if t_ns >= self._at_ns + _STEP_NS:
            self._add(t_ns)

    def close(self, t_ns: int) -> None:
        """Adds what is left."""
        if t_ns > self._at_ns:
            self._add(t_ns)

    def _add(self, t_ns: int) -> None:
        counters, _open = self.totals()
        served = _totals(self._serve) if self._serve else self._served
        errors = self.errors()
        self.rows.append(
            IntervalSample(
                t_ns=t_ns,
                phase=max(slot.get("phase") for slot in self._board.slots),
                opened=counters["opened"] - self._counters["opened"],
                replied=counters["replied"] - self._counters["replied"],
                received_bytes=counters["received_bytes"] - self._counters["received_bytes"],
                errors=errors - self._errors,
                latency=LatencySample.of(self._latency_since()),
                wakeups=_since("wakeups", counters, self._counters),
                events=_since("events", counters, self._counters),
                serve_wakeups=_since("wakeups", served, self._served),
                serve_events=_since("events", served, self._served),
            )
        )
        self._at_ns, self._counters, self._errors, self._served = t_ns, counters, errors, served

    def _latency_since(self) -> Histogram:
        """Returns the latencies recorded since the last row. Their extremes are known to their counter only."""
        highest_ns = self._board.layout.highest_ns
        now = np.zeros_like(self._latency)
        sum_ns = 0
        for slot in self._board.slots:
            for page in slot.pages:
                histogram = read_histogram(page, "latency", highest_ns)
                now += histogram.counts
                sum_ns += histogram.sum_ns
        # A worker may write between two of these reads; a row never goes below zero for it.
        counts = np.maximum(now - self._latency, 0)
        total_ns = sum_ns - self._sum_ns
        self._latency, self._sum_ns = now, sum_ns
        (used,) = np.nonzero(counts)
        if not used.size:
            return Histogram.empty(highest_ns)
        return Histogram(highest_ns, counts, total_ns, lowest_of(int(used[0])), highest_of(int(used[-1])))


def _totals(board: Board) -> dict[str, int]:
    total = dict.fromkeys(COUNTERS, 0)
    for slot in board.slots:
        for name, value in read_counters(slot).items():
            total[name] += value
    return total


def _since(name: str, after: Mapping[str, int], before: Mapping[str, int]) -> int | None:
    """Returns what came in between; None where it is not counted. A worker that is replaced goes on in its place."""
    return after[name] - before[name] if after[name] else None
