"""The seam between a run and its workers, wherever they are: what they are told, and what they show.

run/course.py decides what is said from looks alone. run/local.py has the workers of this machine.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from loadkit.measure.kernel import KernelSamples
from loadkit.measure.memory import MemorySamples, Room
from loadkit.measure.run_samples import ServeSamples, WorkerEnd
from loadkit.measure.samples import PhaseSamples, WorkerSamples
from loadkit.measure.series import IntervalSample
from loadkit.measure.so_far import SoFar
from loadkit.measure.throttling import ThrottlingSamples
from loadkit.report.families import View
from loadkit.run.signals import HasFileno
from loadkit.wire.script import Script

__all__ = ["Crew", "CrewSamples", "Look", "Totals", "Word", "Words", "WorkerTotals", "closing_ns"]

# Closing takes the kernel its time: a million connections 26 s on two cores, both ends. This is twice that, and some.
_CLOSE_NS = 60_000


class Words(enum.Enum):
    """What can be said to a crew, in the order in which a run says it."""

    FIRST = "first"  # the run's first connection opens at that time
    RAMP = "ramp"  # the connects of the ramp begin at that time
    ENOUGH = "enough"  # open no more: there is no room for them
    OPENED = "opened"  # all are open, and none does anything yet: measure what they take
    HOLD = "hold"  # the phases after the ramp begin at that time
    BEGIN = "begin"  # the window has begun: note the machine's counters
    END = "end"  # the window has ended: note them again
    STOP = "stop"  # no new messages; end when those under way have their replies
    LEAVE = "leave"  # end at once


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `at_ns` (monotonic ns) is far enough in the future for every worker to have received it by then."""

    said: Words
    at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What the crew shows at one tick. Times are monotonic ns, 0 as long as there is none."""

    proof: str = "unknown"  # one of measure.board.PROOFS: whether the first connection had a right reply
    asked: int = 0  # connects of the ramp that were begun
    failed: int = 0  # … that failed
    settled: int = 0  # … that opened or failed
    settled_ns: int = 0  # when the last of them did; one that did while we counted may be in it
    open: int = 0  # connections that are open
    opened: int = 0  # connections that have opened so far, in the ramp and in any phase
    unopened: int = 0  # connects that have failed so far, in the ramp and in any phase
    finished_ns: int = 0  # when the last worker was done with its last message; 0: one is not
    stranded_ns: int = 0  # when those not done had no connection left, nor could open one; 0: one has
    running: int = 0  # workers whose process has not ended
    has_deaths: bool = False  # one did not end well
    is_served: bool = True  # False: the run's own serve end is gone for good
    room: Room | None = None  # memory, as far as it is watched: in the ramp
    seen: Mapping[int, SoFar] | None = None  # the phases that a condition is about, by number: about once a second


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """What one worker has done so far; 0 of all where its engine does not count its waits."""

    busy_ns: int
    blocked_ns: int
    wakeups: int
    events: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been counted so far, over all workers and phases; `row` is the last full second, None before it.

    `under_way` are messages sent that have come to no end yet, `kinds` the errors by step and name, `serving` the
    workers of the run's own serve end.
    """

    phase: int
    open: int
    replied: int
    errors: int
    row: IntervalSample | None
    replies_per_s: float
    under_way: int = 0
    workers: tuple[WorkerTotals, ...] = ()
    serving: tuple[WorkerTotals, ...] = ()
    kinds: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class CrewSamples:
    """What a crew has measured, once its run is over."""

    workers: tuple[WorkerSamples, ...]
    ends: tuple[WorkerEnd, ...]
    intervals: tuple[IntervalSample, ...]
    serve: ServeSamples | None
    memory: MemorySamples | None
    kernel: KernelSamples | None  # of the window
    kernel_of_ramp: KernelSamples | None
    throttling: ThrottlingSamples | None  # of the window


class Crew(Protocol):
    """The workers of a run, and its serve end if it brings one."""

    def start(self) -> int:
        """Starts everything; once all wait for the first word, returns the target's port.

        Raises PreflightError or WorkerError, and Interrupted at a signal.
        """

    def say(self, word: Word) -> None:
        """Sends it to all workers, or to those that it concerns. A worker that is gone is left out."""

    def look(self, now: int) -> Look:
        """Samples them. Dead workers of the serve end are replaced, and the series gets its next row if one is due."""

    def wakers(self) -> Sequence[HasFileno]:
        """Returns what becomes readable when a look is worth it before the next tick."""

    def totals(self) -> Totals:
        """Returns what a live view shows."""

    def view(self) -> View:
        """Returns what a scrape is shown. Unlike the others it may be called from any thread, once it has started."""

    def first(self) -> tuple[PhaseSamples, bytes, Script]:
        """Returns what the worker of the run's first connection counted in the ramp, and how what came on it begins.

        And what it sent: the run's script.
        """

    def leave(self) -> int:
        """Tells them to end at once and kills those that hang. Returns when the last one had ended (monotonic ns)."""

    def samples(self) -> CrewSamples:
        """Ends the serve end and returns what was measured."""

    def so_far(self) -> CrewSamples:
        """Returns what was measured up to now; nothing ends."""

    def end(self) -> None:
        """Ends every process and closes everything, however far the start has come."""


def closing_ns(least_ns: int, connections: int) -> int:
    """Returns how long a run may take to close its connections."""
    return least_ns + connections * _CLOSE_NS
