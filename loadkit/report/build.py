"""Plan, host and samples, to a record."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from loadkit import __version__
from loadkit.host import Host
from loadkit.measure.histogram import Histogram
from loadkit.measure.samples import (
    IntervalSample,
    PhaseSamples,
    RunSamples,
    ServeSamples,
    WorkerEnd,
    WorkerSamples,
    merge,
)
from loadkit.plan.model import PhaseKind, Plan
from loadkit.report.advice import advise
from loadkit.report.record import (
    Advised,
    Balance,
    Bytes,
    Connections,
    CpuPerReply,
    HistogramRecord,
    Interval,
    IntervalLatency,
    Messages,
    Origin,
    PhaseRecord,
    Rates,
    RunRecord,
    ServerRecord,
    Tool,
    Verdict,
    Window,
    WorkerRecord,
)
from loadkit.report.slo import check, parse_slo
from loadkit.report.verdict import judge
from loadkit.units import NS_PER_S

__all__ = ["PERCENTILES", "build_record", "histogram_record", "rate"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)

# Field of the plan -> the option that sets it. What is not here the plan worked out.
_OPTION_OF = {
    "connections": "connections",
    "connect_rate_hz": "connect_rate",
    "phases": "phases",
    "messages": "messages",
    "size_bytes": "size",
    "depth": "depth",
    "lifetime_ns": "lifetime",
    "timeout_ns": "timeout",
    "connect_timeout_ns": "connect_timeout",
    "close": "close",
    "check": "check",
    "engine": "engine",
    "workers": "workers",
    "slo": "slo",
}
# An option that shapes a field of another name: the phases come from these when no profile lists them.
_SHAPES_PHASES = ("rate", "duration", "warmup")
# Whether a measured connection setup counts for the run: warm-up is left out.
_SETUP = (PhaseKind.RAMP, PhaseKind.HOLD)


def build_record(plan: Plan, host: Host, samples: RunSamples) -> RunRecord:
    """Returns the record of a run: totals, rates, verdict and SLOs worked out, nothing left to look up."""
    phases = [_phase_total(samples, index, plan.highest_ns) for index in range(len(plan.phases))]
    kinds = [phase.kind for phase in plan.phases]
    hold = merge([one for one, kind in zip(phases, kinds, strict=True) if kind is PhaseKind.HOLD], plan.highest_ns)
    setup = merge([one for one, kind in zip(phases, kinds, strict=True) if kind in _SETUP], plan.highest_ns)
    whole = merge(phases, plan.highest_ns)
    window = _window(samples)
    span_ns = window.end_ns - window.start_ns if window else 0
    record = RunRecord(
        partial=samples.interrupted is not None or any(end.died for end in samples.ends) or window is None,
        started=samples.started,
        tool=_tool(samples.engine),
        plan=_plan(plan),
        host=asdict(host),
        verdict=Verdict("valid"),
        slo=(),
        connections=_connections(whole, plan.connections, sum(worker.state["peak"] for worker in samples.workers)),
        messages=_messages(hold),
        bytes=Bytes(hold.counters["sent_bytes"], hold.counters["received_bytes"]),
        errors=_errors([(phase.name, one) for phase, one in zip(plan.phases, phases, strict=True)]),
        window=window,
        rates=_rates(hold, phases[0], samples, span_ns),
        cpu_per_reply_ns={
            "blast": _cpu_per_reply(hold.counters, hold.counters["replied"]),
            "serve": _serve_cpu_per_reply(samples.serve, hold.counters["replied"]),
        },
        histograms={
            name: histogram_record(
                (setup if name in ("connect", "first_byte") else hold).histograms[name],
                (setup if name in ("connect", "first_byte") else hold).dropped[name],
            )
            for name in hold.histograms
        },
        phases=tuple(
            PhaseRecord(
                phase.name,
                phase.kind.value,
                phase.duration_ns,
                _connections(one, 0, None),
                _messages(one),
                Bytes(one.counters["sent_bytes"], one.counters["received_bytes"]),
                {name: histogram_record(histogram, one.dropped[name]) for name, histogram in one.histograms.items()},
            )
            for phase, one in zip(plan.phases, phases, strict=True)
        ),
        workers=tuple(_worker(worker, samples.ends, kinds, plan.highest_ns) for worker in samples.workers),
        intervals=tuple(_interval(row, plan) for row in samples.intervals),
        server=_server(samples.serve),
    )
    record = msgspec.structs.replace(record, verdict=judge(record, plan, samples))
    return msgspec.structs.replace(record, slo=check([parse_slo(text) for text in plan.slo], record))


def rate(count: int, span_ns: int) -> float | None:
    """Returns how many a second; None when there was no time."""
    return count * NS_PER_S / span_ns if span_ns > 0 else None


def histogram_record(histogram: Histogram, dropped: int) -> HistogramRecord:
    """Returns a histogram as it stands in a record."""
    some = histogram.count > 0
    return HistogramRecord(
        unit="ns",
        count=histogram.count,
        sum=histogram.sum_ns,
        min=histogram.min_ns if some else None,
        mean=histogram.mean_ns if some else None,
        max=histogram.max_ns if some else None,
        percentiles={f"{percentile:g}": value for percentile, value in histogram.percentiles(PERCENTILES).items()},
        dropped=dropped,
        hdr=histogram.encode(),
    )


def _phase_total(samples: RunSamples, index: int, highest_ns: int) -> PhaseSamples:
    """Adds a phase up over the workers. What a dead worker had under way counts as unanswered, or unsent."""
    died = {end.index for end in samples.ends if end.died}
    parts = []
    for worker in samples.workers:
        part = worker.phases[index]
        parts.append(_settled(part) if worker.index in died else part)
    return merge(parts, highest_ns)


def _settled(part: PhaseSamples) -> PhaseSamples:
    """Balances a dead worker's counters: it could not count what it left behind, so we do."""
    counters = dict(part.counters)
    counters["unanswered"] = max(0, counters["sent"] - counters["replied"] - counters["failed"])
    counters["unsent"] = max(0, counters["intended"] - counters["sent"])
    return PhaseSamples(counters, part.errors, part.histograms, part.dropped)


