"""What Prometheus is shown of a run: the names, the labels, and the values.

The endpoint shows it while the run goes on (run/exposed.py reads the board), `-o run.om` afterwards, off the record;
both make a view and have their families here. So each metric has its name, help and unit once, in a row below.

Prometheus' conventions (prometheus.io/docs/practices/naming): the prefix `loadkit_`, seconds and bytes, `_total` behind
counters. No metric adds up what is counted twice, so sum() over any label means something. Labels are phases, workers,
ends, steps and names of errors; of each there are at most MOST_VALUES, and what comes after those is `(others)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from loadkit.printable import printable
from loadkit.report.buckets import Buckets
from loadkit.units import NS_PER_S

__all__ = [
    "MOST_VALUES",
    "OTHERS",
    "PREFIX",
    "Counts",
    "Family",
    "Labels",
    "Sample",
    "View",
    "WorkerView",
    "families_of",
    "gauge",
]

PREFIX = "loadkit_"
MOST_VALUES = 64  # of a label; of 4 phases, 6 times and 45 buckets each there are already a thousand series
OTHERS = "(others)"

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """A value. `suffix` is what its line has behind the name of the family: `_total`, `_bucket`, `_sum`, `_count`."""

    suffix: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """A metric and its samples. A counter's name is without `_total`."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]

    @property
    def unit(self) -> str:
        """What its name ends in, if that is a unit."""
        last = self.name.rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What has been counted in a phase of a run, or at a serve end. `name` is the phase's.

    `counters` go by the names of measure.board.COUNTERS, `errors` by step and name.
    """

    name: str
    counters: Mapping[str, int]
    errors: Mapping[tuple[str, str], int]
    times: Mapping[str, Buckets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker of an end, `blast` or `serve`. What its engine does not count is None, or not there."""

    end: str
    index: int
    values: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class View:
    """A run, or a serve end by itself: `info` and `tags` say which, `phase` is the one that it is in.

    None: it has ended. `more` are families that only a run has that is over.
    """

    info: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    phases: Sequence[Counts] = ()
    served: Counts | None = None
    restarts: int | None = None
    workers: Sequence[WorkerView] = ()
    phase: str | None = None
    more: Sequence[Family] = ()


class Row(NamedTuple):
    """A metric: its name without the prefix, its help, and which value it is; times are kept in ns."""

    name: str
    help: str
    key: str
    kind: Kind = "counter"


_PHASE_ROWS = (
    Row("connects_begun", "Connects that were begun.", "asked"),
    Row("connects_opened", "Connections that opened.", "opened"),
    Row("connects_failed", "Connects that failed.", "failed_connects"),
    Row("connections_closed", "Connections that ended after they had opened.", "closed"),
    Row("messages_intended", "Messages that were due.", "intended"),
    Row("messages_sent", "Messages that were sent.", "sent"),
    Row("messages_replied", "Messages with a right reply.", "replied"),
    Row("messages_failed", "Messages sent whose connection broke, or whose time-out passed.", "failed"),
    Row("messages_unanswered", "Messages sent whose reply had not come when the run ended.", "unanswered"),
    Row("messages_unsent", "Messages that were due and never sent.", "unsent"),
    Row("messages_waited", "Messages that waited for room on a connection.", "waited"),
    Row("sent_bytes", "Bytes of messages sent while the phase lasted.", "sent_bytes"),
    Row("received_bytes", "Bytes of replies received while the phase lasted.", "received_bytes"),
)
_SERVE_ROWS = (
    Row("serve_connections_opened", "Connections that the serve end accepted.", "opened"),
    Row("serve_connections_closed", "Connections of the serve end that have ended.", "closed"),
    Row("serve_sent_bytes", "Bytes that the serve end sent back.", "sent_bytes"),
    Row("serve_received_bytes", "Bytes that the serve end received.", "received_bytes"),
)
_TIMES = {
    "connect": "From the intended start of a connect until the connection was established.",
    "handshake": "From an established connection until all that --first says was replied to.",
    "first_byte": "From the first message of a connection until the first byte of its reply.",
    "latency": "From when a message was due until its reply had been read.",
    "service": "From when a message was sent until its reply had been read.",
    "lateness": "From when a message was due until the worker came to it: loadkit's own delay.",
    "held": "From when the worker came to a message until there was room on a connection to send it.",
}
_WORKER_ROWS = (
    Row("worker_open_connections", "Connections that a worker has open.", "open", "gauge"),
    Row("worker_cpu_user_seconds", "CPU time of a worker in user mode, in the measured time.", "cpu_user_ns"),
    Row("worker_cpu_system_seconds", "CPU time of a worker in the kernel, in the measured time.", "cpu_system_ns"),
    Row("worker_busy_seconds", "Time of a worker between its waits for events, in the measured time.", "busy_ns"),
    Row("worker_blocked_seconds", "Time of a worker inside its waits for events, in the measured time.", "blocked_ns"),
    Row("worker_wakeups", "Waits of a worker that brought an event, in the measured time.", "wakeups"),
    Row("worker_events", "Events that woke a worker, in the measured time.", "events"),
)


def families_of(view: View) -> tuple[Family, ...]:
    """Returns all families of a view, in one order; one without samples is left out."""
    return tuple(family for family in _families(view) if family.samples)


