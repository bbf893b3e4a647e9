"""The page of a serve end: how many connections it served, what each worker did, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.printable import cleaned
from loadkit.report.page import Column, Depth, Note, Page, Part, Row, Section, Table, count_or_dash, time_or_dash
from loadkit.report.record import ServerRecord, WorkerRecord
from loadkit.report.serve import ServeRecord
from loadkit.report.unread import unread_times
from loadkit.report.wakeups import wakeups_line
from loadkit.units import format_count, format_size, plural

__all__ = ["serve_page"]

_WORKERS = (
    Column("worker", 6),
    Column("core", 5),
    Column("accepted", 10),
    Column("peak", 10),
    Column("received", 9),
    Column("sent", 9),
    Column("cpu", 8),
    Column("wake-ups", 11),
    Column("events each", 12),
)


def serve_page(record: ServeRecord) -> Page:
    """Returns what there is to say of a serve end, from its start to its end."""
    shown = cleaned(record)
    return Page(
        _headline(shown.server),
        (
            Section("workers", (Table(_WORKERS, tuple(map(_worker, shown.server.workers)), Depth.BRIEF),)),
            Section.of("errors", _errors(shown)),
            Section.of("detail", _detail(shown)),
        ),
    )


def _headline(server: ServerRecord) -> str:
    said = [f"served {plural(server.accepted, 'connection')}"]
    if server.balance and len(server.workers) > 1:
        said.append(f"busiest worker {server.balance.max_over_mean:.2f} x the mean")
    if server.restarts:
        said.append(
            f"{plural(server.restarts, 'worker')} died and {'was' if server.restarts == 1 else 'were'} replaced"
        )
    errors = sum(row.count for row in server.errors)
    if errors:
        said.append(plural(errors, "error"))
    return ", ".join(said)


def _worker(worker: WorkerRecord) -> tuple[str, ...]:
    wakeups = worker.wakeups
    return (
        str(worker.index),
        count_or_dash(worker.core),
        format_count(worker.opened),
        format_count(worker.peak),
        _size(worker.received_bytes),
        _size(worker.sent_bytes),
        time_or_dash(worker.cpu_ns),
        format_count(wakeups.wakeups) if wakeups and wakeups.wakeups else "-",
        f"{wakeups.events / wakeups.wakeups:.1f}" if wakeups and wakeups.wakeups else "-",
    )


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_size(size_bytes)


def _detail(record: ServeRecord) -> Iterator[Part | None]:
    server = record.server
    if server.wakeups:
        yield Row("wake-ups", wakeups_line("", server.wakeups, 0).lstrip(), Depth.SUMMARY)
    if came := server.proxy_headers:
        said = f"{plural(came.v1, 'header')} of v1, {plural(came.v2, 'header')} of v2"
        less = f"; {format_count(came.unknown)} of them name no TCP addresses" if came.unknown else ""
        yield Row("PROXY", said + less, Depth.SUMMARY)
    if server.unread:
        text = f"in the receive buffer until read (1 read in 16 sampled): {unread_times(server.unread)}"
        yield Row("unread", text, Depth.SUMMARY)


def _errors(record: ServeRecord) -> Iterator[Part | None]:
    for row in record.server.errors:
        yield Note(f"{format_count(row.count)} x {row.step} {row.error}: {row.advice}", indent=4)