def _tool(engine: str) -> Tool:
    uvloop = engine.removeprefix("uvloop ") if engine.startswith("uvloop ") else None
    return Tool(__version__, platform.python_version(), uvloop, engine)


def _plan(plan: Plan) -> dict[str, Origin]:
    values = msgspec.to_builtins(plan)
    values.pop("sources")
    origins = {}
    for key, value in values.items():
        option = _OPTION_OF.get(key)
        source = plan.sources.get(option, "default") if option else "derived"
        if key == "phases":
            source = _strongest(plan.sources, ("phases", *_SHAPES_PHASES))
        elif key in ("workers", "engine") and source == "default":
            source = "derived"
        elif key in ("target", "profile"):
            source = "option" if value and not plan.target.embedded else "default"
        origins[key] = Origin(value, source)
    return origins


def _strongest(sources: Mapping[str, str], options: Sequence[str]) -> str:
    said = {sources.get(option, "default") for option in options}
    return next(source for source in ("option", "profile", "default") if source in said)


def _window(samples: RunSamples) -> Window | None:
    if samples.window_start_ns is None or samples.window_end_ns is None:
        return None
    return Window(samples.window_start_ns - samples.start_ns, samples.window_end_ns - samples.start_ns)


def _connections(part: PhaseSamples, least: int, peak: int | None) -> Connections:
    counters = part.counters
    return Connections(
        asked=max(counters["asked"], least),
        opened=counters["opened"],
        failed=counters["failed_connects"],
        peak=peak,
        closed=counters["closed"],
    )


def _messages(part: PhaseSamples) -> Messages:
    return Messages(**{name: part.counters[name] for name in Messages.__struct_fields__})


def _errors(parts: Sequence[tuple[str, PhaseSamples]]) -> tuple[Advised, ...]:
    rows = [
        Advised(phase, step, name, count, advise(step, name))
        for phase, part in parts
        for (step, name), count in part.errors.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.count))


def _rates(hold: PhaseSamples, ramp: PhaseSamples, samples: RunSamples, span_ns: int) -> Rates:
    """Connects are counted over the window in churn, else over the ramp, until the last one was settled."""
    counters = hold.counters
    settled_ns = max(worker.state["settled_ns"] for worker in samples.workers)
    churn = counters["opened"] > 0
    return Rates(
        connects_per_s=rate(counters["opened"], span_ns)
        if churn
        else rate(ramp.counters["opened"], settled_ns - samples.start_ns),
        replies_per_s=rate(counters["replied"], span_ns),
        sent_bytes_per_s=rate(counters["sent_bytes"], span_ns),
        received_bytes_per_s=rate(counters["received_bytes"], span_ns),
    )


