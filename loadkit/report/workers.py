"""The worker processes of both ends, and the socket options of their connections, into a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadkit.measure.histogram import Histogram
from loadkit.measure.run_samples import RunSamples, ServeSamples, WorkerEnd
from loadkit.measure.samples import WorkerSamples
from loadkit.measure.settings import read_settings
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind
from loadkit.report.parts import Parts, numbers_of, phases_of, total_of
from loadkit.report.record import SocketSetting, Window, WorkerRecord
from loadkit.report.wakeups import phase_wakeups, window_wakeups, worker_wakeups

__all__ = ["blast_workers", "serve_workers", "sockets_record"]


def blast_workers(load: Load, samples: RunSamples, parts: Parts) -> tuple[WorkerRecord, ...]:
    """Returns what each worker of the blast end did."""
    return tuple(_blast_worker(load, worker, samples.ends, parts) for worker in samples.workers)


def _blast_worker(load: Load, worker: WorkerSamples, ends: Sequence[WorkerEnd], parts: Parts) -> WorkerRecord:
    measured = phases_of(load, worker.phases, PhaseKind.HOLD)
    hold, ramp = measured.counters, worker.phases[0].counters
    whole = total_of(worker.phases)
    return _worker_record(
        worker,
        ends,
        hold,
        parts.window.measured_ns if parts.window else 0,
        measured.histograms["standstill"],
        opened=whole["opened"],
        replied=hold["window_replied"],
        sent_bytes=whole["sent_bytes"],
        received_bytes=whole["received_bytes"],
        errors=sum(count for phase in worker.phases for count in phase.errors.values()),
        wakeups=worker_wakeups(phase_wakeups([worker], numbers_of(load, PhaseKind.HOLD))),
        ramp_busy_share=ramp["busy_ns"] / parts.ramp_ns if parts.ramp_ns > 0 and ramp["waits"] else None,
    )


def serve_workers(serve: ServeSamples, window: Window | None) -> tuple[WorkerRecord, ...]:
    """Returns what each worker of a serve end did. A worker that died counts together with its successors."""
    return tuple(
        _serve_worker(before, after, final, serve, window)
        for before, after, final in zip(serve.at_start, serve.at_end, serve.final, strict=True)
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


def _worker_record(
    worker: WorkerSamples,
    ends: Sequence[WorkerEnd],
    cpu: Mapping[str, int],
    span_ns: int,
    hold_standstills: Histogram | None = None,
    **figures: Any,
) -> WorkerRecord:
    """Returns a worker's figures. The counters of `cpu` came in `span_ns` ns; `figures` differ from end to end."""
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


def sockets_record(origins: Mapping[str, str], workers: Sequence[WorkerSamples]) -> dict[str, SocketSetting] | None:
    """Returns what the kernel said of a connection's socket options; None if no worker could read them."""
    found = next(filter(None, (read_settings(worker.state) for worker in workers)), None)
    if not found:
        return None
    return {name: SocketSetting(value, origins.get(name, "default")) for name, value in found.items()}
