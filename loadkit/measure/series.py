"""The series of a run, and of a serve end: what its rows are, and how their number is bounded however long it goes on.

Beyond MOST_ROWS, neighbours of a phase are merged, one for each row that comes: to rows of two seconds first, from the
oldest on; once all are that long, to rows of four, and so on. So a row costs one merge at most, the newest rows are the
finest, and no row is longer than twice the time there is divided by `most`. Rows of two phases are never merged.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import msgspec

from loadkit.measure.histogram import Histogram
from loadkit.units import NS_PER_S

__all__ = ["MOST_ROWS", "STEP_NS", "IntervalSample", "LatencySample", "Rows", "ServeInterval"]

# Ten minutes of seconds; a figure is not wider than that in points. With its histogram a row takes 1 to 3 KB.
MOST_ROWS = 600
STEP_NS = NS_PER_S


@dataclass(frozen=True, slots=True)
class LatencySample:
    """Latency in one stretch of the series, in nanoseconds; None where no reply, or too few of them, came.

    `hdr` is the whole histogram, encoded: a kilobyte in place of the 200 and more that its counters take.
    """

    p50_ns: int | None
    p99_ns: int | None
    max_ns: int | None
    sum_ns: int = 0
    hdr: str | None = None

    @classmethod
    def of(cls, latency: Histogram) -> LatencySample:
        """Returns the figures of a histogram."""
        if not latency.count:
            return cls(None, None, None)
        found = latency.percentiles((50.0, 99.0))
        return cls(found[50.0], found[99.0], latency.max_ns, latency.sum_ns, latency.encode())

    def plus(self, other: LatencySample) -> LatencySample:
        """Returns the figures of both stretches together."""
        if self.hdr is None or other.hdr is None:
            return other if self.hdr is None else self
        one, two = (
            Histogram.decode(hdr, sum_ns) for hdr, sum_ns in ((self.hdr, self.sum_ns), (other.hdr, other.sum_ns))
        )
        return LatencySample.of(one.merge(two))


@dataclass(frozen=True, eq=False, slots=True)
class IntervalSample:
    """What happened to one phase's messages in one stretch of the series, from `from_ns` to `t_ns` after the start.

    What a message does counts for the phase it belongs to: one that was due in the warm-up is in a row of the warm-up,
    though its reply came in the hold.
    """

    from_ns: int
    t_ns: int
    phase: int
    opened: int
    replied: int
    received_bytes: int
    errors: int
    latency: LatencySample
    wakeups: int | None = None  # of the blast end; None: not counted
    events: int | None = None
    serve_wakeups: int | None = None
    serve_events: int | None = None
    tcp_samples: int = 0  # looks at TCP_INFO, and the congestion windows that they saw, added up, in segments
    tcp_cwnd: int = 0
    retransmits: int | None = None  # on the watched connections; None: none is watched
    open: int | None = None  # connections of all phases at its end; the most of them in merged rows

    def plus(self, later: IntervalSample) -> IntervalSample:
        """Returns both in one row; `later` is the next one of its phase."""
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
        )


def _add_known(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class ServeInterval(msgspec.Struct, frozen=True):
    """What the workers of a serve end did in a second; `t_s` is its end, seconds since 1970.

    The bytes of an app are null: not counted.
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
    """At most `most` rows, or one for each phase if there are more phases than that."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._rows: list[IntervalSample] = []  # by phase, and then by time
        self._at = 0  # where neighbours are merged next
        self._width_ns = STEP_NS  # … if they are not longer than this together

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: IntervalSample) -> None:
        """Adds a row, later than those of its phase so far."""
        bisect.insort(self._rows, row, key=_place)
        if len(self._rows) > self._most:
            self._merge_two()

    def by_time(self) -> tuple[IntervalSample, ...]:
        """Returns the rows in the order of their ends, and of their phases where these are the same."""
        return tuple(sorted(self._rows, key=lambda row: (row.t_ns, row.phase)))

    def _merge_two(self) -> None:
        """Merges the next row with its neighbour; in vain if each phase has a row."""
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
