"""What a record shows that more than one rule of the verdict asks for. Facts and thresholds, no judgement.

A record that was merged or read from a file shows the same as a fresh one: nothing here asks for more than the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.placement import Placement
from loadkit.report.advice import EXHAUSTED, explain, main_error, say_cause
from loadkit.report.disturbed import CHANGED, Change, find_changes
from loadkit.report.record import Advised, HistogramRecord, Party, RunRecord, WorkerRecord, measured
from loadkit.units import NS_PER_S

__all__ = ["BUSY", "MISSING", "OWN_DELAY", "Busiest", "Evidence", "Missing", "RunDelay"]

# More than this part of the connections, of the messages or of the connects makes another experiment.
MISSING = 0.01
# A worker that has work for this much of the window has no time left to be on time.
BUSY = 0.95
# Time that a worker stood still, waited for a core, shared it or was cut off from it, divided by the window: a
# disturbance may change a tenth of a figure.
OWN_DELAY = CHANGED
# A change by lateness up to this is noise of timers and wake-ups: 20 to 120 us in the p99 of a virtual machine, a few
# hundred beside other work (2 cores, native and uvloop). It is more than a tenth of a latency of 60 us, and no
# disturbance: each run against a fast target would be suspect.
NOISE_NS = 1_000_000
# A wait for a core that other processes had is some slices of the scheduler long; one much longer has another cause.
LONGEST_CORE_WAIT_NS = 100_000_000
# Lateness by which messages may stay unsent.
LATE_NS = 10_000_000

_SETUP_KINDS = ("ramp", "warm-up")
_BREAKS = ("send", "receive")


@dataclass(frozen=True, slots=True)
class Busiest:
    """The blast worker with the least time to spare: its place, and the part of the window it had work for."""

    index: int
    share: float


@dataclass(frozen=True, slots=True)
class Missing:
    """Connections that the load lacked: never open (or broken) when the window began, and lost after that."""

    asked: int
    at_start: int
    lost: int

    @property
    def share(self) -> float:
        """The part of those asked for."""
        return (self.at_start + self.lost) / self.asked if self.asked else 0.0


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


@dataclass(frozen=True)
class Evidence:
    """A record, and what follows from it."""

    record: RunRecord

    # -- what was asked for

    @property
    def load(self) -> Load:
        """What was asked of the target."""
        return self.record.load

    @cached_property
    def is_open_loop(self) -> bool:
        """Whether messages went out on a schedule."""
        return any(phase.rate_hz for phase in self.load.phases)

    @property
    def is_churn(self) -> bool:
        """Whether connections were closed and opened again all the time."""
        return self.load.lifetime_ns is not None

    @property
    def is_cut(self) -> bool:
        """Whether the run ended before its plan did, and is judged on what was asked up to then."""
        return self.record.partial or self.load.messages is not None

    @property
    def asked_connections(self) -> int:
        """How many were to be open at once, of all runs in the record."""
        return self.load.connections * self.record.merged

    @cached_property
    def holds(self) -> Sequence[PhasePlan]:
        """The planned phases that are measured."""
        return [phase for phase in self.load.phases if phase.kind is PhaseKind.HOLD]

    @property
    def planned_ns(self) -> int:
        """How long was to be measured."""
        return sum(phase.duration_ns for phase in self.holds) * self.record.in_a_row

    @property
    def at_once(self) -> float:
        """How many runs went on side by side: 1 but in a merged record."""
        return self.record.merged / self.record.in_a_row

    @property
    def planned_messages(self) -> float:
        """How many messages the schedule has in the measured phases."""
        each = [sum(phase.rate_hz or ()) / 2 * phase.duration_ns / NS_PER_S for phase in self.holds]
        return float(sum(each)) * self.record.merged

    # -- what came of it

    @property
    def span_ns(self) -> int:
        """How long was measured."""
        return self.record.window.measured_ns if self.record.window else 0

    @property
    def begun(self) -> int:
        """How many connects were begun, in all phases."""
        return sum(phase.connections.asked for phase in self.record.phases)

    @cached_property
    def sent(self) -> int:
        """How many messages were sent, in all phases; in an open loop the schedule's, and one as a connection opens."""
        scheduled = sum(phase.messages.sent for phase in self.record.phases)
        return scheduled + self.record.connections.opened if self.is_open_loop else scheduled

    @cached_property
    def has_replies(self) -> bool:
        """Whether any right reply came, in any phase. A connection's first byte may be that of a wrong one."""
        counted = any(phase.messages.replied for phase in self.record.phases)
        first = self.record.histograms["first_byte"]
        wrong = sum(row.count for row in self.record.errors if row.error in ("WRONG_BYTES", "EXTRA_BYTES"))
        return counted or (first is not None and first.count > wrong) or bool(self.record.connections.at_start)

    @cached_property
    def latency(self) -> HistogramRecord:
        """The latency of the measured phases."""
        return measured(self.record.histograms, "latency")

    @cached_property
    def missing(self) -> Missing:
        """The connections that the load lacked. In churn none is, for each is opened again: connects may fail there."""
        connections, asked = self.record.connections, self.asked_connections
        if self.is_churn or self.record.window is None:
            return Missing(asked, 0, 0)
        first = next(at for at, phase in enumerate(self.load.phases) if phase.kind is PhaseKind.HOLD)
        wanted = self.load.phases[max(0, first - 1)].connections * self.record.merged
        there = connections.at_start
        if there is None:
            wanted, there = asked, connections.peak or 0
        # Those that a later phase adds, and that did not open.
        later = [phase.connections for phase in self.record.phases if phase.kind not in _SETUP_KINDS]
        unopened = sum(max(0, one.asked - one.opened) for one in later)
        return Missing(asked, max(0, wanted - there) + unopened, connections.lost or 0)

    @property
    def is_smaller(self) -> bool:
        """Whether so many connections were missing that it was another experiment."""
        return self.missing.share > MISSING

    @cached_property
    def exhausted(self) -> Sequence[Advised]:
        """The errors by which this machine says that it ran out of something."""
        return [row for row in self.record.errors if row.error in EXHAUSTED and row.step != "close"]

    @property
    def is_exhausted(self) -> bool:
        """Whether that hit more than MISSING of the connections, or the machine's memory ended the ramp."""
        opening = self.record.opening
        if opening and opening.stopped and (self.is_smaller or self.record.window is None):
            return True
        return sum(row.count for row in self.exhausted) > MISSING * self.begun

    def rows(self, is_setup: bool) -> Sequence[Advised]:
        """The errors of connections from before the window, or since."""
        names = {phase.name for phase in self.record.phases if phase.kind in _SETUP_KINDS}
        return [row for row in self.record.errors if row.step != "close" and (row.phase in names) is is_setup]

    # -- whose doing

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

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The percentiles of latency that our own lateness and standstills changed, by more than a timer's noise."""
        return (*self.standstill_changes, *self.late_changes)

    @cached_property
    def standstill_changes(self) -> tuple[Change, ...]:
        """Those of them that standstills changed."""
        return self._changes_by(is_standstill=True, is_noise=False)

    @cached_property
    def late_changes(self) -> tuple[Change, ...]:
        """Those of them that lateness changed."""
        return self._changes_by(is_standstill=False, is_noise=False)

    @property
    def noise(self) -> tuple[Change, ...]:
        """What a timer and a wake-up changed, where nothing else changed anything."""
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
        """Whether a standstill made a change, or else lateness; None where neither was long enough for it.

        A slow message overlaps short standstills and hardly notices; and where messages are late by a timer's noise,
        those that a standstill hit are few of all disturbed ones, and most of the slow ones.
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

    @property
    def standstill_share(self) -> float:
        """The time that the blast workers stood still, divided by the time of all of them."""
        stood, workers = self.record.standstills, len(self.record.workers) / self.record.in_a_row
        return stood.sum_ns / (self.span_ns * workers) if stood and self.span_ns and workers else 0.0

    @property
    def has_long_turns(self) -> bool:
        """Whether a closed loop's standstills were work: the worker that has most of them ran nearly all the time.

        A turn over hundreds of replies takes an engine in Python more than 10 ms of CPU time, and nothing stopped it.
        """
        stood = self.record.standstills
        worker = next((one for one in self.record.workers if stood and one.index == stood.worker), None)
        if self.is_open_loop or worker is None or worker.cpu_share is None or not worker.standstill_ns:
            return False
        stopped = 1.0 - worker.cpu_share
        return self.is_busy and stopped < min(OWN_DELAY, worker.standstill_ns / (2 * self.span_ns))

    @cached_property
    def run_delay(self) -> RunDelay:
        """The longest wait for a core of this machine, of both ends where both are here."""
        return max(self._run_delays, key=lambda one: one.share, default=RunDelay(0.0, "", 0.0))

    @cached_property
    def own_run_delay(self) -> RunDelay:
        """The longest wait of a blast worker."""
        own = self._run_delays[: len(self.record.workers)]
        return max(own, key=lambda one: one.share, default=RunDelay(0.0, "", 0.0))

    @cached_property
    def _run_delays(self) -> Sequence[RunDelay]:
        """Of each blast worker, and then of each worker of an embedded serve end."""
        embedded = self.record.serve is not None and self.record.server is not None
        workers = [("blast", worker) for worker in self.record.workers]
        if embedded and self.record.server:
            workers += [("serve", worker) for worker in self.record.server.workers]
        # Of each core and of each worker on it; a merged record has a worker several times.
        of_cores, of_workers = (
            defaultdict[int | None, float](float),
            defaultdict[tuple[int | None, str, int], float](float),
        )
        for end, one in workers:
            of_cores[one.core] += one.cpu_share or 0.0
            of_workers[one.core, end, one.index] += one.cpu_share or 0.0
        return [
            RunDelay(
                one.run_delay_share or 0.0,
                f"{end} worker {one.index}",
                self._by_own(one, of_cores[one.core] - of_workers[one.core, end, one.index]),
            )
            for end, one in workers
        ]

    def _by_own(self, worker: WorkerRecord, others: float) -> float:
        """The part of the window in which other workers had this one's core, if it is known; a merged record's mean."""
        if worker.core is None:
            return 1.0 if self.is_crowded else 0.0
        return max(0.0, others) / self.record.merged

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

    @property
    def is_crowded_out(self) -> bool:
        """Whether other processes kept a blast worker from its core."""
        return self.own_run_delay.by_others > OWN_DELAY

    def can_be_wait_for_a_core(self, wait_ns: int) -> bool:
        """Whether other processes kept a worker of either end here from its core, for so long in the whole window.

        Then what waited for a reply may have waited for that worker: it is no proof of a slow target. The delays of a
        window come in slices of some milliseconds, however many there are: a single long wait is not made of them.
        """
        return wait_ns <= LONGEST_CORE_WAIT_NS and any(
            one.by_others > OWN_DELAY and one.by_others * self.span_ns >= wait_ns for one in self._run_delays
        )

    @cached_property
    def has_time(self) -> bool:
        """Whether each blast worker had time to spare: it neither had work, nor waited for its core, nearly always.

        Where other processes have its core, a worker that waits for events waits for the core as well once they come:
        that is no part of the time it had work for.
        """
        if not self.is_crowded_out:
            return not self.is_busy
        return all(work_share(worker) + (worker.run_delay_share or 0.0) < BUSY for worker in self.record.workers)

    @property
    def standstill_wait_ns(self) -> int:
        """How long the worker that stood still waited for a core, where that can be all of it; 0 elsewhere.

        What is known is the wait in the whole window: a shorter one is no proof that others had the core just then.
        """
        stood = self.record.standstills
        worker = next((one for one in self.record.workers if stood and one.index == stood.worker), None)
        if worker is None or not worker.standstill_ns or 2 * self.own_run_delay.by_others < self.own_run_delay.share:
            return 0
        wait_ns = worker.run_delay_ns or 0
        return wait_ns if wait_ns >= worker.standstill_ns else 0

    @property
    def stolen(self) -> float:
        """The part of this machine's CPU time that its host took."""
        return self.record.kernel.cpu.get("steal", 0.0) if self.record.kernel else 0.0

    @cached_property
    def is_throttled(self) -> bool:
        """Whether the control group's CPU quota disturbed us: by itself, or behind what else would speak."""
        throttling = self.record.throttling
        if not throttling or not throttling.throttled_periods or not self.span_ns:
            return False
        share = throttling.throttled_ns / (self.span_ns * self.at_once)
        stood = self.record.standstills.sum_ns if self.record.standstills else 0
        by_standstill = 2 * throttling.throttled_ns >= stood > 0
        return (
            share > OWN_DELAY
            or (self.run_delay.share > OWN_DELAY and 2 * share >= self.run_delay.share)
            or bool(self.late_changes)
            or (bool(self.standstill_changes) and by_standstill)
            or (not self.is_open_loop and self.standstill_share > OWN_DELAY and by_standstill)
        )

    def p99(self, name: str) -> int:
        """The p99 of a histogram, or the worst of too few values for one; 0 of none."""
        histogram = self.record.histograms[name]
        if histogram is None:
            return 0
        p99 = histogram.percentiles["99"]
        return (histogram.max or 0) if p99 is None else p99

    @cached_property
    def unsent_share(self) -> float:
        """The part of the messages that were due and never sent; 0 in a closed loop."""
        messages = self.record.messages
        return messages.unsent / messages.intended if self.is_open_loop and messages.intended else 0.0

    @cached_property
    def is_unsent_ours(self) -> bool:
        """Whether it was this end that left messages unsent.

        It was if a worker had no time to spare, if standstills are long enough for half of it, if messages were late
        for longer than they waited for room, or if few of them waited at all.
        """
        late, held = self.p99("lateness"), self.p99("held")
        waited = self.record.messages.waited
        return (
            not self.has_time
            or 2 * self.standstill_share >= self.unsent_share
            or late > max(LATE_NS, held)
            or 2 * waited < self.record.messages.unsent
        )


def work_share(worker: WorkerRecord) -> float:
    """Returns the part of the window a worker had work for: as it counted, else what it ran or wanted to run."""
    if worker.busy_share is not None:
        return worker.busy_share
    return (worker.cpu_share or 0.0) + (worker.run_delay_share or 0.0)


def cause_of(rows: Sequence[Advised]) -> tuple[str, Party] | None:
    """Returns the cause of most of these errors in words, and whose it is; None of no errors."""
    found = main_error(rows)
    return (say_cause(*found), explain(*found).party) if found else None


def broke(rows: Sequence[Advised]) -> Sequence[Advised]:
    """Returns those of the errors that ended an open connection."""
    return [row for row in rows if row.step in _BREAKS]


def _crowd(placement: Placement) -> tuple[int, int]:
    serve = placement.serve
    workers = placement.workers + (serve.workers if serve else 0)
    return workers, len({*placement.cores, *(serve.cores if serve else ())})
