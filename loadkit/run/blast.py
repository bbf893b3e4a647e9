"""A blast run on this machine, from a plan to samples.

The parent starts the workers, says when to begin and when the ramp is over, looks at the board, and waits. It decides
nothing a worker could decide: a worker that hears nothing more still ends its plan.
"""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import connection

import msgspec

from loadkit.engine.base import STOP_NS
from loadkit.engine.registry import choose_engine, fallback_reason, get_engine
from loadkit.errors import TargetError
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.samples import IntervalSample, RunSamples, ServeSamples, WorkerSamples, read_board
from loadkit.plan.model import PhaseKind, Plan
from loadkit.plan.split import split
from loadkit.run.intervals import Series
from loadkit.run.local import Worker, end_all, start_workers
from loadkit.run.serve import ServeGroup
from loadkit.run.signals import Interrupts
from loadkit.units import NS_PER_S, format_duration

__all__ = ["Observer", "Progress", "run_blast"]

# Between saying when something begins and its beginning: every worker has heard it by then.
_AHEAD_NS = 50_000_000
_LOOK_NS = NS_PER_S // 10
# After this much more than the plan's own time a worker that has not ended is told to leave.
_PATIENCE_NS = 5 * NS_PER_S
# The same after a gentle stop.
_STOP_PATIENCE_NS = STOP_NS + _PATIENCE_NS
# A worker that was told to leave and has not ended by then is hung, and killed.
_LEAVE_S = 2.0


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


def run_blast(plan: Plan, observer: Observer | None = None) -> tuple[Plan, RunSamples]:
    """Runs the plan and returns it as it was run (port and engine filled in), with what was measured.

    Raises PreflightError, TargetError or WorkerError when the run cannot start. Once started it always returns, with
    whatever was recorded.
    """
    asked = plan.engine
    plan = msgspec.structs.replace(plan, engine=choose_engine(asked, plan.edge_triggered))
    with Interrupts() as interrupts:
        group = ServeGroup(plan.serve) if plan.serve else None
        try:
            if group:
                target = msgspec.structs.replace(plan.target, port=group.plan.port)
                plan = msgspec.structs.replace(plan, target=target, serve=group.plan)
            else:
                _connect_once(plan)
            run = _Run(plan, group, interrupts, observer)
            run.drive()
            return plan, replace(run.samples(), fallback=fallback_reason(asked, plan.engine))
        finally:
            if group:
                group.leave()
                group.close(2.0)


def _connect_once(plan: Plan) -> None:
    """Finds out before the run whether anybody is there. Raises TargetError."""
    where = f"{plan.target.host}:{plan.target.port}"
    route = plan.routes[0]
    source = (route.source, 0) if route.source else None
    try:
        with socket.create_connection(
            (route.destination, plan.target.port), timeout=plan.connect_timeout_ns / NS_PER_S, source_address=source
        ):
            return
    except TimeoutError:
        raise TargetError(
            f"{where}: no answer within {format_duration(plan.connect_timeout_ns)}; a firewall may drop the packets: "
            f"check the address and port, or raise --connect-timeout"
        ) from None
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise TargetError(
            f"{where}: the first connection failed: {what}; is the server running, and on this address? "
            f"(leave HOST:PORT out to blast an embedded server)"
        ) from None


