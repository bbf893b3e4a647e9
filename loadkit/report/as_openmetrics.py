r"""A record as OpenMetrics text (the specification's version 1.0): the totals of a run that is over, for a dashboard.

It is read by what knows OpenMetrics, and by what reads the text format before it, such as the textile collector of the
node exporter and Pushgateway. So it keeps to what both know: gauges and not `info` or `stateset`, no timestamps. The
older format takes a counter's `# TYPE` for another metric and its samples for untyped ones, which changes no query.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from loadkit.endpoint import place_of
from loadkit.errors import RecordError
from loadkit.measure.names import TIMES
from loadkit.plan.phases import PhaseKind
from loadkit.plan.target import Target
from loadkit.printable import page
from loadkit.report.buckets import Buckets, bounds_of, of_histogram
from loadkit.report.families import MOST_VALUES, Counts, Family, Sample, View, WorkerView, families_of, gauge
from loadkit.report.histograms import decoded
from loadkit.report.record import (
    PERCENTILES,
    STATES,
    Advised,
    PhaseRecord,
    RunRecord,
    ServerRecord,
    WorkerRecord,
)
from loadkit.report.selector import read
from loadkit.report.serve import ServeRecord
from loadkit.units import NS_PER_S
from loadkit.version import __version__

__all__ = ["OF_CONNECTS", "as_openmetrics", "ended_families", "openmetrics_text", "run_info", "view_of_record"]

# Most phases open no connection; each histogram is dozens of lines.
OF_CONNECTS = ("connect", "handshake", "first_byte")
_PERCENTILES = tuple(f"{percentile:g}" for percentile in PERCENTILES)


def as_openmetrics(record: RunRecord | ServeRecord) -> str:
    """Returns the text, ending in `# EOF`. Raises RecordError for a damaged histogram."""
    view = view_of_record(record) if isinstance(record, RunRecord) else _view_of_serve_end(record)
    return openmetrics_text(families_of(view))


def openmetrics_text(families: Iterable[Family]) -> str:
    """Returns families as text."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# TYPE {family.name} {family.kind}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines += (_line(family.name, sample) for sample in family.samples)
    return page("\n".join([*lines, "# EOF", ""]))


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escaped(text)}"' for key, text in sample.labels)
    return f"{name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {sample.value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


# -- a run that is over


def view_of_record(record: RunRecord) -> View:
    """Returns what there is to show of a run that is over. Raises RecordError for a damaged histogram."""
    bounds = bounds_of(slo.expr for slo in record.slo)
    server = record.server
    return View(
        info=run_info(record.target, record.port, record.given.profile, record.tool.engine),
        tags=record.tags,
        phases=[_phase(one, bounds) for one in record.phases],
        served=_served(server) if server else None,
        restarts=server.restarts if server else None,
        workers=[*_workers("blast", record.workers), *_workers("serve", server.workers if server else ())],
        more=tuple(ended_families(record)),
    )


def run_info(target: Target, port: int | None, profile: str | None, engine: str) -> dict[str, str]:
    """Returns the labels that say what is run."""
    where = place_of(target.host, port) if port else target.host
    return {"target": where, "profile": profile or "", "engine": engine, "version": __version__}


def _phase(phase: PhaseRecord, bounds: Mapping[str, tuple[int, ...]]) -> Counts:
    connections = phase.connections
    counters = {name: getattr(phase.messages, name) for name in phase.messages.__struct_fields__} | {
        "asked": connections.asked,
        "opened": connections.opened,
        "failed_connects": connections.failed,
        "closed": connections.closed,
        "sent_bytes": phase.bytes.sent,
        "received_bytes": phase.bytes.received,
    }
    times = {} if phase.kind == PhaseKind.DRAIN else dict(_times(phase, bounds))
    return Counts(phase.name, counters, _by_kind(phase.errors), times)


