"""Plan, host and samples, to a record."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Any

import msgspec

from loadkit.host import Host
from loadkit.measure.run_samples import RunSamples
from loadkit.measure.samples import PhaseSamples
from loadkit.measure.series import IntervalSample
from loadkit.measure.wrong import find_wrong
from loadkit.plan.addresses import is_here
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind
from loadkit.profile.both import Stamps
from loadkit.report.counts import (
    error_rows,
    message_counts,
    phase_record,
    run_connections,
    run_histograms,
    times_missing,
)
from loadkit.report.diagnosis import diagnose
from loadkit.report.fairness import fairness_missing, fairness_record
from loadkit.report.histograms import histogram_record
from loadkit.report.journey import journey_missing, journey_record
from loadkit.report.kernel import kernel_missing, kernel_record
from loadkit.report.parts import Parts, numbers_of, parts_of
from loadkit.report.rates import (
    NOT_JOINED,
    UNMEASURED_PHASES,
    connecting_of,
    cpu_missing,
    cpu_per_reply,
    has_gaps,
    make_rates,
)
from loadkit.report.record import (
    Aborted,
    Bytes,
    Interval,
    PhaseRecord,
    RunId,
    RunRecord,
    ServerRecord,
    Standstills,
    Throttling,
    Verdict,
)
from loadkit.report.scale import memory_record, opening_record
from loadkit.report.server import server_record
from loadkit.report.slo import check, parse_slo
from loadkit.report.tcp import tcp_record
from loadkit.report.tool import tool_record
from loadkit.report.unread import unread_missing, unread_of_hold
from loadkit.report.verdict import judged
from loadkit.report.wakeups import phase_wakeups, wakeups_missing, wakeups_record
from loadkit.report.workers import blast_workers, sockets_record
from loadkit.units import NS_PER_S
from loadkit.wire.protocol import WRONG_REPLY
from loadkit.wire.recognise import show

__all__ = ["build_record"]

_NO_SOCKETS = "no connection of which the kernel could be asked"
_NO_TCP = "no open connection answered TCP_INFO in the measured time"
_UNIX = "a UNIX socket has no TCP"


def build_record(plan: Plan, host: Host, samples: RunSamples) -> RunRecord:
    """Returns the record of a run, with totals, rates, verdict and SLOs worked out."""
    parts = parts_of(plan.load, samples)
    record = msgspec.structs.replace(
        _what_happened(plan, host, samples, parts),
        **_scale(plan, samples),
        **_disturbances(samples, parts),
        **_observed(plan, samples, parts),
    )
    if record.journey:
        journey = msgspec.structs.replace(record.journey, diagnosis=diagnose(record))
        record = msgspec.structs.replace(record, journey=journey)
    record = judged(record)
    return msgspec.structs.replace(record, slo=check([parse_slo(text) for text in plan.given.slo], record))


def _what_happened(plan: Plan, host: Host, samples: RunSamples, parts: Parts) -> RunRecord:
    """Returns what each record has: the plan, and the counts, times and rates of the run."""
    load, window = plan.load, parts.window
    connecting = connecting_of(load, samples, window)
    workers, server = blast_workers(load, samples, parts), _server(plan, samples, parts)
    # If the window has phases that are not measured, the serve end's CPU time has theirs too.
    serve_cpu = cpu_per_reply(server.workers, window) if server and not has_gaps(window) else None
    cpu = {"blast": cpu_per_reply(workers, window), "serve": serve_cpu}
    is_cut = samples.interrupted is not None or samples.aborted is not None
    return RunRecord(
        partial=is_cut or any(end.died for end in samples.ends) or window is None,
        interrupted=samples.interrupted,
        aborted=_aborted(samples),
        stranded_ns=None if samples.stranded_ns is None else samples.stranded_ns - samples.start_ns,
        run=RunId(secrets.token_hex(8)),
        started=samples.started,
        tool=tool_record(samples.engine),
        target=plan.target,
        load=load,
        placements=plan.placements,
        origins=plan.origins,
        given=plan.given,
        tags=plan.given.tags,
        host=asdict(host),
        verdict=Verdict("valid"),
        slo=(),
        connections=run_connections(load, parts, samples),
        messages=message_counts(parts.hold),
        bytes=Bytes(window.sent_bytes, window.received_bytes) if window else Bytes(0, 0),
        errors=error_rows(
            [(phase.name, one) for phase, one in zip(load.phases, parts.phases, strict=True)],
            seen=_examples(load, samples),
        ),
        window=window,
        connecting=connecting,
        rates=make_rates(window, connecting),
        cpu_per_reply_ns=cpu,
        cpu_per_reply_missing=cpu_missing(cpu, window, UNMEASURED_PHASES if server else NOT_JOINED),
        histograms=run_histograms(load, parts),
        histograms_missing=times_missing(load),
        phases=_phases(load, samples, parts),
        workers=workers,
        intervals=tuple(_interval(row, load) for row in samples.intervals),
        server=server,
    )


def _aborted(samples: RunSamples) -> tuple[Aborted, ...]:
    found = samples.aborted
    if found is None:
        return ()
    return (Aborted(found.expr, found.at_ns - samples.start_ns, found.value, found.reason),)


def _server(plan: Plan, samples: RunSamples, parts: Parts) -> ServerRecord | None:
    if not samples.serve:
        return None
    is_hashed = plan.here.serve is None or plan.here.serve.is_hashed
    return server_record(samples.serve, parts.window, is_hashed, plan.origins.sockets)


def _phases(load: Load, samples: RunSamples, parts: Parts) -> tuple[PhaseRecord, ...]:
    return tuple(
        phase_record(load, phase, part, phase_wakeups(samples.workers, [number]))
        for number, (phase, part) in enumerate(zip(load.phases, parts.phases, strict=True))
    )


def _interval(row: IntervalSample, load: Load) -> Interval:
    return Interval(
        from_s=round(row.from_ns / NS_PER_S, 3),
        t_s=round(row.t_ns / NS_PER_S, 3),
        phase=load.phases[row.phase].name,
        opened=row.opened,
        replied=row.replied,
        bytes=row.received_bytes,
        errors=row.errors,
        latency=row.latency,
        wakeups=row.wakeups,
        events=row.events,
        serve_wakeups=row.serve_wakeups,
        serve_events=row.serve_events,
        tcp_samples=row.tcp_samples,
        cwnd=row.tcp_cwnd / row.tcp_samples if row.tcp_samples else None,
        retransmits=row.retransmits,
        open=row.open,
        cpu_ticks=row.cpu_ticks,
        stolen=row.stolen_ticks / row.cpu_ticks if row.cpu_ticks else None,
    )


# -- fields by name, which are null where something was not measured


def _examples(load: Load, samples: RunSamples) -> dict[str, str]:
    """Returns how the first reply began that said something wrong, as an error's example."""
    began = find_wrong(worker.state for worker in samples.workers)
    return {} if began is None else {WRONG_REPLY: f"; the first began `{show(began)}` (--check {load.content})"}


