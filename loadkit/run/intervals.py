"""The series of a run: what happened in each second to the messages of each phase, read off the board as it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.board import Board
from loadkit.measure.buckets import counts_length, highest_of, lowest_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.kernel import cpu_ticks, stolen_ticks
from loadkit.measure.names import COUNTERS, STATE
from loadkit.measure.samples import read_histogram, read_totals
from loadkit.measure.series import IntervalLatency, IntervalSample, Rows
from loadkit.units import NS_PER_S

__all__ = ["Series"]


_WAKEUPS, _WATCHED = COUNTERS.index("wakeups"), COUNTERS.index("tcp_watched")
_PHASE, _OPEN = STATE.index("phase"), STATE.index("open")


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """What a phase had at the last look. Of its histogram the counters that are in use, or each phase took 270 KB."""

    counters: NDArray[np.int64]
    errors: int
    used: NDArray[np.int64]
    counts: NDArray[np.int64]
    sum_ns: int = 0


class Series:
    """Rows of one second for each phase that something happened to, and for the one that the run is in.

    The last ones are what was left when the run ended. Their number is bounded: measure/series.py. `last` is the row of
    the last full second and of the phase the run was in, None before the first.
    """

    def __init__(self, board: Board, serve: Board | None = None) -> None:
        self.rows = Rows()
        self.last: IntervalSample | None = None
        self._board = board
        self._serve = serve
        nothing = np.zeros(0, np.int64)
        self._seen = [_Seen(np.zeros(len(COUNTERS), np.int64), 0, nothing, nothing)] * board.layout.phases
        self._served = dict.fromkeys(COUNTERS, 0)
        self._replies_per_s = 0.0
        self._ticks = cpu_ticks()

    def replies_per_s(self) -> float:
        """Returns the rate of the last full second, 0 before the first."""
        return self._replies_per_s

    def add(self, from_ns: int, t_ns: int) -> None:
        """Adds rows of what came since it was last called."""
        served = read_totals(self._serve) if self._serve else self._served
        now = int(self._board.states[:, _PHASE].max())
        replied, is_counted = 0, bool(self._board.counters[:, :, _WAKEUPS].any())
        ticks = cpu_ticks()
        of_cpus, stolen = stolen_ticks(self._ticks, ticks)
        for phase in range(self._board.layout.phases):
            row = replace(self._row(phase, from_ns, t_ns, is_counted), cpu_ticks=of_cpus, stolen_ticks=stolen)
            if served["wakeups"]:  # the serve end knows no phases: what it did is the run's present one's
                row = _with_serve_end(row, served, self._served if phase == now else served)
            if phase == now:
                self.last = row
            if phase == now or row.replied or row.opened or row.received_bytes or row.errors or row.latency.hdr:
                self.rows.add(row)
            replied += row.replied
        self._replies_per_s = replied * NS_PER_S / max(1, t_ns - from_ns)
        self._served, self._ticks = served, ticks

    def _row(self, phase: int, from_ns: int, t_ns: int, is_counted: bool) -> IntervalSample:
        """Returns what the phase has more than at the last look; `is_counted`: the engine counts its wake-ups."""
        before = self._seen[phase]
        counters = self._board.counters[:, phase].sum(axis=0)
        errors = int(self._board.errors[:, phase].sum())
        came = dict(zip(COUNTERS, (counters - before.counters).tolist(), strict=True))
        latency, self._seen[phase] = self._latency(phase, before, counters, errors)
        return IntervalSample(
            from_ns=from_ns,
            t_ns=t_ns,
            phase=phase,
            opened=came["opened"],
            replied=came["replied"],
            received_bytes=came["received_bytes"],
            errors=errors - before.errors,
            latency=latency,
            wakeups=came["wakeups"] if is_counted else None,
            events=came["events"] if is_counted else None,
            tcp_samples=came["tcp_samples"],
            tcp_cwnd=came["tcp_cwnd"],
            retransmits=came["tcp_retransmits"] if counters[_WATCHED] else None,
            open=int(self._board.states[:, _OPEN].sum()),
        )

    def _latency(
        self, phase: int, before: _Seen, counters: NDArray[np.int64], errors: int
    ) -> tuple[IntervalLatency, _Seen]:
        """Returns the latencies recorded since the last look, whose extremes are known to their counter only."""
        highest_ns = self._board.layout.highest_ns
        now, sum_ns = np.zeros(counts_length(highest_ns), np.int64), 0
        for slot in self._board.slots:
            histogram = read_histogram(slot.pages[phase], "latency", highest_ns)
            if histogram.count:
                now += histogram.counts
                sum_ns += histogram.sum_ns
        (used,) = np.nonzero(now)
        seen = _Seen(counters, errors, used, now[used], sum_ns)
        now[before.used] -= before.counts
        np.maximum(now, 0, out=now)  # a worker may write between two of these reads; a row never goes below zero for it
        (came,) = np.nonzero(now)
        if not came.size:
            return IntervalLatency(None, None, None), seen
        low, high = lowest_of(int(came[0])), highest_of(int(came[-1]))
        return IntervalLatency.of(Histogram(highest_ns, now, sum_ns - before.sum_ns, low, high)), seen


def _with_serve_end(row: IntervalSample, after: Mapping[str, int], before: Mapping[str, int]) -> IntervalSample:
    """Adds what the serve end did in between. A worker that is replaced goes on in its place."""
    wakeups, events = (after[name] - before[name] for name in ("wakeups", "events"))
    return replace(row, serve_wakeups=wakeups, serve_events=events)
