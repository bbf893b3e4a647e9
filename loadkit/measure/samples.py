"""What is read off a board: frozen figures, per phase and per worker. Merging is adding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.board import COUNTERS, HISTOGRAMS, STAGES, STATE, STEPS, SUM_CARRY, Board, Page, error_name
from loadkit.measure.histogram import Histogram, index_of
from loadkit.measure.kernel import KernelSamples
from loadkit.plan.serve import ServePlan

__all__ = [
    "TENTHS",
    "IntervalSample",
    "LatencySample",
    "MemorySamples",
    "PhaseSamples",
    "RunSamples",
    "ServeRow",
    "ServeRun",
    "ServeSamples",
    "ThrottlingSamples",
    "WorkerEnd",
    "WorkerSamples",
    "merge",
    "read_board",
    "read_histogram",
    "read_totals",
    "read_worker",
    "tenth_of",
]

TENTHS = 10  # of a ramp's connections: each has a rate of its own


@dataclass(frozen=True, eq=False, slots=True)
class PhaseSamples:
    """Counters, errors by (step, name) and histograms of a phase, of one worker or of several."""

    counters: Mapping[str, int]
    errors: Mapping[tuple[str, str], int]
    histograms: Mapping[str, Histogram]
    dropped: Mapping[str, int]  # values that no counter of a histogram could take
    tails: NDArray[np.int64]  # rows of journeys: measure/board.py; no row where there are none


@dataclass(frozen=True, eq=False, slots=True)
class WorkerSamples:
    """One worker's slot: its own state and its phases."""

    index: int
    state: Mapping[str, int]
    phases: tuple[PhaseSamples, ...]


def read_board(board: Board) -> tuple[WorkerSamples, ...]:
    """Reads every slot whole."""
    return tuple(read_worker(board, index) for index in range(board.layout.workers))


def read_worker(board: Board, index: int) -> WorkerSamples:
    """Reads one slot whole."""
    slot = board.slots[index]
    state = {name: int(value) for name, value in zip(STATE, slot.state, strict=True)}
    return WorkerSamples(index, state, tuple(_read_page(page, board.layout.highest_ns) for page in slot.pages))


def read_totals(board: Board) -> dict[str, int]:
    """Reads the counters, added up over all slots and phases: cheap, for the intervals and the live view."""
    return dict(zip(COUNTERS, board.counters.sum(axis=(0, 1)).tolist(), strict=True))


def _read_page(page: Page, highest_ns: int) -> PhaseSamples:
    counts = page.errors.copy()  # nonzero() raises RuntimeError over what changes under its hands
    errors = {
        (STEPS[step], error_name(int(number))): int(counts[step, number])
        for step, number in zip(*np.nonzero(counts), strict=True)
    }
    return PhaseSamples(
        counters=dict(zip(COUNTERS, (int(value) for value in page.counters), strict=True)),
        errors=errors,
        histograms={name: read_histogram(page, name, highest_ns) for name in page.histograms},
        dropped={name: int(page.histograms[name][0][4]) for name in page.histograms},
        tails=page.tails.copy(),
    )


def read_histogram(page: Page, name: str, highest_ns: int) -> Histogram:
    """Copies a histogram, touching only the pages of memory that hold counts."""
    head, counts = page.histograms[name]
    count, total, low, high, _dropped, carry = (int(value) for value in head)
    if not count:
        return Histogram.empty(highest_ns)
    first, last = (int(index) for index in index_of(np.array([low, high], np.int64)))
    copy = np.zeros(len(counts), np.int64)
    copy[first : last + 1] = counts[first : last + 1]
    return Histogram(highest_ns, copy, carry * SUM_CARRY + total, low, high)