def _cpu_per_reply(counters: Mapping[str, int], replied: int) -> CpuPerReply | None:
    if not replied:
        return None
    return CpuPerReply(counters["cpu_user_ns"] / replied, counters["cpu_system_ns"] / replied)


def _serve_cpu_per_reply(serve: ServeSamples | None, replied: int) -> CpuPerReply | None:
    if serve is None:
        return None
    spent = {"cpu_user_ns": 0, "cpu_system_ns": 0}
    for before, after in zip(serve.at_start, serve.at_end, strict=True):
        for name in spent:
            spent[name] += after.phases[0].counters[name] - before.phases[0].counters[name]
    return _cpu_per_reply(spent, replied)


def _worker(
    worker: WorkerSamples, ends: Sequence[WorkerEnd], kinds: Sequence[PhaseKind], highest_ns: int
) -> WorkerRecord:
    held = [one for one, kind in zip(worker.phases, kinds, strict=True) if kind is PhaseKind.HOLD]
    hold, whole = merge(held, highest_ns).counters, merge(worker.phases, highest_ns)
    return _worker_record(
        worker,
        ends,
        hold,
        opened=whole.counters["opened"],
        replied=hold["replied"],
        received_bytes=hold["received_bytes"],
        errors=sum(whole.errors.values()),
    )


def _worker_record(
    worker: WorkerSamples, ends: Sequence[WorkerEnd], cpu: Mapping[str, int], **figures: Any
) -> WorkerRecord:
    mine = [end for end in ends if end.index == worker.index]
    died = [end.died for end in mine if end.died]
    core = worker.state["core"]
    user, system = cpu["cpu_user_ns"], cpu["cpu_system_ns"]
    return WorkerRecord(
        index=worker.index,
        core=None if core < 0 else core,
        pid=mine[-1].pid if mine else None,
        cpu_ns=user + system,
        cpu_user_ns=user,
        cpu_system_ns=system,
        run_delay_ns=cpu["run_delay_ns"],
        peak=worker.state["peak"],
        max_rss_bytes=worker.state["max_rss_bytes"],
        restarts=worker.state["generation"],
        died=died[-1] if died else None,
        **figures,
    )


def _interval(row: IntervalSample, plan: Plan) -> Interval:
    found = row.latency.percentiles((50.0, 99.0))
    return Interval(
        t_s=round(row.t_ns / NS_PER_S, 3),
        phase=plan.phases[row.phase].name,
        opened=row.opened,
        replied=row.replied,
        bytes=row.received_bytes,
        errors=row.errors,
        latency=IntervalLatency(found[50.0], found[99.0], row.latency.max_ns if row.latency.count else None),
    )


def _server(serve: ServeSamples | None) -> ServerRecord | None:
    if serve is None:
        return None
    counters = [worker.phases[0].counters for worker in serve.final]
    accepted = [one["opened"] for one in counters]
    total = sum(accepted)
    return ServerRecord(
        engine=serve.engine,
        accepted=total,
        connections=Connections(
            asked=total,
            opened=total,
            failed=0,
            peak=sum(worker.state["peak"] for worker in serve.final),
            closed=sum(one["closed"] for one in counters),
        ),
        balance=Balance(max(accepted) * len(accepted) / total) if total else None,
        bytes=Bytes(sum(one["sent_bytes"] for one in counters), sum(one["received_bytes"] for one in counters)),
        errors=_errors([("serve", worker.phases[0]) for worker in serve.final]),
        workers=tuple(
            _serve_worker(before, after, final, serve.ends)
            for before, after, final in zip(serve.at_start, serve.at_end, serve.final, strict=True)
        ),
        restarts=serve.restarts,
    )


def _serve_worker(
    before: WorkerSamples, after: WorkerSamples, final: WorkerSamples, ends: Sequence[WorkerEnd]
) -> WorkerRecord:
    start, end = before.phases[0].counters, after.phases[0].counters
    return _worker_record(
        final,
        ends,
        {name: end[name] - start[name] for name in ("cpu_user_ns", "cpu_system_ns", "run_delay_ns")},
        opened=final.phases[0].counters["opened"],
        replied=None,
        received_bytes=final.phases[0].counters["received_bytes"],
        errors=sum(final.phases[0].errors.values()),
    )
