"""The page of a run. Its first 24 lines have what a reader most needs: the verdict, the SLOs, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from loadkit.printable import cleaned, printable, shell_word
from loadkit.report.fairness import fairness_line
from loadkit.report.histograms import percentiles_of
from loadkit.report.journey import journey_line, journey_table
from loadkit.report.page import (
    DEFAULT,
    Column,
    Command,
    Depth,
    Layout,
    Note,
    Objective,
    Page,
    Part,
    Point,
    Row,
    Section,
    Table,
    count_or_dash,
    share_or_dash,
    time_or_dash,
)
from loadkit.report.record import PhaseRecord, RunRecord, ServerRecord, WorkerRecord, measured
from loadkit.report.scale import memory_line, opening_line
from loadkit.report.strip import p99_strip
from loadkit.report.suggest import next_command
from loadkit.report.summary import (
    aborted_line,
    bytes_line,
    connections_line,
    crowd_line,
    headline,
    load_line,
    lost_line,
    measured_line,
    messages_line,
    slo_margin,
    slo_value,
    standstills_line,
    tags_line,
    target_line,
)
from loadkit.report.tcp import tcp_line
from loadkit.report.unread import unread_line
from loadkit.report.wakeups import wakeups_line
from loadkit.units import format_count, format_duration, format_size, plural

__all__ = ["run_page"]

_MOST_WORKERS, _BUSIEST = 16, 4


def run_page(record: RunRecord, path: str | None = None, layout: Layout = DEFAULT) -> Page:
    """Returns what there is to say of a run. `path` is where the record was written, if it was.

    Raises RecordError for a histogram that is damaged and lacks a percentile of the layout.
    """
    shown = cleaned(record)
    # What decides, and what to do next, before what explains: there may be many findings.
    parts: dict[str, Iterable[Part | None]] = {
        "reasons": (Point(one.code, one.text) for one in shown.verdict.reasons),
        "objectives": (
            *(Objective(slo.expr, slo.ok, slo_value(slo), slo_margin(slo)) for slo in shown.slo),
            _row("aborted", aborted_line(shown), Depth.BRIEF),
        ),
        "next": [_next(record)],  # the command has to be what it is: it is quoted instead
        "findings": (Point(one.code, one.text, one.party) for one in shown.findings),
        "run": _run(shown),
        "times": _times(shown, layout.percentiles),
        "errors": [_errors(shown)],
        "journey": _journey(shown),
        "detail": _detail(shown),
        "phases": [_phases(shown)],
        "kernel": _kernel(shown),
        "workers": _workers(shown),
        "record": _record(shown, path),
    }
    return Page(headline(shown), tuple(Section.of(title, found) for title, found in parts.items()))


def _row(name: str, text: str | None, depth: Depth = Depth.FULL) -> Row | None:
    return Row(name, text, depth) if text else None


def _run(record: RunRecord) -> Iterator[Part | None]:
    yield Row("target", target_line(record), Depth.BRIEF)
    yield Row("load", load_line(record), Depth.BRIEF)
    yield _row("tags", tags_line(record), Depth.BRIEF)
    yield Row("connections", connections_line(record), Depth.BRIEF)
    yield Row("messages", messages_line(record), Depth.BRIEF)
    span = measured_line(record)
    times = (name for name in ("latency", "service", "lateness", "held") if record.histograms.get(name))
    what = ", ".join(("messages", "bytes", "CPU per reply", *times))
    yield _row("measured", span and f"{span}: {what}", Depth.SUMMARY)


def _times(record: RunRecord, percentiles: Sequence[str]) -> Iterator[Part | None]:
    names = ("min", *(f"p{name}" for name in percentiles), "max", "mean")
    columns = (Column("came back", 10, is_text=True), Column("count", 10), *(Column(name, 8) for name in names))
    found = {name: histogram for name, histogram in record.histograms.items() if histogram}
    values = {name: percentiles_of(one, percentiles) for name, one in found.items()}
    rows = []
    for name, one in found.items():
        times = (one.min, *values[name], one.max, one.mean)
        rows.append((name, format_count(one.count), *map(time_or_dash, times)))
    yield Table(columns, tuple(rows), Depth.BRIEF)
    if any(value is None for of_one in values.values() for value in of_one):
        yield Note("-  too few samples: fewer than ten lie above that percentile")
    lost = lost_line(record)
    yield Note(lost) if lost else None
    yield p99_strip(record)


def _errors(record: RunRecord) -> Table | None:
    """Returns the errors of both ends with advice, None if there were no errors."""
    errors = (*record.errors, *(record.server.errors if record.server else ()))
    columns = (
        Column("errors", 9),
        Column("phase", 12, is_text=True, gap=2),
        Column("step", 10, is_text=True),
        Column("error", 16, is_text=True),
        Column("advice", is_text=True),
    )
    rows = tuple((format_count(row.count), row.phase, row.step, row.error, row.advice) for row in errors)
    return Table(columns, rows, Depth.BRIEF) if rows else None


def _journey(record: RunRecord) -> Iterator[Part | None]:
    """Where the time of a message went: the sentence first, the stages below it."""
    journey = record.journey
    if journey is None:
        yield _row("journey", record.journey_missing and f"not measured: {record.journey_missing}", Depth.SUMMARY)
        return
    yield _row("journey", journey.diagnosis, Depth.SUMMARY)
    yield Row("" if journey.diagnosis else "journey", journey_line(journey))
    yield journey_table(journey)


def _detail(record: RunRecord) -> Iterator[Part | None]:
    opening = opening_line(record)
    yield _row("workers", crowd_line(record), Depth.SUMMARY)
    yield _row("opening", opening, Depth.SUMMARY)
    yield _row("memory", memory_line(record), Depth.SUMMARY)
    if record.closing_ns is not None and opening:
        yield Row(
            "closing",
            f"{format_duration(record.closing_ns)} until all connections were closed and every process had ended",
        )
    yield _row("standstills", standstills_line(record), Depth.SUMMARY)
    yield _row("bytes", bytes_line(record), Depth.SUMMARY)
    yield Row("CPU per reply", _cpu(record))
    yield _row("wake-ups", _wakeups(record))
    yield _row("unread", unread_line(record))
    yield _row("engine", record.fallback and f"{record.tool.engine}: {record.fallback}", Depth.SUMMARY)


def _wakeups(record: RunRecord) -> str | None:
    ends = [("blast", record.wakeups), ("serve", record.server.wakeups if record.server else None)]
    if not any(one for _, one in ends):
        return record.wakeups_missing
    # Of a whole life there are more wake-ups than belong to the replies of the window.
    of_window = {"blast": True, "serve": not (record.server and record.server.is_whole_life)}
    replied = record.window.replied if record.window else 0
    return "; ".join(wakeups_line(end, one, replied if of_window[end] else 0) for end, one in ends if one)


def _cpu(record: RunRecord) -> str:
    parts = []
    for end, cpu in record.cpu_per_reply_ns.items():
        if cpu is None:
            # That a server elsewhere is not measured needs no reason.
            reason = record.cpu_per_reply_missing.get(end) if record.server else None
            parts.append(f"{end} not measured ({reason})" if reason else f"{end} not measured")
            continue
        busy = _busy(cpu.user_ns + cpu.system_ns, record) if end == "blast" else ""
        whole, user, system = map(format_duration, (cpu.user_ns + cpu.system_ns, cpu.user_ns, cpu.system_ns))
        parts.append(f"{end} {whole} (user {user}, system {system}{busy})")
    return ", ".join(parts)


def _busy(cpu_ns: float, record: RunRecord) -> str:
    """Says how much of the CPU time was work, if most of it went into polling for the next message that is due."""
    wakeups, replied = record.wakeups, record.window.replied if record.window else 0
    stays_awake = any(one.stays_awake for one in record.placements)
    if not wakeups or wakeups.busy_ns is None or not replied or not stays_awake:
        return ""
    if wakeups.busy_ns / replied > cpu_ns / 2:
        return ""
    return f"; {format_duration(wakeups.busy_ns / replied)} working, the rest polling to be on time"


def _phases(record: RunRecord) -> Table:
    columns = (
        Column("phase", 9, is_text=True),
        *(Column(title, 10) for title in ("opened", "sent", "replied")),
        *(Column(title, 7) for title in ("lost", "unsent", "errors")),
        Column("latency p50", 12),
        Column("p99", 8),
    )
    return Table(columns, tuple(map(_phase, record.phases)))


def _phase(phase: PhaseRecord) -> tuple[str, ...]:
    messages = phase.messages
    counts = (
        phase.connections.opened,
        messages.sent,
        messages.replied,
        messages.failed + messages.unanswered,
        messages.unsent,
        sum(row.count for row in phase.errors),
    )
    latency = measured(phase.histograms, "latency").percentiles
    name = phase.name if len(phase.name) <= 14 else f"{phase.name[:13]}…"
    return name, *map(format_count, counts), time_or_dash(latency["50"]), time_or_dash(latency["99"])


def _kernel(record: RunRecord) -> Iterator[Part | None]:
    """What TCP_INFO says of the connections, and the machine's CPU time; the findings about these stand above."""
    if record.tcp:
        yield Row("tcp", tcp_line(record.tcp))
    fairness = fairness_line(record.fairness, record.server.fairness if record.server else None)
    if fairness:
        yield Row("fairness", fairness)
    cpu = record.kernel.cpu if record.kernel else {}
    busy = {name: share for name, share in cpu.items() if name not in ("idle", "iowait") and share >= 0.005}
    shares = ", ".join(f"{name} {share:.0%}" for name, share in busy.items())
    yield _row("machine", shares and f"{shares} of all CPU time")