def merge(parts: Iterable[PhaseSamples], highest_ns: int) -> PhaseSamples:
    """Adds phases up: those of one worker over time, or one phase over workers."""
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


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker process ended. `died` is None when it ended by itself and well, else says how it ended."""

    index: int
    pid: int
    core: int | None
    died: str | None  # "killed by SIGKILL", "exit status 1: <its own last words>"
    mid_fold: bool = False  # died while writing: its figures may be off by one batch


@dataclass(frozen=True, eq=False, slots=True)
class ServeSamples:
    """The serve end of a run: its slots when the window began, when it ended, and at the very end.

    One that runs an app does not count its bytes. `span_ns` is the time between the first two looks, which come a
    little later than the window's edges; 0 where it is not known. `port` is where the serve end listened.
    """

    at_start: tuple[WorkerSamples, ...]
    at_end: tuple[WorkerSamples, ...]
    final: tuple[WorkerSamples, ...]
    ends: tuple[WorkerEnd, ...]
    restarts: int
    engine: str
    counts_bytes: bool = True
    span_ns: int = 0
    port: int = 0


@dataclass(frozen=True, slots=True)
class ServeRow:
    """What the workers of a serve end did in a second; `t_s` is its end, seconds since 1970.

    The bytes of an app are None: not counted.
    """

    t_s: float
    accepted: int
    received_bytes: int | None
    sent_bytes: int | None
    cpu_user_ns: int
    cpu_system_ns: int
    wakeups: int
    events: int


@dataclass(frozen=True, eq=False, slots=True)
class ServeRun:
    """A serve end by itself, from start to end. `rows` are of the last hour.

    `died_last` are the workers that did not end well when all of them were to end.
    """

    plan: ServePlan
    samples: ServeSamples
    started_s: float
    span_ns: int
    rows: tuple[ServeRow, ...]
    kernel: KernelSamples | None
    died_last: tuple[WorkerEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class ThrottlingSamples:
    """What a control group's CPU quota did: its periods, those in which its processes were stopped, and for how long.

    The kernel adds the time up over the CPUs that were stopped.
    """

    periods: int
    throttled_periods: int
    throttled_ns: int


@dataclass(frozen=True, slots=True)
class MemorySamples:
    """What `connections` open ones took, in bytes, over what was there before; `serve_bytes` None: not our end.

    `kernel_bytes` is of both ends where both are here. `processes_bytes` is what the workers and what they were forked
    from took before the first connection, and the boards.
    """

    connections: int
    kernel_bytes: int
    blast_bytes: int
    serve_bytes: int | None
    processes_bytes: int


@dataclass(frozen=True, eq=False, slots=True)
class RunSamples:
    """Everything measured in a run. Times are monotonic ns; the window is what the hold phases covered."""

    started: str  # RFC 3339
    start_ns: int
    window_start_ns: int | None  # None when the run ended before its first measured phase
    window_end_ns: int | None
    end_ns: int
    engine: str
    workers: tuple[WorkerSamples, ...]
    ends: tuple[WorkerEnd, ...]
    intervals: tuple[IntervalSample, ...]
    interrupted: str | None  # "SIGINT", "SIGTERM"
    serve: ServeSamples | None
    stranded_ns: int | None = (
        None  # when the last connection was gone and none could open; None: one was there to the end
    )
    ramp_ns: int | None = None  # when the ramp began; None: the first connection had no reply before the run ended
    tenths_ns: tuple[int, ...] = ()  # from the ramp's start until each tenth of its connections was open
    stopped_opening: str | None = None  # why no more of them were opened
    memory: MemorySamples | None = None
    kernel: KernelSamples | None = None  # of the window
    kernel_of_ramp: KernelSamples | None = None
    throttling: ThrottlingSamples | None = None  # of the window; None: no quota
    answered: int | None = None  # connections that were open, and had had a reply, when the window began
    closing_ns: int | None = None  # from the end of the traffic until every process of both ends was gone


def tenth_of(connections: int, index: int) -> int:
    """Returns how many of the connections the first `index + 1` tenths have."""
    return -(-connections * (index + 1) // TENTHS)