def _families(view: View) -> Iterator[Family]:
    yield _info(view.info)
    tags = list(view.tags.items())[:MOST_VALUES]
    yield gauge(
        "tag_info", "A tag of the run, --tag KEY=VALUE.", (((("key", key), ("value", value)), 1) for key, value in tags)
    )
    if view.phase is not None:
        name = _bounded(one.name for one in view.phases)
        active = ((("phase", name(one.name)), int(one.name == view.phase)) for one in view.phases)
        yield gauge("phase_active", "1 for the phase that the run is in.", (((label,), on) for label, on in active))
    yield from _of_phases(view.phases)
    if view.served:
        yield from _of_serve_end(view.served)
    if view.restarts is not None:
        yield _counter("serve_restarts", "Workers of the serve end that were replaced.", [((), view.restarts)])
    yield from _of_workers(view.workers)
    yield from view.more


def _info(info: Mapping[str, str]) -> Family:
    return gauge("run_info", "Which run this is.", [(tuple(info.items()), 1)])


def _of_phases(phases: Sequence[Counts]) -> Iterator[Family]:
    name = _bounded(one.name for one in phases)
    labelled = [((("phase", name(one.name)),), one.counters) for one in phases]
    yield from (_counted(row, labelled) for row in _PHASE_ROWS)
    errors = ((("phase", name(one.name)), key, count) for one in phases for key, count in one.errors.items())
    yield _errors("errors", "Errors by step and kind.", errors)
    for time, text in _TIMES.items():
        yield _histogram(
            f"{time}_seconds", text, [(name(one.name), one.times[time]) for one in phases if time in one.times]
        )


def _of_serve_end(served: Counts) -> Iterator[Family]:
    yield from (_counted(row, [((), served.counters)]) for row in _SERVE_ROWS)
    yield _errors(
        "serve_errors", "Errors of the serve end by step and kind.", ((None, *one) for one in served.errors.items())
    )


def _of_workers(workers: Sequence[WorkerView]) -> Iterator[Family]:
    name = _bounded(str(one.index) for one in workers)
    labelled = [((("end", one.end), ("worker", name(str(one.index)))), one.values) for one in workers]
    yield from (_counted(row, labelled) for row in _WORKER_ROWS)


def _counted(row: Row, labelled: Iterable[tuple[Labels, Mapping[str, int | None]]]) -> Family:
    scale = NS_PER_S if row.key.endswith("_ns") else 1
    known = ((labels, values.get(row.key)) for labels, values in labelled)
    found = [(labels, value / scale if scale > 1 else value) for labels, value in known if value is not None]
    return (_counter if row.kind == "counter" else gauge)(row.name, row.help, found)


def _errors(name: str, text: str, errors: Iterable[tuple[tuple[str, str] | None, tuple[str, str], int]]) -> Family:
    rows = list(errors)
    kind = _bounded(error for _phase, (_step, error), _count in rows)
    return _counter(
        name,
        text,
        (
            ((*([phase] if phase else []), ("step", step), ("error", kind(error))), count)
            for phase, (step, error), count in rows
        ),
    )


def _histogram(name: str, text: str, found: Iterable[tuple[str, Buckets]]) -> Family:
    by_phase: dict[str, Buckets] = {}
    for phase, buckets in found:
        phase = printable(phase)
        by_phase[phase] = by_phase[phase].plus(buckets) if phase in by_phase else buckets
    return Family(PREFIX + name, "histogram", text, tuple(_buckets(by_phase)))


def _buckets(by_phase: Mapping[str, Buckets]) -> Iterator[Sample]:
    for phase, buckets in by_phase.items():
        label = ("phase", phase)
        for bound, count in zip(buckets.bounds, buckets.at_most, strict=True):
            yield Sample("_bucket", (label, ("le", repr(bound / NS_PER_S))), count)
        yield Sample("_bucket", (label, ("le", "+Inf")), buckets.total)
        yield Sample("_count", (label,), buckets.total)
        yield Sample("_sum", (label,), buckets.sum_ns / NS_PER_S)


def _counter(name: str, text: str, values: Iterable[tuple[Labels, float]]) -> Family:
    """Returns a counter; `name` is without prefix and suffix.

    What is a difference of two looks may be below 0, where a worker was replaced in between. No counter may be
    (OpenMetrics 1.0, Counter): that one is left out, as what was not measured.
    """
    known = ((labels, value) for labels, value in values if value >= 0)
    return Family(PREFIX + name, "counter", text, tuple(_added_up(known, "_total")))


def gauge(name: str, text: str, values: Iterable[tuple[Labels, float]]) -> Family:
    """Returns a gauge; `name` is without the prefix."""
    return Family(PREFIX + name, "gauge", text, tuple(_added_up(values, "")))


def _added_up(values: Iterable[tuple[Labels, float]], suffix: str) -> Iterator[Sample]:
    """Yields a sample for each set of labels, as they are written: two texts may be alike then."""
    found: dict[Labels, float] = {}
    for labels, value in values:
        written = tuple((key, printable(text)) for key, text in labels)
        found[written] = found.get(written, 0) + value
    yield from (Sample(suffix, labels, value) for labels, value in found.items())


def _bounded(values: Iterable[str]) -> Callable[[str], str]:
    """Returns what names the values of a label: the first ones are themselves, those after MOST_VALUES are OTHERS."""
    kept = dict.fromkeys(values)
    few = set(list(kept)[:MOST_VALUES])
    return lambda value: value if value in few else OTHERS
