"""A blast run, from a plan to samples: a crew does it, a course decides what is said to it.

The crew has one worker open the run's first connection. If that has a right reply, the ramp begins, and then the
phases after it; else the run ends there and says what came.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from loadkit.engine.registry import get_engine
from loadkit.measure.memory import Room, read_room
from loadkit.measure.run_samples import RunSamples
from loadkit.measure.series import IntervalSample
from loadkit.plan.build import Plan
from loadkit.report.families import View
from loadkit.run.course import LOOK_NS, Course, Stage, stranded_at_ns
from loadkit.run.crew import Crew, CrewSamples, WorkerTotals
from loadkit.run.first import first_failure
from loadkit.run.local import LocalCrew
from loadkit.run.signals import Interrupts, entered
from loadkit.run.so_far import samples_so_far
from loadkit.units import NS_PER_S

__all__ = ["Observer", "Progress", "run_blast"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a live view shows. `interval` is the last full second's, None before the first.

    `left_ns` is the planned time until the end of the measured time, None if --messages alone ends the run. `under_way`
    are messages sent that have come to no end, `kinds` the errors by step and name, `serving` the workers
    of the run's own serve end. `so_far` returns what the run would be recorded as if it ended now, which takes some
    milliseconds; None before the measured time.
    """

    phase: str
    open: int
    asked: int
    replied: int
    errors: int
    left_ns: int | None
    interval: IntervalSample | None
    replies_per_s: float
    under_way: int = 0
    workers: tuple[WorkerTotals, ...] = ()
    serving: tuple[WorkerTotals, ...] = ()
    kinds: Mapping[tuple[str, str], int] = field(default_factory=dict)
    so_far: Callable[[], RunSamples] | None = None


Observer = Callable[[Progress], None]


def run_blast(
    plan: Plan,
    observer: Observer | None = None,
    room: Callable[[], Room | None] = read_room,
    interrupts: Interrupts | None = None,
    on_start: Callable[[Callable[[], View]], None] | None = None,
) -> RunSamples:
    """Runs the plan and returns what was measured.

    `room` returns how much memory is left; no more connections are opened when it gets tight. Signals end a run early.
    They are taken by `interrupts`, which the caller has entered, or else by an Interrupts of this run. `on_start` is
    called once all workers are there, with what shows a scrape how far the run is, in any thread, also after its end.
    Raises PreflightError, TargetError, WorkerError or Interrupted when the run cannot start. Once started it always
    returns, with whatever was recorded.
    """
    with entered(interrupts) as interrupts:
        crew = LocalCrew(plan, interrupts, room)
        try:
            port = crew.start()
            if on_start:
                on_start(crew.view)
            now, today = time.monotonic_ns(), datetime.datetime.now(datetime.UTC)
            course = Course(plan, now)
            started = today + datetime.timedelta(microseconds=(course.start_ns - now) // 1000)
            show = None
            if observer:
                show = partial(_show, observer, plan, crew, course, started)
            _drive(crew, course, interrupts, show)
            if course.stage is Stage.FAILED:
                raise first_failure(plan, port, *crew.first())
            measured = crew.samples()
            return _run_samples(plan, course, measured, started, interrupts.first)
        finally:
            crew.end()


def _drive(crew: Crew, course: Course, interrupts: Interrupts, show: Callable[[int], None] | None) -> None:
    """Samples the crew until the course says that the run is over, and then until every worker has ended."""
    shown_ns = 0
    try:
        crew.say(course.begin())
        while not course.is_over:
            now = time.monotonic_ns()
            for word in course.decide(crew.look(now), now, interrupts.count):
                crew.say(word)
            if show and now >= shown_ns + LOOK_NS:
                shown_ns = now
                show(now)
            if not course.is_over:
                interrupts.wait(crew.wakers(), max(0, course.next_ns - time.monotonic_ns()) / NS_PER_S)
    finally:
        end_ns = crew.leave()
        for word in course.close(crew.look(end_ns), end_ns):
            crew.say(word)


def _show(observer: Observer, plan: Plan, crew: Crew, course: Course, started: datetime.datetime, now: int) -> None:
    totals = crew.totals()
    phase = plan.load.phases[totals.phase]
    has_begun = course.window is not None and now > course.window[0]
    progress = Progress(
        phase=phase.name,
        open=totals.open,
        asked=phase.connections,
        replied=totals.replied,
        errors=totals.errors,
        left_ns=course.left_ns(now),
        interval=totals.row,
        replies_per_s=totals.replies_per_s,
        under_way=totals.under_way,
        workers=totals.workers,
        serving=totals.serving,
        kinds=totals.kinds,
        so_far=partial(samples_so_far, plan, crew, course, started, now) if has_begun else None,
    )
    observer(progress)


def _run_samples(
    plan: Plan,
    course: Course,
    measured: CrewSamples,
    started: datetime.datetime,
    interrupted: str | None,
) -> RunSamples:
    start, end = course.actual_window(measured.workers)
    return RunSamples(
        started=started.isoformat(timespec="milliseconds"),
        start_ns=course.start_ns,
        ramp_ns=course.ramp.start_ns if course.ramp else None,
        window_start_ns=start,
        window_end_ns=end,
        end_ns=course.end_ns,
        engine=get_engine(plan.here.engine).version(),
        workers=measured.workers,
        ends=measured.ends,
        stranded_ns=stranded_at_ns(measured.workers) or course.stranded_ns,
        intervals=measured.intervals,
        interrupted=interrupted,
        aborted=course.aborted,
        serve=measured.serve,
        tenths_ns=tuple(course.ramp.tenths) if course.ramp else (),
        stopped_opening=course.ramp.stopped if course.ramp else None,
        memory=measured.memory,
        kernel=measured.kernel,
        kernel_of_ramp=measured.kernel_of_ramp,
        throttling=measured.throttling,
        # Each worker stops counting them when the measured time begins, however late the crew is sampled.
        answered=None if start is None else sum(worker.state["answered"] for worker in measured.workers),
        closing_ns=time.monotonic_ns() - course.traffic_end_ns(measured.workers),
    )
