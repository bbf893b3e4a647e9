"""What the blast workers did with their time: how busy they were, how long they stood still, what that changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from loadkit.report.disturbed import CHANGED, Change, find_changes
from loadkit.report.evidence.asked import Asked
from loadkit.report.record import HistogramRecord, RunRecord, WorkerRecord, measured

__all__ = ["BUSY", "OWN_DELAY", "Busiest", "Workers", "work_share"]

# A worker that is busy for this much of the window has no time left to be on time.
BUSY = 0.95
# Time that a worker stood still, waited for a core, shared it or was cut off from it, divided by the window: a
# disturbance may change a tenth of a figure.
OWN_DELAY = CHANGED
# A change by lateness up to this is noise of timers and wake-ups: 20 to 120 us in the p99 of a virtual machine, a few
# hundred beside other work (2 cores, native and uvloop). It is more than a tenth of a latency of 60 us, and no
# disturbance: each run against a fast target would be suspect.
NOISE_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Busiest:
    """The blast worker with the least time to spare: its place, and the part of the window in which it was busy."""

    index: int
    share: float


@dataclass(frozen=True)
class Workers:
    """The blast workers of a record."""

    asked: Asked

    @property
    def record(self) -> RunRecord:
        """The record they are of."""
        return self.asked.record

    # -- busy

    @cached_property
    def busiest(self) -> Busiest:
        """The blast worker with the least time to spare."""
        shares = [(work_share(worker), worker.index) for worker in self.record.workers]
        share, index = max(shares, default=(0.0, 0))
        return Busiest(index, min(1.0, share))

    @property
    def is_busy(self) -> bool:
        """Whether a blast worker had no time left."""
        return self.busiest.share >= BUSY

    # -- standing still

    @property
    def stood_most(self) -> WorkerRecord | None:
        """The worker with the longest standstill; None without standstills."""
        stood = self.record.standstills
        return next((one for one in self.record.workers if stood and one.index == stood.worker), None)

    @property
    def standstill_share(self) -> float:
        """The time that the blast workers stood still, divided by the time of all of them."""
        stood, workers = self.record.standstills, len(self.record.workers) / self.record.in_a_row
        return stood.sum_ns / (self.asked.span_ns * workers) if stood and self.asked.span_ns and workers else 0.0

    @property
    def has_long_turns(self) -> bool:
        """Whether a closed loop's standstills were work: the worker that has most of them ran nearly all the time.

        A turn over hundreds of replies takes an engine in Python more than 10 ms of CPU time, and nothing stopped it.
        """
        worker = self.stood_most
        if self.asked.is_open_loop or worker is None or worker.cpu_share is None or not worker.standstill_ns:
            return False
        stopped = 1.0 - worker.cpu_share
        return self.is_busy and stopped < min(OWN_DELAY, worker.standstill_ns / (2 * self.asked.span_ns))

    # -- what their lateness and standstills changed

    @cached_property
    def latency(self) -> HistogramRecord:
        """The latency of the measured phases."""
        return measured(self.record.histograms, "latency")

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The percentiles of latency that our own lateness and standstills changed, by more than a timer's noise."""
        return (*self.standstill_changes, *self.late_changes)

    @cached_property
    def standstill_changes(self) -> tuple[Change, ...]:
        """The changes by standstills."""
        return self._changes_by(is_standstill=True, is_noise=False)

    @cached_property
    def late_changes(self) -> tuple[Change, ...]:
        """The changes by lateness."""
        return self._changes_by(is_standstill=False, is_noise=False)

    @property
    def noise(self) -> tuple[Change, ...]:
        """What a timer and a wake-up changed, if nothing else changed anything."""
        return () if self.changes else self._changes_by(is_standstill=False, is_noise=True)

    @cached_property
    def _all_changes(self) -> tuple[Change, ...]:
        return find_changes(self.latency, self.record.disturbed)

    def _changes_by(self, is_standstill: bool, is_noise: bool) -> tuple[Change, ...]:
        return tuple(
            change
            for change in self._all_changes
            if self._by_standstill(change) is is_standstill and self._is_noise(change) is is_noise
        )

    def _by_standstill(self, change: Change) -> bool | None:
        """Whether a standstill made a change, or else lateness; None if neither was long enough for it.

        A slow message overlaps short standstills and hardly notices. If messages are late by a timer's noise, the
        messages that a standstill hit are few of all disturbed ones, and most of the slow ones.
        """
        stood, lateness = self.record.stood or 0, self.record.histograms["lateness"]
        workers = max((worker.standstill_ns or 0 for worker in self.record.workers), default=0)
        longest = (self.record.standstills.longest_ns or 0) if self.record.standstills else 0
        least = CHANGED * change.with_ns
        can_stand, can_be_late = max(workers, longest) > least, lateness is not None and (lateness.max or 0) > least
        if can_stand and (2 * stood > change.above or not can_be_late):
            return stood > 0 or None
        return False if can_be_late else None

    def _is_noise(self, change: Change) -> bool:
        lateness = self.record.histograms["lateness"]
        if change.without_ns is None:  # nothing is left to compare with but the lateness of as many messages
            late_ns = lateness.percentiles.get(change.percentile) if lateness else None
            return not self._by_standstill(change) and late_ns is not None and late_ns <= NOISE_NS
        return change.with_ns - change.without_ns <= NOISE_NS


def work_share(worker: WorkerRecord) -> float:
    """Returns the part of the window in which a worker was busy: as it counted, else what it ran or wanted to run."""
    if worker.busy_share is not None:
        return worker.busy_share
    return (worker.cpu_share or 0.0) + (worker.run_delay_share or 0.0)
