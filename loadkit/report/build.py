"""Plan, host and samples, to a record."""

from __future__ import annotations

import platform
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec

from loadkit.host import Host
from loadkit.measure.board import TIMES
from loadkit.measure.histogram import Histogram
from loadkit.measure.run_samples import RunSamples, ServeSamples, WorkerEnd
from loadkit.measure.samples import PhaseSamples, WorkerSamples, merge
from loadkit.measure.series import IntervalSample
from loadkit.measure.settings import read_settings
from loadkit.measure.wakeups import WakeupSamples
from loadkit.plan.addresses import is_here
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.profile.both import Stamps
from loadkit.report.advice import advise
from loadkit.report.balance import balance_record
from loadkit.report.fairness import fairness_missing, fairness_record
from loadkit.report.histograms import histogram_record, interval_latency
from loadkit.report.journey import diagnose, journey_missing, journey_record
from loadkit.report.kernel import kernel_missing, kernel_record
from loadkit.report.record import (
    OF_A_SCHEDULE,
    Advised,
    Bytes,
    Connecting,
    Connections,
    CpuPerReply,
    Histograms,
    Interval,
    Messages,
    PhaseRecord,
    Rates,
    RunId,
    RunRecord,
    ServerRecord,
    SocketSetting,
    Standstills,
    Throttling,
    Tool,
    Verdict,
    Window,
    WorkerRecord,
)
from loadkit.report.scale import memory_record, opening_record, paced_connects
from loadkit.report.slo import check, parse_slo
from loadkit.report.tcp import tcp_record
from loadkit.report.unread import unread_missing, unread_of_hold, unread_of_window
from loadkit.report.verdict import judged
from loadkit.report.wakeups import missing_reason, phase_wakeups, wakeups_record, window_wakeups, worker_wakeups
from loadkit.units import NS_PER_S
from loadkit.version import __version__

__all__ = ["build_record", "cpu_per_reply", "make_rates", "server_record", "sockets_record"]

_NO_SOCKETS = "no connection of which the kernel could be asked"
_NO_SCHEDULE = "closed loop: a message is due when the reply before it was read"
# Whether a measured connection setup counts for the run: warm-up is left out.
_SETUP = (PhaseKind.RAMP, PhaseKind.HOLD)


