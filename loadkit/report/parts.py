"""The samples of a run, added up over its workers as the fields of a record need them: by phase, and in the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loadkit.measure.names import COUNTERS
from loadkit.measure.run_samples import RunSamples
from loadkit.measure.samples import PhaseSamples, merge
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind
from loadkit.report.record import Window

__all__ = ["Parts", "numbers_of", "parts_of", "phases_of", "total_of"]


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """Each phase, and all measured phases (`hold`), over all workers. `setup` has the ramp and the measured phases.

    A run's connects count in `setup`, and `whole` has the counters of all phases. `ramp_ns` is the time from the start
    of the run until the first connections had all opened or failed.
    """

    phases: tuple[PhaseSamples, ...]
    hold: PhaseSamples
    setup: PhaseSamples
    whole: Mapping[str, int]
    window: Window | None
    ramp_ns: int


def parts_of(load: Load, samples: RunSamples) -> Parts:
    """Returns the samples of a run, added up."""
    phases = tuple(_phase_total(samples, index, load.highest_ns) for index in range(len(load.phases)))
    hold = phases_of(load, phases, PhaseKind.HOLD)
    return Parts(
        phases=phases,
        hold=hold,
        setup=phases_of(load, phases, PhaseKind.RAMP, PhaseKind.HOLD),  # warm-up is left out
        whole=total_of(phases),
        window=_window(load, samples, hold),
        ramp_ns=max(worker.state["settled_ns"] for worker in samples.workers) - samples.start_ns,
    )


def total_of(phases: Sequence[PhaseSamples]) -> Mapping[str, int]:
    """Returns the counters of phases, added up; to add their histograms up takes a hundred times as long."""
    return {name: sum(phase.counters[name] for phase in phases) for name in COUNTERS}


def phases_of(load: Load, phases: Sequence[PhaseSamples], *kinds: PhaseKind) -> PhaseSamples:
    """Returns the sum of the phases of these kinds."""
    return merge([one for phase, one in zip(load.phases, phases, strict=True) if phase.kind in kinds], load.highest_ns)


def numbers_of(load: Load, kind: PhaseKind) -> list[int]:
    """Returns which of the load's phases are of this kind."""
    return [number for number, phase in enumerate(load.phases) if phase.kind is kind]


def _phase_total(samples: RunSamples, index: int, highest_ns: int) -> PhaseSamples:
    """Adds a phase up over the workers. The messages that a dead worker left count as unanswered, or unsent."""
    died = {end.index for end in samples.ends if end.died}
    parts = []
    for worker in samples.workers:
        part = worker.phases[index]
        parts.append(_settled(part) if worker.index in died else part)
    return merge(parts, highest_ns)


def _settled(part: PhaseSamples) -> PhaseSamples:
    """Balances a dead worker's counters, because it could not count what it left behind."""
    counters = dict(part.counters)
    counters["unanswered"] = max(0, counters["sent"] - counters["replied"] - counters["failed"])
    counters["unsent"] = max(0, counters["intended"] - counters["sent"])
    return replace(part, counters=counters)


def _window(load: Load, samples: RunSamples, hold: PhaseSamples) -> Window | None:
    if samples.window_start_ns is None or samples.window_end_ns is None:
        return None
    kinds = [phase.kind for phase in load.phases]
    begin, measured_ns = samples.window_start_ns, 0
    for phase in load.phases[kinds.index(PhaseKind.HOLD) :]:
        end = begin + phase.duration_ns
        if phase.kind is PhaseKind.HOLD:
            measured_ns += max(0, min(end, samples.window_end_ns) - begin)
        begin = end
    return Window(
        samples.window_start_ns - samples.start_ns,
        samples.window_end_ns - samples.start_ns,
        measured_ns=measured_ns,
        opened=hold.counters["window_opened"],
        sent=hold.counters["window_sent"],
        replied=hold.counters["window_replied"],
        sent_bytes=hold.counters["sent_bytes"],
        received_bytes=hold.counters["received_bytes"],
    )
