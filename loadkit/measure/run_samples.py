"""Everything that was measured in a run, or at a serve end by itself: what a record is made of."""

from __future__ import annotations

from dataclasses import dataclass

from loadkit.errors import LoadkitError
from loadkit.measure.kernel import KernelSamples
from loadkit.measure.memory import MemorySamples
from loadkit.measure.samples import WorkerSamples
from loadkit.measure.series import IntervalSample, ServeInterval
from loadkit.measure.throttling import ThrottlingSamples
from loadkit.plan.serve import ServePlan

__all__ = ["TENTHS", "AbortSample", "RunSamples", "ServeRun", "ServeSamples", "WorkerEnd", "tenth_of"]

TENTHS = 10  # of a ramp's connections: a rate is recorded for each tenth


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker process ended. `died` is None if it ended by itself and well; else it says how it ended."""

    index: int
    pid: int
    core: int | None
    died: str | None  # "killed by SIGKILL", "exit status 1: <its own last words>"
    mid_fold: bool = False  # died while writing: its figures may be off by one batch


@dataclass(frozen=True, eq=False, slots=True)
class ServeSamples:
    """The serve end of a run: its slots when the window began, when it ended, and at the very end.

    A serve end that runs an app does not count its bytes. `span_ns` is the time between the first two readings, which
    come a little later than the window's edges; 0 if it is not known. `port` is the port it listened on; None: a
    UNIX socket.
    """

    at_start: tuple[WorkerSamples, ...]
    at_end: tuple[WorkerSamples, ...]
    final: tuple[WorkerSamples, ...]
    ends: tuple[WorkerEnd, ...]
    restarts: int
    engine: str
    counts_bytes: bool = True
    span_ns: int = 0
    port: int | None = 0


@dataclass(frozen=True, eq=False, slots=True)
class ServeRun:
    """A serve end by itself, from start to end. `rows` are of the last hour.

    `died_last` are the workers that did not end well when all of them were to end, `failure` is why it could not go on.
    """

    plan: ServePlan
    samples: ServeSamples
    started_s: float
    span_ns: int
    rows: tuple[ServeInterval, ...]
    kernel: KernelSamples | None
    died_last: tuple[WorkerEnd, ...] = ()
    failure: LoadkitError | None = None


@dataclass(frozen=True, slots=True)
class AbortSample:
    """The condition that ended a run early, when it was met (monotonic ns), and what its figure came to.

    Without a value it lies among what had not come back, which `reason` says.
    """

    expr: str
    at_ns: int
    value: float | None
    reason: str | None


@dataclass(frozen=True, eq=False, slots=True)
class RunSamples:
    """Everything measured in a run. Times are monotonic ns; the window is what the hold phases covered."""

    started: str  # RFC 3339
    start_ns: int
    window_start_ns: int | None  # None if the run ended before its first measured phase
    window_end_ns: int | None
    end_ns: int
    engine: str
    workers: tuple[WorkerSamples, ...]
    ends: tuple[WorkerEnd, ...]
    intervals: tuple[IntervalSample, ...]
    interrupted: str | None  # "SIGINT", "SIGTERM"
    serve: ServeSamples | None
    # When the last connection was gone and no other could open; None if there was one to the end.
    stranded_ns: int | None = None
    ramp_ns: int | None = None  # when the ramp began; None if the first connection had no reply before the run ended
    tenths_ns: tuple[int, ...] = ()  # from the ramp's start until each tenth of its connections was open
    stopped_opening: str | None = None  # why no more of them were opened
    memory: MemorySamples | None = None
    kernel: KernelSamples | None = None  # of the window
    kernel_of_ramp: KernelSamples | None = None
    throttling: ThrottlingSamples | None = None  # of the window; None without a quota
    answered: int | None = None  # connections that were open, with a first reply, when the window began
    aborted: AbortSample | None = None
    closing_ns: int | None = None  # from the end of the traffic until every process of both ends had ended


def tenth_of(connections: int, index: int) -> int:
    """Returns how many of the connections the first `index + 1` tenths have."""
    return -(-connections * (index + 1) // TENTHS)
