"""A blast run on this machine, from a plan to samples.

The parent starts the workers and has one of them open the run's first connection. If that has a right reply, it says
when the ramp begins and when it is over, looks at the board, and waits; else the run ends there and says what came.
It decides nothing a worker could decide: a worker that hears nothing more still ends its plan.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from loadkit.engine.base import STOP_NS
from loadkit.engine.registry import choose_engine, fallback_reason, get_engine
from loadkit.errors import LoadkitError, TargetError
from loadkit.measure.board import COUNTERS, PROOFS, Board, BoardLayout
from loadkit.measure.kernel import KernelLook, difference, read_kernel
from loadkit.measure.memory import Room, read_room
from loadkit.measure.samples import (
    IntervalSample,
    MemorySamples,
    RunSamples,
    ServeSamples,
    WorkerSamples,
    read_board,
    read_worker,
)
from loadkit.measure.throttling import ThrottlingLook, read_throttling
from loadkit.measure.throttling import difference as throttled
from loadkit.plan.model import PhaseKind, Plan
from loadkit.plan.split import split
from loadkit.run.first import first_failure
from loadkit.run.footprint import Footprint
from loadkit.run.forker import Forker
from loadkit.run.intervals import Series
from loadkit.run.local import Worker, end_all, let_go, start_workers
from loadkit.run.ramp import Ramp
from loadkit.run.serve import ServeGroup
from loadkit.run.signals import Interrupts, entered
from loadkit.units import NS_PER_S

__all__ = ["Observer", "Progress", "run_blast"]

# Between saying when something begins and its beginning: every worker has heard it by then.
_AHEAD_NS = 50_000_000
_AHEAD_A_WORKER_NS = 5_000_000
_FIRST_AHEAD_NS = 10_000_000  # one worker has to hear it
_LOOK_NS = NS_PER_S // 10
# In the ramp, and before it: after a twentieth of the time that has passed, within these limits, so that each tenth of
# a ramp has two looks, however short it is.
_RAMP_LOOKS, _LEAST_RAMP_LOOK_NS, _RAMP_LOOK_NS = 20, NS_PER_S // 200, NS_PER_S // 20
# A time-out is found so much of it later, at the most.
_TIMEOUT_LATE = 64
# After this much more than the plan's own time a worker that has not ended is told to leave.
_PATIENCE_NS = 5 * NS_PER_S
# A wait of ours that took this much longer than asked: we were stopped.
_STOOD_NS = NS_PER_S // 2
# With -d a run goes on for so long once its last connection is gone: what falls due in it is counted as unsent.
_STRANDED_NS = 2 * NS_PER_S
# A worker that was told to leave and has not ended by then is hung, and killed.
_LEAVE_NS = 2 * NS_PER_S
# Closing takes the kernel its time: a million connections 26 s on two cores, both ends. This is twice that, and some.
_CLOSE_NS = 60_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What a live view shows. `interval` is the last full second's, None before the first."""

    phase: str
    open: int
    asked: int
    replied: int
    errors: int
    left_ns: int
    interval: IntervalSample | None
    replies_per_s: float


Observer = Callable[[Progress], None]


def run_blast(
    plan: Plan,
    observer: Observer | None = None,
    room: Callable[[], Room | None] = read_room,
    interrupts: Interrupts | None = None,
) -> tuple[Plan, RunSamples]:
    """Runs the plan and returns it as it was run (port and engine filled in), with what was measured.

    `room` tells how much memory is left; when it gets tight no more connections are opened. Signals end the run early:
    those of `interrupts`, which the caller has entered, else those that an Interrupts of its own takes.
    Raises PreflightError, TargetError, WorkerError or Interrupted when the run cannot start. Once started it always
    returns, with whatever was recorded.
    """
    asked = plan.engine
    plan = msgspec.structs.replace(plan, engine=choose_engine(asked, plan.edge_triggered))
    footprint = Footprint(plan.connections)
    with entered(interrupts) as interrupts, Forker(interrupts) as forker:
        group = ServeGroup(plan.serve, forker) if plan.serve else None
        try:
            if group:
                target = msgspec.structs.replace(plan.target, port=group.plan.port)
                plan = msgspec.structs.replace(plan, target=target, serve=group.plan)
            layout = BoardLayout(plan.workers, len(plan.phases), plan.highest_ns, plan.journey)
            with contextlib.closing(Board(layout)) as board:
                workers = start_workers(forker, split(plan), board)
                try:
                    run = _Run(plan, group, forker, workers, board, interrupts, observer, footprint, room)
                    run.drive()
                    if run.has_failed:
                        raise run.failure()
                    samples = run.samples()
                finally:
                    let_go(workers)  # they have ended, unless the run could not begin
            return plan, replace(samples, fallback=fallback_reason(asked, plan.engine))
        finally:
            if group:
                group.leave()
                group.close(_closing_ns(plan, _LEAVE_NS) / NS_PER_S)