def _times(phase: PhaseRecord, bounds: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Buckets]]:
    for time in TIMES:
        histogram = phase.histograms[time]
        if histogram is None or (time in OF_CONNECTS and phase.kind != PhaseKind.RAMP and not histogram.count):
            continue
        try:
            yield time, of_histogram(bounds[time], decoded(histogram), histogram.dropped)
        except ValueError as error:
            raise RecordError(f"phases.{phase.name}.histograms.{time} cannot be read: {error}") from None


def _by_kind(errors: Iterable[Advised]) -> Mapping[tuple[str, str], int]:
    total: Counter[tuple[str, str]] = Counter()
    for row in errors:
        total[row.step, row.error] += row.count
    return total


def _workers(end: str, workers: Iterable[WorkerRecord]) -> Iterator[WorkerView]:
    for worker in workers:
        values: dict[str, int | None] = {"open": worker.open}
        values |= {name: getattr(worker, name) for name in ("cpu_user_ns", "cpu_system_ns")}
        if worker.wakeups:
            values |= {name: getattr(worker.wakeups, name) for name in ("busy_ns", "blocked_ns", "wakeups", "events")}
        yield WorkerView(end, worker.index, values)


def ended_families(record: RunRecord) -> Iterator[Family]:
    """Yields what is known of a run when it is over, beside its totals. Raises RecordError for a damaged histogram."""
    states = (((("state", state),), int(state == record.verdict.state)) for state in STATES)
    yield gauge("verdict", "1 for the verdict of the run.", states)
    yield gauge("record_info", "The record of the run.", [((("run", record.run.id),), 1)])
    yield gauge("run_partial", "1 if the run ended early.", [((), int(record.partial))])
    started = datetime.datetime.fromisoformat(record.started).timestamp()
    yield gauge("run_start_timestamp_seconds", "When the run began, in seconds since 1970.", [((), started)])
    met = {(("slo", slo.expr),): int(slo.ok) for slo in record.slo[:MOST_VALUES]}
    yield gauge("slo_met", "1 if the objective was met.", met.items())
    found = Counter((("code", one.code), ("party", one.party)) for one in record.findings)
    yield gauge("findings", "Findings by code and party.", found.most_common(MOST_VALUES))
    if record.window:
        span_s = record.window.measured_ns / NS_PER_S
        yield gauge("window_seconds", "The measured time, which the rates are over.", [((), span_s)])
    for name, text in _RATES.items():
        rate = getattr(record.rates, f"{name}_per_s")
        yield gauge(f"{name}_per_second", text, [] if rate is None else [((), rate)])
    yield gauge("percentile_seconds", _PERCENTILE, _percentiles(record))


_RATES = {
    "replies": "Replies per second of the measured time.",
    "connects": "Connections opened per second, in the ramp or in the measured time of a churn.",
    "sent_bytes": "Bytes of messages per second of the measured time.",
    "received_bytes": "Bytes of replies per second of the measured time.",
}
_PERCENTILE = "Percentiles of the times, to 0.1 %; what never came back counts as later than all that did."


def _percentiles(record: RunRecord) -> Iterator[tuple[tuple[tuple[str, str], ...], float]]:
    for time in TIMES:
        for percentile in _PERCENTILES:
            value = read(record, f"{time}.p{percentile}").value
            if value is not None:
                yield (("time", time), ("percentile", percentile)), value / NS_PER_S


# -- a serve end by itself


def _view_of_serve_end(record: ServeRecord) -> View:
    server = record.server
    return View(
        info={
            "engine": server.engine,
            "version": record.tool.loadkit,
            "port": "" if server.port is None else str(server.port),
        },
        served=_served(server),
        restarts=server.restarts,
        workers=tuple(_workers("serve", server.workers)),
    )


def _served(server: ServerRecord) -> Counts:
    counters = {"opened": server.connections.opened, "closed": server.connections.closed}
    if server.bytes:
        counters |= {"sent_bytes": server.bytes.sent, "received_bytes": server.bytes.received}
    return Counts("serve", counters, _by_kind(server.errors))