def build_record(plan: Plan, host: Host, samples: RunSamples) -> RunRecord:
    """Returns the record of a run: totals, rates, verdict and SLOs worked out, nothing left to look up."""
    load = plan.load
    phases = [_phase_total(samples, index, load.highest_ns) for index in range(len(load.phases))]
    hold = _of_kinds(load, phases, (PhaseKind.HOLD,))
    setup = _of_kinds(load, phases, _SETUP)
    window = _window(load, samples, hold)
    messages = _messages(hold)
    moved = Bytes(window.sent_bytes, window.received_bytes) if window else Bytes(0, 0)
    connecting = _connecting(load, samples, window)
    ramp_ns = max(worker.state["settled_ns"] for worker in samples.workers) - samples.start_ns
    workers = tuple(_worker(load, worker, samples.ends, window, ramp_ns) for worker in samples.workers)
    server = None
    if samples.serve:
        is_hashed = not (plan.here.serve and plan.here.serve.is_apart)
        server = server_record(samples.serve, window, is_hashed, plan.origins.sockets)
    wakeups = wakeups_record(phase_wakeups(samples.workers, _numbers(load, PhaseKind.HOLD)))
    unread, tcp = unread_of_hold(hold), tcp_record(hold)
    fairness = fairness_record(samples.workers, "replies")
    kernel = kernel_record(
        samples.kernel,
        window.end_ns - window.start_ns if window else 0,
        is_here(plan.target),
        samples.kernel_of_ramp,
    )
    journey = journey_record(samples.workers, hold, load.probe_bytes) if load.journey else None
    record = RunRecord(
        partial=samples.interrupted is not None or any(end.died for end in samples.ends) or window is None,
        interrupted=samples.interrupted,
        stranded_ns=None if samples.stranded_ns is None else samples.stranded_ns - samples.start_ns,
        run=RunId(secrets.token_hex(8)),
        started=samples.started,
        tool=_tool(samples),
        target=plan.target,
        load=plan.load,
        placements=plan.placements,
        origins=plan.origins,
        given=plan.given,
        tags=plan.given.tags,
        host=asdict(host),
        verdict=Verdict("valid"),
        slo=(),
        connections=msgspec.structs.replace(
            _connections(
                merge(phases, load.highest_ns),
                load.connections,
                sum(worker.state["peak"] for worker in samples.workers),
            ),
            at_start=samples.answered,
            lost=_lost(load, phases) if window else None,
        ),
        messages=messages,
        bytes=moved,
        errors=_errors([(phase.name, one) for phase, one in zip(load.phases, phases, strict=True)]),
        window=window,
        rates=make_rates(window, connecting),
        connecting=connecting,
        opening=opening_record(load, samples),
        memory=memory_record(plan, samples),
        closing_ns=samples.closing_ns,
        sockets=(sockets := sockets_record(plan.origins.sockets, samples.workers)),
        sockets_missing=None if sockets else _NO_SOCKETS,
        cpu_per_reply_ns={
            "blast": cpu_per_reply(workers, window),
            # Between measured phases the serve end goes on with what is not: its CPU time is not the window's alone.
            "serve": cpu_per_reply(server.workers, window) if server and not _has_gaps(window) else None,
        },
        histograms=_histograms(load, hold)
        | {name: _histograms(load, setup)[name] for name in ("connect", "first_byte")},
        histograms_missing={} if load.open_loop else dict.fromkeys(OF_A_SCHEDULE, _NO_SCHEDULE),
        disturbed=histogram_record(hold.histograms["disturbed"], hold.dropped["disturbed"]),
        stood=hold.counters["stood"],
        standstills=_standstills(hold, samples),
        throttling=Throttling(**asdict(samples.throttling)) if samples.throttling else None,
        wakeups=wakeups,
        wakeups_missing=None if wakeups else missing_reason(samples.workers),
        unread=unread,
        unread_missing=unread_missing(samples.workers) if load.stamps is Stamps.RX and not unread else None,
        journey=journey,
        journey_missing=journey_missing(samples.workers) if load.journey and not journey else None,
        fairness=fairness,
        fairness_missing=None if fairness else fairness_missing(samples.workers),
        tcp=tcp,
        tcp_missing=None if tcp else "no open connection answered TCP_INFO in the measured time",
        kernel=kernel,
        kernel_missing=None if kernel else kernel_missing(window is not None),
        phases=tuple(
            _phase(load, phase, one, phase_wakeups(samples.workers, [number]))
            for number, (phase, one) in enumerate(zip(load.phases, phases, strict=True))
        ),
        workers=workers,
        intervals=tuple(_interval(row, load) for row in samples.intervals),
        server=server,
    )
    if journey:
        record = msgspec.structs.replace(record, journey=msgspec.structs.replace(journey, diagnosis=diagnose(record)))
    record = judged(record)
    return msgspec.structs.replace(record, slo=check([parse_slo(text) for text in plan.given.slo], record))


def make_rates(window: Window | None, connecting: Connecting | None) -> Rates:
    """Returns what happened in the window, divided by its length; None where there was no time."""

    def rate(name: str) -> float | None:
        return _rate(getattr(window, name), window.measured_ns) if window else None

    return Rates(
        connects_per_s=_rate(connecting.opened, connecting.duration_ns) if connecting else None,
        replies_per_s=rate("replied"),
        sent_bytes_per_s=rate("sent_bytes"),
        received_bytes_per_s=rate("received_bytes"),
    )


def _rate(count: int, span_ns: int) -> float | None:
    return count * NS_PER_S / span_ns if span_ns > 0 else None


def cpu_per_reply(workers: Sequence[WorkerRecord], window: Window | None) -> CpuPerReply | None:
    """Returns the workers' CPU time in the window divided by the replies in it; None when there was none."""
    if window is None or not window.replied:
        return None
    return CpuPerReply(
        sum(worker.cpu_user_ns or 0 for worker in workers) / window.replied,
        sum(worker.cpu_system_ns or 0 for worker in workers) / window.replied,
    )


def sockets_record(origins: Mapping[str, str], workers: Sequence[WorkerSamples]) -> dict[str, SocketSetting] | None:
    """Returns what the kernel said of a connection's socket options; None if no worker could ask."""
    found = next(filter(None, (read_settings(worker.state) for worker in workers)), None)
    if not found:
        return None
    return {name: SocketSetting(value, origins.get(name, "default")) for name, value in found.items()}