class _Run:
    """A run under way, in the parent."""

    def __init__(self, plan: Plan, group: ServeGroup | None, interrupts: Interrupts, observer: Observer | None) -> None:
        self.plan = plan
        self.group = group
        self.interrupts = interrupts
        self.observer = observer
        self.board = Board(BoardLayout(plan.workers, len(plan.phases), plan.highest_ns))
        self.workers: list[Worker] = start_workers(split(plan), self.board)
        self.series = Series(self.board)
        self.hold_ns: int | None = None
        self.window: tuple[int, int] | None = None
        self.serve_at_start: tuple[WorkerSamples, ...] = ()
        self.serve_at_end: tuple[WorkerSamples, ...] = ()
        self._stop_ns: int | None = None
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self.start_ns = time.monotonic_ns() + _AHEAD_NS
        self.end_ns = self.start_ns
        self._say("start", self.start_ns)

    def _say(self, *words: object) -> None:
        for worker in self.workers:
            worker.say(*words)

    # -- while it goes on

    def drive(self) -> None:
        """Looks on until every worker has ended, a second signal has come, or it has taken too long."""
        try:
            while True:
                now = time.monotonic_ns()
                running = [worker.process.sentinel for worker in self.workers if not worker.is_gone()]
                self._look(now)
                if not running or self.interrupts.count > 1 or now > self._give_up_ns():
                    break
                group = self.group.sentinels if self.group else []
                pause = max(0, self._next_look(now) - now) / NS_PER_S
                connection.wait([self.interrupts.fileno(), *running, *group], timeout=pause)
                self._heed()
        finally:
            self._say("leave")
            end_all(self.workers, patience_s=_LEAVE_S)
            self.end_ns = time.monotonic_ns()
            self._look(self.end_ns)
            self.series.close(self.end_ns - self.start_ns)

    def _heed(self) -> None:
        """Acts on a first signal and on deaths."""
        if self.interrupts.count:
            self._stop()
        self.interrupts.clear()
        if self.group:
            self.group.mend()
        if any(worker.is_gone() and worker.died() for worker in self.workers):
            # Its share of the load is missing from now on: what follows would not be the run that was asked for.
            self._stop()

    def _stop(self) -> None:
        if self._stop_ns is None:
            self._stop_ns = time.monotonic_ns()
            self._say("stop")

    def _look(self, now: int) -> None:
        """Reads the board: the ramp's end, the window's edges, the series, the live view."""
        if self.hold_ns is None and self._stop_ns is None and (self._ramp_is_over() or now > self._ramp_limit_ns()):
            self.hold_ns = now + _AHEAD_NS
            self._say("hold", self.hold_ns)
            self.window = self._planned_window(self.hold_ns)
        if self.window and self.group:
            if not self.serve_at_start and now >= self.window[0]:
                self.serve_at_start = self.group.read()
            if not self.serve_at_end and (now >= self.window[1] or self._traffic_is_over()):
                self.serve_at_end = self.group.read()
        self.series.look(now - self.start_ns)
        if self.observer:
            self.observer(self._progress(now))

    def _next_look(self, now: int) -> int:
        edges = [edge for edge in self.window or () if edge > now]
        return min([now + _LOOK_NS, *edges])

    def _ramp_is_over(self) -> bool:
        first = self.plan.phases[0].connections
        return sum(slot.get("settled") for slot in self.board.slots) >= first

    def _traffic_is_over(self) -> bool:
        return all(slot.get("finished_ns") for slot in self.board.slots)

    def _ramp_limit_ns(self) -> int:
        """By then every first connection has been begun and has opened, failed or timed out, unless we are too slow."""
        return self.start_ns + 2 * self.plan.phases[0].duration_ns + self.plan.connect_timeout_ns + NS_PER_S

    def _give_up_ns(self) -> int:
        begin = self.hold_ns or self._ramp_limit_ns()
        planned = begin + sum(phase.duration_ns for phase in self.plan.phases[1:]) + _PATIENCE_NS
        return planned if self._stop_ns is None else min(planned, self._stop_ns + _STOP_PATIENCE_NS)

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

    def samples(self) -> RunSamples:
        """Returns what was measured."""
        serve = self._serve_samples()
        start, end = self._actual_window()
        result = RunSamples(
            started=self.started,
            start_ns=self.start_ns,
            window_start_ns=start,
            window_end_ns=end,
            end_ns=self.end_ns,
            engine=get_engine(self.plan.engine).version(),
            workers=read_board(self.board),
            ends=tuple(worker.end() for worker in self.workers),
            intervals=tuple(self.series.rows),
            interrupted=self.interrupts.first,
            serve=serve,
        )
        for worker in self.workers:
            worker.close()
        return result

    def _actual_window(self) -> tuple[int | None, int | None]:
        """The planned window, cut where the last worker ended its traffic: by --messages, a signal or a death."""
        if self.window is None or self.end_ns <= self.window[0]:
            return None, None
        finished = [slot.get("finished_ns") for slot in self.board.slots]
        # A worker that died or hung does not say; what it was waited for after a stop is not traffic.
        last = max(finished) if all(finished) else self._stop_ns or self.end_ns
        if last <= self.window[0]:
            return None, None
        return self.window[0], min(self.window[1], last)

    def _serve_samples(self) -> ServeSamples | None:
        if self.group is None:
            return None
        start = self.serve_at_start or self.group.read()
        end = self.serve_at_end or self.group.read()
        self.group.stop()
        return self.group.samples(start, end, self.group.close(2.0))