# -- workers


_WORKERS = (
    Column("worker", 9, is_text=True),
    Column("core", 5),
    Column("pid", 8),
    Column("opened", 11),
    Column("replied", 12),
    Column("cpu", 6),
    Column("busy", 6),
    Column("waiting", 8),
    Column("batch", 6),
    Column("max rss", 9),
)


def _workers(record: RunRecord) -> Iterator[Part | None]:
    server = record.server
    rows = (*_end("blast", record.workers), *_end("serve", server.workers if server else ()))
    yield Table(_WORKERS, rows)
    if server and server.balance and len(server.workers) > 1:
        restarts = f"; {plural(server.restarts, 'worker')} replaced" if server.restarts else ""
        life = "; from its start to its end" if server.is_whole_life else ""
        yield Note(
            f"serve end: {format_count(server.accepted)} accepted, busiest worker "
            f"{server.balance.max_over_mean:.2f} x the mean{_usual(server)}{restarts}{life}",
            indent=11,
            depth=Depth.FULL,
        )


def _usual(server: ServerRecord) -> str:
    """Says how uneven a fair hash may be, if a hash chose the workers, and how even the replies were."""
    balance = server.balance
    if balance is None or balance.usual is None:
        return ""
    replies = balance.replies_max_over_mean
    text = f" (a fair hash: at most {balance.usual:.2f})"
    return f"{text}, {replies:.2f} x in replies" if replies is not None else text


