"""The serve end, into a record: embedded in a run, or by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadkit.measure.run_samples import ServeSamples
from loadkit.measure.samples import WorkerSamples
from loadkit.report.balance import balance_record
from loadkit.report.counts import error_rows
from loadkit.report.fairness import fairness_missing, fairness_record
from loadkit.report.rates import has_gaps
from loadkit.report.record import Bytes, Connections, ProxyHeaders, ServerRecord, Window, WorkerRecord
from loadkit.report.unread import unread_of_window
from loadkit.report.wakeups import wakeups_record, window_wakeups
from loadkit.report.workers import serve_workers, sockets_record

__all__ = ["server_record", "shared_workers"]


def server_record(
    serve: ServeSamples, window: Window | None, is_hashed: bool, origins: Mapping[str, str] = {}
) -> ServerRecord:
    """Returns the serve end's part of a record. `is_hashed`: the kernel's hash gave connections to workers."""
    is_measured = window is not None and not has_gaps(window)
    accepted = _each(serve.final, "opened")
    sent = [
        late - early
        for early, late in zip(_each(serve.at_start, "sent_bytes"), _each(serve.at_end, "sent_bytes"), strict=True)
    ]
    fairness = fairness_record(serve.final, "bytes")
    errors = error_rows([("serve", worker.phases[0]) for worker in serve.final], is_serve=True)
    workers = serve_workers(serve, window)
    return ServerRecord(
        engine=serve.engine,
        accepted=sum(accepted),
        connections=_connections(serve.final),
        balance=balance_record(accepted, sent, is_hashed),
        bytes=_bytes(serve.final) if serve.counts_bytes else None,
        errors=errors,
        workers=workers,
        restarts=serve.restarts,
        port=serve.port,
        proxy_headers=_proxy_headers(serve.final),
        cpu_ns=sum(worker.cpu_ns or 0 for worker in workers) if window else None,
        shed=sum(row.count for row in errors if row.error in ("EMFILE", "ENFILE")),
        wakeups=wakeups_record(window_wakeups(serve.at_start, serve.at_end)) if is_measured else None,
        unread=unread_of_window(serve.at_start, serve.at_end) if is_measured else None,
        fairness=fairness,
        fairness_missing=None if fairness else fairness_missing(serve.final, serve.counts_bytes),
        sockets=sockets_record(origins, serve.final),
    )


def _proxy_headers(workers: Sequence[WorkerSamples]) -> ProxyHeaders | None:
    v1, v2, unknown = (sum(_each(workers, f"proxy_{name}")) for name in ("v1", "v2", "unknown"))
    return ProxyHeaders(v1, v2, unknown) if v1 or v2 else None


def shared_workers(one: ServerRecord | None, other: ServerRecord | None) -> frozenset[WorkerRecord]:
    """Returns the workers that two records have in common, because both were joined with the same serve end's record.

    Such a record has all of the serve end's life, so it counts once. Its workers tell serve ends apart: no two serve
    ends have a process with the same figures.
    """
    if one is None or other is None or not (one.is_whole_life and other.is_whole_life):
        return frozenset()
    return frozenset(one.workers) & frozenset(other.workers)


def _connections(workers: Sequence[WorkerSamples]) -> Connections:
    accepted = sum(_each(workers, "opened"))
    peak = sum(worker.state["peak"] for worker in workers)
    return Connections(asked=accepted, opened=accepted, failed=0, peak=peak, closed=sum(_each(workers, "closed")))


def _bytes(workers: Sequence[WorkerSamples]) -> Bytes:
    return Bytes(sum(_each(workers, "sent_bytes")), sum(_each(workers, "received_bytes")))


def _each(workers: Sequence[WorkerSamples], counter: str) -> list[int]:
    """Returns a counter of each worker. A serve end has one phase."""
    return [worker.phases[0].counters[counter] for worker in workers]