def _closing_ns(plan: Plan, least: int) -> int:
    """Returns how long closing its connections may take a run."""
    return least + plan.connections * _CLOSE_NS


class _Run:
    """A run under way, in the parent."""

    def __init__(
        self,
        plan: Plan,
        group: ServeGroup | None,
        forker: Forker,
        workers: list[Worker],
        board: Board,
        interrupts: Interrupts,
        observer: Observer | None,
        footprint: Footprint,
        room: Callable[[], Room | None],
    ) -> None:
        self.plan = plan
        self.group = group
        self.interrupts = interrupts
        self.observer = observer
        self.board = board
        self.workers = workers
        self.series = Series(self.board, group.board if group else None)
        self.hold_ns: int | None = None
        self.window: tuple[int, int] | None = None
        self.kernel_before: KernelLook | None = None
        self.kernel_at_start: KernelLook | None = None
        self.kernel_at_end: KernelLook | None = None
        self.throttling_at_start = self.throttling_at_end = ThrottlingLook({})
        self.serve_at_start: tuple[WorkerSamples, ...] = ()
        self.serve_at_end: tuple[WorkerSamples, ...] = ()
        self.serve_looks_ns: list[int] = []
        self._stop_ns: int | None = None
        self._stood_ns = 0  # how long this process was not let run
        self.footprint = footprint
        self.memory: MemorySamples | None = None
        footprint.ready([forker.pid, *self._pids(self.workers), *self._pids(group.workers if group else [])])
        self.kernel_before = read_kernel()
        self._ahead_ns = _AHEAD_NS + plan.workers * _AHEAD_A_WORKER_NS
        self._room = room
        self.ramp: Ramp | None = None  # until the first connection had a right reply
        self.has_failed = False  # it had none
        self._shown_ns = 0
        self.start_ns = self.end_ns = time.monotonic_ns() + _FIRST_AHEAD_NS
        start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(microseconds=_FIRST_AHEAD_NS // 1000)
        self.started = start.isoformat(timespec="milliseconds")
        self.workers[0].say("start", self.start_ns)

    def _say(self, *words: object) -> None:
        for worker in self.workers:
            worker.say(*words)

    # -- while it goes on

    def drive(self) -> None:
        """Looks on until every worker has ended, a second signal has come, or it has taken too long."""
        try:
            while True:
                now = time.monotonic_ns()
                running = [worker.sentinel for worker in self.workers if not worker.is_gone()]
                self._look(now)
                if self.has_failed or not running or self.interrupts.count > 1 or now > self._give_up_ns():
                    break
                group = self.group.sentinels if self.group else []
                until = max(now, self._next_look(now))
                self.interrupts.wait([*running, *group], (until - now) / NS_PER_S)
                # The workers may have been stopped with us, by a debugger, a pause of the container or a lid.
                overslept = time.monotonic_ns() - until
                self._stood_ns += overslept if overslept > _STOOD_NS else 0
                self._heed()
        finally:
            self._say("leave")
            end_all(self.workers, _closing_ns(self.plan, _LEAVE_NS) / NS_PER_S)
            self.end_ns = time.monotonic_ns()
            self._look(self.end_ns)
            self.series.close(self.end_ns - self.start_ns)

    def _heed(self) -> None:
        """Acts on a first signal and on deaths."""
        if self.interrupts.count:
            self._stop()
        elif self.group:
            # Without a serve end there is nothing to go on with. Who died, and how, is in the record.
            try:
                self.group.mend()
            except LoadkitError:
                self._stop()
        if any(worker.is_gone() and worker.died() for worker in self.workers):
            # Its share of the load is missing from now on: what follows would not be the run that was asked for.
            self._stop()

    def _stop(self) -> None:
        if self._stop_ns is None:
            self._stop_ns = time.monotonic_ns()
            # Before the ramp there is nothing to end gently, and the first reply may take as long as --timeout.
            self._say("stop" if self.ramp else "leave")

    def _look(self, now: int) -> None:
        """Reads the board: the ramp's end, the window's edges, the series, the live view."""
        if self.hold_ns is None and self._stop_ns is None:
            if self.ramp:
                self._look_at_ramp(self.ramp, now)
            else:
                self._look_at_first()
        if self.window:
            if not self.kernel_at_start and now >= self.window[0]:
                self.kernel_at_start = read_kernel()
                self.throttling_at_start = read_throttling()
            if not self.kernel_at_end and (now >= self.window[1] or self._traffic_is_over()):
                self.kernel_at_end = read_kernel()
                self.throttling_at_end = read_throttling()
        if self.window and self.group:
            if not self.serve_at_start and now >= self.window[0]:
                self.serve_at_start = self.group.read()
                self.serve_looks_ns = [time.monotonic_ns()]
            if not self.serve_at_end and (now >= self.window[1] or self._traffic_is_over()):
                self.serve_at_end = self.group.read()
                self.serve_looks_ns.append(time.monotonic_ns())
        if self._stop_ns is None and self._is_stranded(now):
            self._stop()
        self.series.look(now - self.start_ns)
        if self.observer and now >= self._shown_ns + _LOOK_NS:
            self._shown_ns = now
            self.observer(self._progress(now))

    def _is_stranded(self, now: int) -> bool:
        """Whether no worker that goes on has had a connection for a while, or will have one."""
        since = [slot.get("stranded_ns") for slot in self.board.slots if not slot.get("finished_ns")]
        return bool(since) and all(since) and now > max(since) + _STRANDED_NS

    def _look_at_first(self) -> None:
        """Begins the ramp when the first connection has had its reply."""
        proof = PROOFS[self.board.slots[0].get("proved")]
        self.has_failed = proof == "failed"
        if proof == "right":
            begin = time.monotonic_ns() + self._ahead_ns
            self.ramp = Ramp(self.board, self.plan.phases[0].connections, begin, self._room)
            first, *others = self.workers
            first.say("ramp", begin)
            for worker in others:
                worker.say("start", begin)

    def _look_at_ramp(self, ramp: Ramp, now: int) -> None:
        had_room = ramp.stopped is None
        ramp.look(now)
        if had_room and ramp.stopped is not None:
            self._say("enough")
        if ramp.is_over(now) or now > self._ramp_limit_ns():
            serve = self.group.workers if self.group else []
            boards = [self.board, *([self.group.board] if self.group else [])]
            opened = sum(slot.get("open") for slot in self.board.slots)
            self.memory = self.footprint.opened(opened, self._pids(self.workers), self._pids(serve), boards)
            self.hold_ns = time.monotonic_ns() + self._ahead_ns
            self._say("hold", self.hold_ns)
            self.window = self._planned_window(self.hold_ns)

    @staticmethod
    def _pids(workers: Sequence[Worker]) -> list[int]:
        return [worker.pid for worker in workers]

    def _next_look(self, now: int) -> int:
        if self.hold_ns is None:
            passed = now - (self.ramp.start_ns if self.ramp else self.start_ns)
            return now + min(_RAMP_LOOK_NS, max(_LEAST_RAMP_LOOK_NS, passed // _RAMP_LOOKS))
        return min([now + _LOOK_NS, *(edge for edge in self.window or () if edge > now)])

    def _traffic_is_over(self) -> bool:
        return all(slot.get("finished_ns") for slot in self.board.slots)

    def _first_limit_ns(self) -> int:
        """By then the first connection has had its reply, has failed or has timed out."""
        return self.start_ns + self._settling_ns()

    def _settling_ns(self) -> int:
        """How long a connection may take to have its first reply, or to fail, unless we are too slow."""
        longest = self.plan.connect_timeout_ns + self.plan.timeout_ns
        return longest + longest // _TIMEOUT_LATE + NS_PER_S

    def _ramp_limit_ns(self) -> int:
        """By then every connection of the ramp has been begun and has had its reply, failed or timed out."""
        begin = self.ramp.start_ns if self.ramp else self._first_limit_ns()
        return begin + 2 * self.plan.phases[0].duration_ns + self._settling_ns()

    def _give_up_ns(self) -> int:
        if self.ramp is None and self._stop_ns is None:
            return self._first_limit_ns() + _PATIENCE_NS + self._stood_ns
        begin = self.hold_ns or self._ramp_limit_ns()
        traffic = begin + sum(phase.duration_ns for phase in self.plan.phases[1:])
        if self._stop_ns is not None:
            traffic = min(traffic, self._stop_ns + STOP_NS)
        return traffic + _closing_ns(self.plan, _PATIENCE_NS) + self._stood_ns

    def _planned_window(self, begin: int) -> tuple[int, int]:
        """From the first measured phase's start to the last one's end."""
        edges = []
        for phase in self.plan.phases[1:]:
            if phase.kind is PhaseKind.HOLD:
                edges += [begin, begin + phase.duration_ns]
            begin += phase.duration_ns
        return min(edges), max(edges)

    def _progress(self, now: int) -> Progress:
        counters, open_now = self.series.totals()
        index = max(slot.get("phase") for slot in self.board.slots)
        left = (self.window[1] if self.window else self._ramp_limit_ns()) - now
        return Progress(
            phase=self.plan.phases[index].name,
            open=open_now,
            asked=self.plan.phases[index].connections,
            replied=counters["replied"],
            errors=self.series.errors(),
            left_ns=max(0, left),
            interval=self.series.rows[-1] if self.series.rows else None,
            replies_per_s=self.series.replies_per_s(),
        )

    # -- afterwards

    def failure(self) -> TargetError:
        """Says why the first connection had no right reply, once its worker has ended."""
        first = self.workers[0]
        first.listen()
        return first_failure(self.plan, read_worker(self.board, 0).phases[0], first.came)

    def samples(self) -> RunSamples:
        """Returns what was measured."""
        serve = self._serve_samples()
        start, end = self._actual_window()
        return RunSamples(
            started=self.started,
            start_ns=self.start_ns,
            ramp_ns=self.ramp.start_ns if self.ramp else None,
            window_start_ns=start,
            window_end_ns=end,
            end_ns=self.end_ns,
            engine=get_engine(self.plan.engine).version(),
            workers=read_board(self.board),
            ends=tuple(worker.end() for worker in self.workers),
            stranded_ns=self._stranded_at_ns(),
            intervals=tuple(self.series.rows),
            interrupted=self.interrupts.first,
            serve=serve,
            tenths_ns=tuple(self.ramp.tenths) if self.ramp else (),
            stopped_opening=self.ramp.stopped if self.ramp else None,
            memory=self.memory,
            kernel=difference(self.kernel_at_start, self.kernel_at_end)
            if self.kernel_at_start and self.kernel_at_end
            else None,
            kernel_of_ramp=difference(self.kernel_before, self.kernel_at_start)
            if self.kernel_before and self.kernel_at_start
            else None,
            throttling=throttled(self.throttling_at_start, self.throttling_at_end),
            # Each worker stops counting them when the measured time begins, however late we look.
            answered=sum(slot.get("answered") for slot in self.board.slots) if start is not None else None,
            closing_ns=time.monotonic_ns() - self._traffic_end_ns(),
        )

    def _actual_window(self) -> tuple[int | None, int | None]:
        """The planned window, cut where the last worker ended its traffic: by a signal or a death.

        One that --messages ended is over with the last reply, or when so many take that long at the rate asked for.
        """
        if self.window is None or self.end_ns <= self.window[0]:
            return None, None
        last = self._traffic_end_ns()
        if self._is_spent():
            replied = max(slot.get("replied_ns") for slot in self.board.slots)
            last = max(self.window[0] + (self.plan.messages_span_ns or 0), replied)
        if last <= self.window[0]:
            return None, None
        return self.window[0], min(self.window[1], last)

    def _stranded_at_ns(self) -> int | None:
        """Returns when the last connection of the run was gone; None where some worker had one to its end."""
        since = [slot.get("stranded_ns") for slot in self.board.slots]
        return max(since) if all(since) else None

    def _is_spent(self) -> bool:
        """Whether the last of --messages fell due before anything else ended the run."""
        if self.plan.messages is None or self._stop_ns is not None or self._stranded_at_ns() is not None:
            return False
        holds = [at for at, phase in enumerate(self.plan.phases) if phase.kind is PhaseKind.HOLD]
        intended = sum(
            int(slot.pages[at].counters[COUNTERS.index("intended")]) for slot in self.board.slots for at in holds
        )
        return intended >= self.plan.messages

    def _traffic_end_ns(self) -> int:
        """A worker that died or hung does not say; what it was waited for after a stop is not traffic."""
        finished = [slot.get("finished_ns") for slot in self.board.slots]
        return max(finished) if all(finished) else self._stop_ns or self.end_ns

    def _serve_samples(self) -> ServeSamples | None:
        if self.group is None:
            return None
        start = self.serve_at_start or self.group.read()
        end = self.serve_at_end or self.group.read()
        self.group.stop()
        samples = self.group.samples(start, end, self.group.close(_closing_ns(self.plan, _LEAVE_NS) / NS_PER_S))
        looks = self.serve_looks_ns
        return replace(samples, span_ns=looks[1] - looks[0] if len(looks) == 2 else 0)