def _standstills(hold: PhaseSamples, samples: RunSamples) -> Standstills:
    """Returns how often the workers stood still in the measured phases, and when for the longest time."""
    stood = hold.histograms["standstill"]
    longest = max(samples.workers, key=lambda worker: worker.state["standstill_ns"])
    if not stood.count:
        return Standstills(0, 0, None, None, None)
    at_ns = longest.state["standstill_at_ns"] - samples.start_ns
    return Standstills(stood.count, stood.sum_ns, longest.state["standstill_ns"], at_ns, longest.index)


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
    return replace(part, counters=counters)


def _tool(samples: RunSamples) -> Tool:
    _, _, uvloop = samples.engine.partition("uvloop ")
    return Tool(__version__, platform.python_version(), uvloop or None, samples.engine)


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


def _has_gaps(window: Window | None) -> bool:
    return window is not None and window.measured_ns < window.end_ns - window.start_ns


def _numbers(load: Load, kind: PhaseKind) -> list[int]:
    return [number for number, phase in enumerate(load.phases) if phase.kind is kind]


def _of_kinds(load: Load, phases: Sequence[PhaseSamples], kinds: Sequence[PhaseKind]) -> PhaseSamples:
    return merge([one for phase, one in zip(load.phases, phases, strict=True) if phase.kind in kinds], load.highest_ns)


def _histograms(load: Load, part: PhaseSamples) -> Histograms:
    names = TIMES if load.open_loop else [name for name in TIMES if name not in OF_A_SCHEDULE]
    found = {name: histogram_record(part.histograms[name], part.dropped[name]) for name in names}
    return {name: found.get(name) for name in TIMES}


def _phase(load: Load, phase: PhasePlan, part: PhaseSamples, wakeups: WakeupSamples | None) -> PhaseRecord:
    return PhaseRecord(
        name=phase.name,
        kind=phase.kind.value,
        duration_ns=phase.duration_ns,
        connections=_connections(part, 0, None),
        messages=_messages(part),
        bytes=Bytes(part.counters["sent_bytes"], part.counters["received_bytes"]),
        histograms=_histograms(load, part),
        errors=_errors([(phase.name, part)]),
        wakeups=worker_wakeups(wakeups),
    )


def _connecting(load: Load, samples: RunSamples, window: Window | None) -> Connecting | None:
    """In churn connections open all the time, and the window is what counts; else they open in the ramp."""
    if load.lifetime_ns is not None and window:
        return Connecting(window.opened, window.measured_ns)
    paced = paced_connects(samples)
    return Connecting(*paced) if paced else None


def _connections(part: PhaseSamples, least: int, peak: int | None) -> Connections:
    counters = part.counters
    return Connections(
        asked=max(counters["asked"], least),
        opened=counters["opened"],
        failed=counters["failed_connects"],
        peak=peak,
        closed=counters["closed"],
    )


def _lost(load: Load, phases: Sequence[PhaseSamples]) -> int:
    """Connections that broke after the window had begun, and were not opened again: in churn they are."""
    if load.lifetime_ns is not None:
        return 0
    first = min(_numbers(load, PhaseKind.HOLD))
    broke = [phase.errors for phase in phases[first:-1]]
    return sum(count for errors in broke for (step, _name), count in errors.items() if step in ("send", "receive"))


def _messages(part: PhaseSamples) -> Messages:
    return Messages(**{name: part.counters[name] for name in Messages.__struct_fields__})


def _errors(parts: Sequence[tuple[str, PhaseSamples]], is_serve: bool = False) -> tuple[Advised, ...]:
    """Rows of the errors, added up where several workers have the same one, the most frequent first."""
    total: Counter[tuple[str, str, str]] = Counter()
    for phase, part in parts:
        for (step, name), count in part.errors.items():
            total[phase, step, name] += count
    rows = [Advised(*key, count, advise(key[1], key[2], is_serve)) for key, count in total.items()]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.phase, row.step, row.error)))


def _worker(
    load: Load, worker: WorkerSamples, ends: Sequence[WorkerEnd], window: Window | None, ramp_ns: int
) -> WorkerRecord:
    measured = _of_kinds(load, worker.phases, (PhaseKind.HOLD,))
    hold, ramp = measured.counters, worker.phases[0].counters
    whole = merge(worker.phases, load.highest_ns)
    return _worker_record(
        worker,
        ends,
        hold,
        window.measured_ns if window else 0,
        measured.histograms["standstill"],
        opened=whole.counters["opened"],
        replied=hold["window_replied"],
        sent_bytes=whole.counters["sent_bytes"],
        received_bytes=whole.counters["received_bytes"],
        errors=sum(whole.errors.values()),
        wakeups=worker_wakeups(phase_wakeups([worker], _numbers(load, PhaseKind.HOLD))),
        ramp_busy_share=ramp["busy_ns"] / ramp_ns if ramp_ns > 0 and ramp["waits"] else None,
    )


