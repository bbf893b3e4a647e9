"""What a run would be recorded as if it ended now, for a live view that shows a verdict by the same rules.

What is under way is left out: a message without a reply is neither answered nor lost yet. It is as if a signal had
ended the run, for that is judged on what was asked for up to then.
"""

from __future__ import annotations

import datetime
from dataclasses import replace

from loadkit.engine.registry import get_engine
from loadkit.measure.run_samples import RunSamples
from loadkit.measure.samples import PhaseSamples, WorkerSamples
from loadkit.plan.build import Plan
from loadkit.run.course import Course
from loadkit.run.crew import Crew

__all__ = ["samples_so_far", "without_what_is_under_way"]

_NOW = "SIGINT"


def samples_so_far(plan: Plan, crew: Crew, course: Course, started: datetime.datetime, now: int) -> RunSamples:
    """Returns what was measured up to now (monotonic ns)."""
    measured = crew.so_far()
    begun = course.window is not None and now > course.window[0]
    return RunSamples(
        started=started.isoformat(timespec="milliseconds"),
        start_ns=course.start_ns,
        ramp_ns=course.ramp.start_ns if course.ramp else None,
        window_start_ns=course.window[0] if course.window and begun else None,
        window_end_ns=min(course.window[1], now) if course.window and begun else None,
        end_ns=now,
        engine=get_engine(plan.here.engine).version(),
        workers=tuple(map(without_what_is_under_way, measured.workers)),
        ends=measured.ends,
        intervals=measured.intervals,
        interrupted=_NOW,
        serve=None,
        tenths_ns=tuple(course.ramp.tenths) if course.ramp else (),
        stopped_opening=course.ramp.stopped if course.ramp else None,
        answered=sum(worker.state["answered"] for worker in measured.workers) if begun else None,
    )


def without_what_is_under_way(worker: WorkerSamples) -> WorkerSamples:
    """Returns a worker's samples without the messages that are due and have come to no end yet."""
    return replace(worker, phases=tuple(map(_settled, worker.phases)))


def _settled(phase: PhaseSamples) -> PhaseSamples:
    counters = dict(phase.counters)
    counters["sent"] = counters["replied"] + counters["failed"] + counters["unanswered"]
    counters["intended"] = counters["sent"] + counters["unsent"]
    return replace(phase, counters=counters)
