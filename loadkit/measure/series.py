"""The series of a run, and of a serve end: what its rows are, and how their number is bounded however long it goes on.

Beyond MOST_ROWS, neighbours of a phase are merged, one pair for each row that comes: to rows of two seconds first, from
the oldest on; when all are that long, to rows of four, and so on. So a row costs at most one merge, the newest rows are
the finest, and no row is longer than twice the whole time divided by `most`. Rows of two phases are never merged.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import msgspec

from loadkit.measure.histogram import Histogram
from loadkit.units import NS_PER_S

__all__ = ["MOST_ROWS", "STEP_NS", "IntervalLatency", "IntervalSample", "Rows", "ServeInterval"]

# Ten minutes with a row per second; a chart is not wider than that in points. With its histogram a row takes 1 to 3 KB.
MOST_ROWS = 600
STEP_NS = NS_PER_S


class IntervalLatency(msgspec.Struct, frozen=True):
    """Latency of an interval in ns; null if there were no replies, or too few.

    `hdr` encodes all counts, as in a histogram, and `sum` is the exact sum. `max` is the greatest value that the last
    counter of `hdr` can have.
    """

    p50: int | None
    p99: int | None
    max: int | None
    sum: int = 0
    hdr: str | None = None  # about 1 KB, where its counters take 200 KB and more

    @classmethod
    def of(cls, latency: Histogram) -> IntervalLatency:
        """Returns the figures of a histogram."""
        if not latency.count:
            return cls(None, None, None)
        found = latency.percentiles((50.0, 99.0))
        return cls(found[50.0], found[99.0], latency.max_ns, latency.sum_ns, latency.encode())

    def plus(self, other: IntervalLatency) -> IntervalLatency:
        """Returns the figures of both intervals together. Raises ValueError for histograms that cannot be merged."""
        if self.hdr is None or other.hdr is None:
            return other if self.hdr is None else self
        return IntervalLatency.of(Histogram.decode(self.hdr, self.sum).merge(Histogram.decode(other.hdr, other.sum)))


@dataclass(frozen=True, eq=False, slots=True)
class IntervalSample:
    """What happened to one phase's messages in one stretch of the series, from `from_ns` to `t_ns` after the start.

    What happens to a message counts for the phase in which it was intended. If one was due in the warm-up and its reply
    came in the hold, it is in a row of the warm-up.
    """

    from_ns: int
    t_ns: int
    phase: int
    opened: int
    replied: int
    received_bytes: int
    errors: int
    latency: IntervalLatency
    wakeups: int | None = None  # of the blast end; None if they are not counted
    events: int | None = None
    serve_wakeups: int | None = None
    serve_events: int | None = None
    tcp_samples: int = 0  # readings of TCP_INFO, and the sum of their congestion windows, in segments
    tcp_cwnd: int = 0
    retransmits: int | None = None  # on the watched connections; None if no connection is watched
    open: int | None = None  # connections of all phases at its end; of merged rows the most
    cpu_ticks: int = 0  # of all CPUs of this machine, and those of them that the host took (steal)
    stolen_ticks: int = 0

    def plus(self, later: IntervalSample) -> IntervalSample:
        """Returns both in one row; `later` is the next row of the same phase."""
        return IntervalSample(
            from_ns=self.from_ns,
            t_ns=later.t_ns,
            phase=self.phase,
            opened=self.opened + later.opened,
            replied=self.replied + later.replied,
            received_bytes=self.received_bytes + later.received_bytes,
            errors=self.errors + later.errors,
            latency=self.latency.plus(later.latency),
            wakeups=_add_known(self.wakeups, later.wakeups),
            events=_add_known(self.events, later.events),
            serve_wakeups=_add_known(self.serve_wakeups, later.serve_wakeups),
            serve_events=_add_known(self.serve_events, later.serve_events),
            tcp_samples=self.tcp_samples + later.tcp_samples,
            tcp_cwnd=self.tcp_cwnd + later.tcp_cwnd,
            retransmits=later.retransmits if self.retransmits is None else self.retransmits + (later.retransmits or 0),
            open=max((one for one in (self.open, later.open) if one is not None), default=None),
            cpu_ticks=self.cpu_ticks + later.cpu_ticks,
            stolen_ticks=self.stolen_ticks + later.stolen_ticks,
        )


def _add_known(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class ServeInterval(msgspec.Struct, frozen=True):
    """What the workers of a serve end did in one second; `t_s` is its end, seconds since 1970.

    The bytes of an app are null, because they are not counted.
    """

    t_s: float
    accepted: int
    received_bytes: int | None
    sent_bytes: int | None
    cpu_user_ns: int
    cpu_system_ns: int
    wakeups: int
    events: int


def _place(row: IntervalSample) -> tuple[int, int]:
    return row.phase, row.t_ns


class Rows:
    """At most `most` rows, or one row for each phase if there are more phases than that."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._rows: list[IntervalSample] = []  # by phase, and then by time
        self._at = 0  # where neighbours are merged next …
        self._width_ns = STEP_NS  # … if they are not longer than this together

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: IntervalSample) -> None:
        """Adds a row, which is later than all rows of its phase so far."""
        bisect.insort(self._rows, row, key=_place)
        if len(self._rows) > self._most:
            self._merge_two()

    def by_time(self) -> tuple[IntervalSample, ...]:
        """Returns the rows in the order of their ends. Rows with the same end are in the order of their phases."""
        return tuple(sorted(self._rows, key=lambda row: (row.t_ns, row.phase)))

    def _merge_two(self) -> None:
        """Merges the next row with its neighbour. It does nothing if each phase has one row."""
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