def _worker_record(
    worker: WorkerSamples,
    ends: Sequence[WorkerEnd],
    cpu: Mapping[str, int],
    span_ns: int,
    hold_standstills: Histogram | None = None,
    **figures: Any,
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
        cpu_share=(user + system) / span_ns if span_ns > 0 else None,
        run_delay_ns=cpu["run_delay_ns"],
        run_delay_share=cpu["run_delay_ns"] / span_ns if span_ns > 0 else None,
        voluntary_switches=cpu["voluntary_switches"],
        involuntary_switches=cpu["involuntary_switches"],
        open=worker.state["open"],
        peak=worker.state["peak"],
        max_rss_bytes=worker.state["max_rss_bytes"],
        restarts=worker.state["generation"],
        died=died[-1] if died else None,
        is_mid_fold=any(end.mid_fold for end in mine if end.died),
        busy_share=cpu["busy_ns"] / span_ns if span_ns > 0 and cpu["waits"] else None,
        standstills=hold_standstills.count if hold_standstills else None,
        standstill_ns=hold_standstills.sum_ns if hold_standstills else None,
        **figures,
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
        latency=interval_latency(row.latency),
        wakeups=row.wakeups,
        events=row.events,
        serve_wakeups=row.serve_wakeups,
        serve_events=row.serve_events,
        tcp_samples=row.tcp_samples,
        cwnd=row.tcp_cwnd / row.tcp_samples if row.tcp_samples else None,
        retransmits=row.retransmits,
        open=row.open,
    )


def server_record(
    serve: ServeSamples, window: Window | None, is_hashed: bool, origins: Mapping[str, str] = {}
) -> ServerRecord:
    """Returns the serve end's part of a record; `is_hashed`: the kernel's hash decided who got which connection."""
    is_measured = window is not None and not _has_gaps(window)
    counters = [worker.phases[0].counters for worker in serve.final]
    accepted = [one["opened"] for one in counters]
    total = sum(accepted)
    fairness = fairness_record(serve.final, "bytes")
    errors = _errors([("serve", worker.phases[0]) for worker in serve.final], is_serve=True)
    workers = tuple(
        _serve_worker(before, after, final, serve, window)
        for before, after, final in zip(serve.at_start, serve.at_end, serve.final, strict=True)
    )
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
        balance=balance_record(
            accepted,
            [
                late.phases[0].counters["sent_bytes"] - early.phases[0].counters["sent_bytes"]
                for early, late in zip(serve.at_start, serve.at_end, strict=True)
            ],
            is_hashed,
        ),
        bytes=Bytes(sum(one["sent_bytes"] for one in counters), sum(one["received_bytes"] for one in counters))
        if serve.counts_bytes
        else None,
        errors=errors,
        workers=workers,
        restarts=serve.restarts,
        port=serve.port,
        cpu_ns=sum(worker.cpu_ns or 0 for worker in workers) if window else None,
        shed=sum(row.count for row in errors if row.error in ("EMFILE", "ENFILE")),
        wakeups=wakeups_record(window_wakeups(serve.at_start, serve.at_end)) if is_measured else None,
        unread=unread_of_window(serve.at_start, serve.at_end) if is_measured else None,
        fairness=fairness,
        fairness_missing=None if fairness else fairness_missing(serve.final, serve.counts_bytes),
        sockets=sockets_record(origins, serve.final),
    )


def _serve_worker(
    before: WorkerSamples, after: WorkerSamples, final: WorkerSamples, serve: ServeSamples, window: Window | None
) -> WorkerRecord:
    start, end = before.phases[0].counters, after.phases[0].counters
    whole = final.phases[0]
    return _worker_record(
        final,
        serve.ends,
        {name: end[name] - start[name] for name in start},
        (serve.span_ns or window.end_ns - window.start_ns) if window else 0,
        opened=whole.counters["opened"],
        replied=None,
        sent_bytes=whole.counters["sent_bytes"] if serve.counts_bytes else None,
        received_bytes=whole.counters["received_bytes"] if serve.counts_bytes else None,
        errors=sum(whole.errors.values()),
        wakeups=worker_wakeups(window_wakeups([before], [after])),
    )