def _scale(plan: Plan, samples: RunSamples) -> dict[str, Any]:
    return {
        "opening": opening_record(plan.load, samples),
        "memory": memory_record(plan, samples),
        "closing_ns": samples.closing_ns,
    }


def _disturbances(samples: RunSamples, parts: Parts) -> dict[str, Any]:
    hold = parts.hold
    return {
        "disturbed": histogram_record(hold.histograms["disturbed"], hold.dropped["disturbed"]),
        "stood": hold.counters["stood"],
        "standstills": _standstills(hold, samples),
        "throttling": Throttling(**asdict(samples.throttling)) if samples.throttling else None,
    }


def _standstills(hold: PhaseSamples, samples: RunSamples) -> Standstills:
    """Returns how often the workers stood still in the measured phases, and when for the longest time."""
    stood = hold.histograms["standstill"]
    longest = max(samples.workers, key=lambda worker: worker.state["standstill_ns"])
    if not stood.count:
        return Standstills(0, 0, None, None, None)
    at_ns = longest.state["standstill_at_ns"] - samples.start_ns
    return Standstills(stood.count, stood.sum_ns, longest.state["standstill_ns"], at_ns, longest.index)


def _observed(plan: Plan, samples: RunSamples, parts: Parts) -> dict[str, Any]:
    """Returns what was measured beside the messages: each with the reason why it is missing, if it was to be there."""
    load, hold, workers, window = plan.load, parts.hold, samples.workers, parts.window
    span_ns = window.end_ns - window.start_ns if window else 0
    wakeups = wakeups_record(phase_wakeups(workers, numbers_of(load, PhaseKind.HOLD)))
    kernel, has_tcp = None, not plan.target.is_unix
    if has_tcp:
        kernel = kernel_record(samples.kernel, span_ns, is_here(plan.target), samples.kernel_of_ramp)
    fields = {
        **_or_reason("sockets", sockets_record(plan.origins.sockets, workers), _NO_SOCKETS),
        **_or_reason("wakeups", wakeups, wakeups_missing(workers)),
        **_or_reason("fairness", fairness_record(workers, "replies"), fairness_missing(workers)),
        **_or_reason("tcp", tcp_record(hold), _NO_TCP if has_tcp else _UNIX),
        **_or_reason("kernel", kernel, kernel_missing(window is not None) if has_tcp else _UNIX),
    }
    if load.stamps is Stamps.RX:
        fields |= _or_reason("unread", unread_of_hold(hold), unread_missing(workers))
    if load.journey:
        fields |= _or_reason("journey", journey_record(workers, hold, load.probe_bytes), journey_missing(workers))
    return fields


def _or_reason(name: str, value: object, reason: str) -> dict[str, Any]:
    return {name: value, f"{name}_missing": None if value else reason}
