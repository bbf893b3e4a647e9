"""Counters and histograms of phases, into a record: connections, messages, errors, and how long each took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from loadkit.measure.names import TIMES
from loadkit.measure.run_samples import RunSamples
from loadkit.measure.samples import PhaseSamples
from loadkit.measure.wakeups import WakeupSamples
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.report.advice import advise, breaks
from loadkit.report.histograms import histogram_record
from loadkit.report.parts import Parts, numbers_of
from loadkit.report.record import (
    OF_A_SCHEDULE,
    OF_A_SETUP,
    Advised,
    Bytes,
    Connections,
    Histograms,
    Messages,
    PhaseRecord,
)
from loadkit.report.wakeups import worker_wakeups

__all__ = [
    "NO_SETUP",
    "error_rows",
    "message_counts",
    "phase_record",
    "run_connections",
    "run_histograms",
    "times_missing",
    "times_of",
]

NO_SCHEDULE = "closed loop: a message is due when the reply before it was read"
NO_SETUP = "no --first: nothing is said before the first message"


def message_counts(part: PhaseSamples) -> Messages:
    """Returns the messages of a phase, or of several."""
    return Messages(**{name: part.counters[name] for name in Messages.__struct_fields__})


def run_connections(load: Load, parts: Parts, samples: RunSamples) -> Connections:
    """Returns the connections of a run. `asked` is at least the number that the load has."""
    counters = parts.whole
    return Connections(
        asked=max(counters["asked"], load.connections),
        opened=counters["opened"],
        failed=counters["failed_connects"],
        peak=sum(worker.state["peak"] for worker in samples.workers),
        closed=counters["closed"],
        at_start=samples.answered,
        lost=_lost(load, parts.phases) if parts.window else None,
    )


def _lost(load: Load, phases: Sequence[PhaseSamples]) -> int:
    """Connections that broke after the window had begun and were not reopened. In churn they are, so it is 0."""
    if load.lifetime_ns is not None:
        return 0
    first = min(numbers_of(load, PhaseKind.HOLD))
    broke = [phase.errors for phase in phases[first:-1]]
    return sum(count for errors in broke for (step, name), count in errors.items() if breaks(step, name))


def times_missing(load: Load) -> dict[str, str]:
    """Returns the times that a run with this load does not have, and why."""
    missing = {} if load.is_timed else dict.fromkeys(OF_A_SCHEDULE, NO_SCHEDULE)
    return missing if load.setup else missing | dict.fromkeys(OF_A_SETUP, NO_SETUP)


def times_of(load: Load) -> tuple[str, ...]:
    """Returns the times that it does have."""
    missing = times_missing(load)
    return tuple(name for name in TIMES if name not in missing)


def run_histograms(load: Load, parts: Parts) -> Histograms:
    """Returns the times of a run: of the measured phases, but those of connections of the ramp too."""
    found, setup = _histograms(load, parts.hold), _histograms(load, parts.setup)
    return found | {name: setup[name] for name in ("connect", "handshake", "first_byte")}


def _histograms(load: Load, part: PhaseSamples) -> Histograms:
    found = {name: histogram_record(part.histograms[name], part.dropped[name]) for name in times_of(load)}
    return {name: found.get(name) for name in TIMES}


def phase_record(load: Load, phase: PhasePlan, part: PhaseSamples, wakeups: WakeupSamples | None) -> PhaseRecord:
    """Returns a phase's own figures."""
    counters = part.counters
    return PhaseRecord(
        name=phase.name,
        kind=phase.kind.value,
        duration_ns=phase.duration_ns,
        connections=Connections(
            asked=counters["asked"],
            opened=counters["opened"],
            failed=counters["failed_connects"],
            peak=None,
            closed=counters["closed"],
        ),
        messages=message_counts(part),
        bytes=Bytes(counters["sent_bytes"], counters["received_bytes"]),
        histograms=_histograms(load, part),
        errors=error_rows([(phase.name, part)]),
        wakeups=worker_wakeups(wakeups),
    )


def error_rows(
    parts: Sequence[tuple[str, PhaseSamples]], is_serve: bool = False, seen: Mapping[str, str] | None = None
) -> tuple[Advised, ...]:
    """Returns the errors of phases by name, added up over the workers, the most frequent first.

    `seen` has an example of an error by its name.
    """
    total: Counter[tuple[str, str, str]] = Counter()
    for phase, part in parts:
        for (step, name), count in part.errors.items():
            total[phase, step, name] += count
    rows = [
        Advised(*key, count, advise(key[1], key[2], is_serve) + (seen or {}).get(key[2], ""))
        for key, count in total.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.phase, row.step, row.error)))