def _end(end: str, workers: Sequence[WorkerRecord]) -> Iterator[tuple[str, ...] | Note]:
    """Shows of many workers those that used or waited for the most CPU time, and those that died."""
    shown = set(range(len(workers)))
    if len(workers) > _MOST_WORKERS:
        by_load = sorted(shown, key=lambda at: -(workers[at].cpu_share or 0) - (workers[at].run_delay_share or 0))
        shown = {*by_load[:_BUSIEST], *(at for at in shown if workers[at].died)}
    for at in sorted(shown):
        yield _worker(end, workers[at])
        died = workers[at].died
        if died:
            yield Note(died, first=10, indent=10)
    others = [worker for at, worker in enumerate(workers) if at not in shown]
    if others:
        yield Note(f"{end} {plural(len(others), 'other worker')}, with less to do; the record lists all")


def _worker(end: str, worker: WorkerRecord) -> tuple[str, ...]:
    wakeups = worker.wakeups
    return (
        f"{end} {worker.index}",
        count_or_dash(worker.core),
        str(worker.pid) if worker.pid else "-",
        format_count(worker.opened),
        count_or_dash(worker.replied),
        share_or_dash(worker.cpu_share),
        share_or_dash(worker.busy_share),
        share_or_dash(worker.run_delay_share),
        f"{wakeups.events / wakeups.wakeups:.1f}" if wakeups and wakeups.wakeups else "-",
        format_size(worker.max_rss_bytes),
    )


def _next(record: RunRecord) -> Command:
    command, what_for = next_command(record)
    return Command(what_for, command)


def _record(record: RunRecord, path: str | None) -> Iterator[Part | None]:
    if path:
        # A name that begins with a dash would be read as an option.
        word = shell_word(f"./{path}" if path.startswith("-") else path)
        yield Note(f"record: {printable(path)}   again: loadkit report {word}", depth=Depth.FULL)
    machine = f"{record.host.get('cpus', '-')} CPUs, kernel {record.host.get('kernel', '-')}"
    yield Note(
        f"loadkit {record.tool.loadkit}, Python {record.tool.python}, {machine}, {record.started}", depth=Depth.SUMMARY
    )
