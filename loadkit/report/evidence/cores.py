"""Whether the workers of this machine had the cores they needed: waits for one, sharing, a CPU quota, the host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from loadkit.plan.placement import Placement
from loadkit.report.evidence.asked import Asked
from loadkit.report.evidence.workers import BUSY, OWN_DELAY, Workers, work_share
from loadkit.report.record import RunRecord, WorkerRecord

__all__ = ["Cores", "RunDelay", "SharedCore"]

# A wait for a core that other processes had is some slices of the scheduler long; one much longer has another cause.
LONGEST_CORE_WAIT_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class RunDelay:
    """The worker that waited the longest for a core of this machine: which part of the window, and its name.

    `by_own` is the part in which other workers of this run had that core.
    """

    share: float
    worker: str
    by_own: float

    @property
    def by_others(self) -> float:
        """The part that none of our own workers explains."""
        return max(0.0, self.share - self.by_own)


@dataclass(frozen=True, slots=True)
class SharedCore:
    """A core that both ends run on, and the part of the window in which the serve end used it."""

    core: int
    share: float

    @property
    def is_disturbing(self) -> bool:
        """Whether the serve end used it for long enough to change a figure."""
        return self.share > OWN_DELAY


@dataclass(frozen=True)
class Cores:
    """The cores of a run's workers, on this machine."""

    workers: Workers

    @property
    def asked(self) -> Asked:
        """What the run was asked for."""
        return self.workers.asked

    @property
    def record(self) -> RunRecord:
        """The record they are of."""
        return self.asked.record

    # -- waiting for a core

    @cached_property
    def run_delay(self) -> RunDelay:
        """The longest wait for a core of this machine, of both ends if both are here."""
        return max(self._run_delays, key=lambda one: one.share, default=RunDelay(0.0, "", 0.0))

    @cached_property
    def own_run_delay(self) -> RunDelay:
        """The longest wait of a blast worker."""
        own = self._run_delays[: len(self.record.workers)]
        return max(own, key=lambda one: one.share, default=RunDelay(0.0, "", 0.0))

    @property
    def is_crowded_out(self) -> bool:
        """Whether other processes kept a blast worker from its core."""
        return self.own_run_delay.by_others > OWN_DELAY

    @property
    def makes_late(self) -> bool:
        """Whether messages were late because a blast worker waited for its core: what had that core is named for it."""
        workers = self.workers
        return bool(workers.late_changes) and self.own_run_delay.share > OWN_DELAY and not workers.is_busy

    @property
    def standstill_wait_ns(self) -> int:
        """How long the worker that stood still waited for a core, if that can be all of its standstill; else 0.

        What is known is the wait in the whole window: a shorter one is no proof that others had the core just then.
        """
        worker, delay = self.workers.stood_most, self.own_run_delay
        if worker is None or not worker.standstill_ns or 2 * delay.by_others < delay.share:
            return 0
        wait_ns = worker.run_delay_ns or 0
        return wait_ns if wait_ns >= worker.standstill_ns else 0

    def can_be_wait_for_a_core(self, wait_ns: int) -> bool:
        """Whether other processes kept a worker of either end here from its core, for so long in the whole window.

        Then what waited for a reply may have waited for that worker: it is no proof of a slow target. The delays of a
        window come in slices of some milliseconds, however many there are: a single long wait is not made of them.
        """
        return wait_ns <= LONGEST_CORE_WAIT_NS and any(
            one.by_others > OWN_DELAY and one.by_others * self.asked.span_ns >= wait_ns for one in self._run_delays
        )

    @cached_property
    def has_time(self) -> bool:
        """Whether each blast worker had time to spare: it neither worked, nor waited for its core, nearly always.

        If other processes have its core, a worker that waits for events waits for the core as well once they come:
        that is no part of the time in which it was busy.
        """
        if not self.is_crowded_out:
            return not self.workers.is_busy
        return all(work_share(worker) + (worker.run_delay_share or 0.0) < BUSY for worker in self.record.workers)

    @cached_property
    def _run_delays(self) -> Sequence[RunDelay]:
        """Of each blast worker, and then of each worker of an embedded serve end."""
        blast = [("blast", worker) for worker in self.record.workers]
        serve = [("serve", worker) for worker in self._serve_workers]
        # The CPU time on each core, and of each worker on it: a merged record has a worker several times.
        of_cores = defaultdict[int | None, float](float)
        of_workers = defaultdict[tuple[int | None, str, int], float](float)
        for end, one in (*blast, *serve):
            of_cores[one.core] += one.cpu_share or 0.0
            of_workers[one.core, end, one.index] += one.cpu_share or 0.0
        return [
            RunDelay(
                one.run_delay_share or 0.0,
                f"{end} worker {one.index}",
                self._by_own(one, of_cores[one.core] - of_workers[one.core, end, one.index]),
            )
            # That a joined one waited is the target's: `target-run-delay`.
            for end, one in (*blast, *(serve if self.record.serve else ()))
        ]

    @property
    def _serve_workers(self) -> Sequence[WorkerRecord]:
        """The workers of loadkit's own serve end, if that ran on this machine: embedded, or joined."""
        server = self.record.server
        return server.workers if server and self._is_beside else ()

    @property
    def has_unknown_target(self) -> bool:
        """Whether the target is a process of this machine of which the record knows nothing."""
        return self._is_beside and self.record.server is None

    @property
    def _is_beside(self) -> bool:
        """Whether the target runs on the same machine."""
        return self.record.target.embedded or self.record.target.is_local

    def _by_own(self, worker: WorkerRecord, others: float) -> float:
        """The part of the window in which other workers had this one's core, if it is known; a merged record's mean."""
        if worker.core is None:
            return 1.0 if self.is_crowded else 0.0
        return max(0.0, others) / self.record.merged

    # -- sharing cores

    @property
    def crowd(self) -> tuple[int, int]:
        """How many workers of both ends, and on how many cores of their machine: the most crowded one's."""
        crowds = [_crowd(placement) for placement in self.record.placements]
        return max(crowds, key=lambda crowd: crowd[0] / max(1, crowd[1]))

    @property
    def is_crowded(self) -> bool:
        """Whether this run's own workers take turns on cores."""
        workers, cores = self.crowd
        return 0 < cores < workers

    @cached_property
    def shared(self) -> SharedCore | None:
        """The core of both ends that a serve end here used the most; None if each end has cores of its own."""
        cores = {core for placement in self.record.placements for core in placement.cores}
        shares = defaultdict[int, float](float)
        for worker in self._serve_workers:
            if worker.core is not None and worker.core in cores:
                shares[worker.core] += (worker.cpu_share or 0.0) / self.record.merged
        found = max(shares.items(), key=lambda one: one[1], default=None)
        return SharedCore(*found) if found else None

    # -- what the machine took

    @property
    def stolen(self) -> float:
        """The part of this machine's CPU time that its host took."""
        return self.record.kernel.cpu.get("steal", 0.0) if self.record.kernel else 0.0

    @cached_property
    def is_throttled(self) -> bool:
        """Whether the control group's CPU quota disturbed us: by itself, or behind what else would speak."""
        throttling = self.record.throttling
        if not throttling or not throttling.throttled_periods or not self.asked.span_ns:
            return False
        workers, delay = self.workers, self.run_delay.share
        share = throttling.throttled_ns / (self.asked.span_ns * self.asked.at_once)
        stood = self.record.standstills.sum_ns if self.record.standstills else 0
        by_standstill = 2 * throttling.throttled_ns >= stood > 0
        return (
            share > OWN_DELAY
            or (delay > OWN_DELAY and 2 * share >= delay)
            or bool(workers.late_changes)
            or (bool(workers.standstill_changes) and by_standstill)
            or (not self.asked.is_open_loop and workers.standstill_share > OWN_DELAY and by_standstill)
        )


def _crowd(placement: Placement) -> tuple[int, int]:
    serve = placement.serve
    workers = placement.workers + (serve.workers if serve else 0)
    return workers, len({*placement.cores, *(serve.cores if serve else ())})
