"""What a scrape is shown of a run, or of a serve end, that goes on: read off the boards, in the thread of the scrape.

Workers do nothing for it. Each counter only ever grows, also that of a worker whose place another one has taken, so no
two scrapes see one go back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from loadkit.engine.registry import get_engine
from loadkit.measure.board import SUM_CARRY, Board
from loadkit.measure.names import COUNTERS, STATE, STEPS, error_name
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.serve import ServePlan
from loadkit.report.as_openmetrics import OF_CONNECTS, run_info
from loadkit.report.buckets import Buckets, bounds_of, counted, nothing
from loadkit.report.counts import times_of
from loadkit.report.families import Counts, View, WorkerView
from loadkit.version import __version__

__all__ = ["errors_by_kind", "view_of_run", "view_of_serve_end"]

_OPEN, _PHASE = STATE.index("open"), STATE.index("phase")


def view_of_run(plan: Plan, board: Board, serve: Board | None, restarts: int) -> View:
    """Returns what the run has come to; `serve` is the board of its own serve end."""
    load = plan.load
    bounds = bounds_of(plan.given.slo)
    phases = []
    for index, phase in enumerate(load.phases):
        buckets = {time: _buckets(board, index, time, bounds[time]) for time in _times_of(load, phase)}
        phases.append(_counts(board, phase.name, index, buckets))
    holds = [index for index, phase in enumerate(load.phases) if phase.kind is PhaseKind.HOLD]
    return View(
        info=run_info(plan.target, plan.target.port, plan.given.profile, get_engine(plan.here.engine).version()),
        tags=plan.given.tags,
        phases=phases,
        served=_counts(serve, "serve", 0) if serve else None,
        restarts=restarts if serve else None,
        workers=[*_workers("blast", board, holds), *(_workers("serve", serve, [0]) if serve else ())],
        phase=load.phases[int(board.states[:, _PHASE].max())].name,
    )


def _times_of(load: Load, phase: PhasePlan) -> Iterator[str]:
    """Yields the times that messages and connects of the phase can have; each has dozens of series."""
    if phase.kind is PhaseKind.DRAIN:
        return  # no message is due in it
    opens = phase.kind is PhaseKind.RAMP or load.lifetime_ns is not None or _grows(load)
    yield from (time for time in times_of(load) if opens or time not in OF_CONNECTS)


def _grows(load: Load) -> bool:
    return any(phase.connections > load.phases[0].connections for phase in load.phases)


def view_of_serve_end(plan: ServePlan, port: int, board: Board, restarts: int) -> View:
    """Returns what a serve end by itself has come to; one that runs an app does not count its bytes."""
    served = _counts(board, "serve", 0)
    if plan.app is not None:
        del served.counters["sent_bytes"], served.counters["received_bytes"]
    return View(
        info={
            "engine": get_engine(plan.engine).version(),
            "version": __version__,
            "port": "" if plan.is_unix else str(port),
        },
        served=served,
        restarts=restarts,
        workers=list(_workers("serve", board, [0])),
    )


def _counts(board: Board, name: str, phase: int, times: Mapping[str, Buckets] = {}) -> Counts:
    counters = dict(zip(COUNTERS, board.counters[:, phase].sum(axis=0).tolist(), strict=True))
    return Counts(name, counters, errors_by_kind(board.errors[:, phase].sum(axis=0)), times)


def errors_by_kind(counts: NDArray[np.int64]) -> dict[tuple[str, str], int]:
    """Returns counters of a board, by step and errno, as step and name -> count of those that are not 0."""
    places = zip(*(places.tolist() for places in counts.nonzero()), strict=True)
    return {(STEPS[step], error_name(number, STEPS[step])): int(counts[step, number]) for step, number in places}


def _buckets(board: Board, phase: int, time: str, bounds: tuple[int, ...]) -> Buckets:
    found = []
    for slot in board.slots:
        head, counts = slot.pages[phase].histograms[time]
        count, total, low, high, dropped, carry = head.tolist()
        if count or dropped:
            found.append(counted(bounds, counts, (low, high), carry * SUM_CARRY + total, dropped))
    return reduce(Buckets.plus, found) if found else nothing(bounds)


def _workers(end: str, board: Board, phases: Sequence[int]) -> Iterator[WorkerView]:
    measured = board.counters[:, phases].sum(axis=1).tolist()
    for index, (counts, is_open) in enumerate(zip(measured, board.states[:, _OPEN].tolist(), strict=True)):
        counters = dict(zip(COUNTERS, counts, strict=True))
        names = ["cpu_user_ns", "cpu_system_ns"]
        if counters["waits"]:
            names += ["busy_ns", "blocked_ns", "wakeups", "events"]
        yield WorkerView(end, index, {"open": is_open} | {name: counters[name] for name in names})
