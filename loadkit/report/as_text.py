"""A record as text, for a terminal and a tired reader: the verdict and the headline first, the detail below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from loadkit.printable import cleaned, page, printable, shell_word, wrapped
from loadkit.report.journey import journey_line, journey_rows
from loadkit.report.record import HistogramRecord, PhaseRecord, RunRecord, ServerRecord, WorkerRecord, measured
from loadkit.report.scale import memory_line, opening_line
from loadkit.report.suggest import next_command
from loadkit.report.summary import (
    bytes_line,
    connections_line,
    crowd_line,
    finding_line,
    headline,
    load_line,
    lost_line,
    measured_line,
    messages_line,
    slo_value,
    standstills_line,
    target_line,
)
from loadkit.report.tcp import tcp_line
from loadkit.report.unread import unread_line
from loadkit.report.wakeups import wakeups_line
from loadkit.units import format_count, format_duration, format_size, plural

__all__ = ["as_short_text", "as_text"]

_WIDTH = 100
_MOST_WORKERS, _BUSIEST = 16, 4
_COLUMNS = ("50", "75", "90", "95", "99", "99.9", "99.99")


def as_text(record: RunRecord, path: str | None = None) -> str:
    """Returns the report, at most 100 columns wide. `path` is where the record was written, if it was."""
    shown = cleaned(record)
    sections = [
        [headline(shown)],
        _reasons(shown),
        _findings(shown),
        _slo(shown),
        _what(shown),
        _histograms(shown),
        _journey(shown),
        _phases(shown),
        _kernel(shown),
        _errors(shown),
        _workers(shown),
        _next(record, path),  # its commands have to be what they are: they are quoted instead
    ]
    return _joined(sections)


def as_short_text(record: RunRecord) -> str:
    """Returns what a failed test has to say: the verdict, SLOs, what was sent to whom, latencies and errors."""
    record = cleaned(record)
    what = [
        _row("target", target_line(record)),
        _row("load", load_line(record)),
        _row("connections", connections_line(record)),
        _row("messages", messages_line(record)),
    ]
    sections = [
        [headline(record)],
        _reasons(record),
        _findings(record),
        _slo(record),
        what,
        _histograms(record),
        _errors(record),
    ]
    return _joined(sections)


def _joined(sections: Iterable[Iterable[str]]) -> str:
    return page("\n\n".join("\n".join(lines) for lines in map(list, sections) if lines))


def _reasons(record: RunRecord) -> Iterator[str]:
    for reason in record.verdict.reasons:
        yield from _wrapped(f"{reason.code}: {reason.text}", indent=4)


def _findings(record: RunRecord) -> Iterator[str]:
    for finding in record.findings:
        yield from _wrapped(finding_line(finding), indent=4)


def _slo(record: RunRecord) -> Iterator[str]:
    for slo in record.slo:
        yield f"SLO {'met   ' if slo.ok else 'MISSED'}  {slo.expr}  ({slo_value(slo)})"


def _what(record: RunRecord) -> Iterator[str]:
    yield _row("target", target_line(record))
    yield _row("load", load_line(record))
    crowd = crowd_line(record)
    if crowd:
        yield _row("workers", crowd)
    yield _row("connections", connections_line(record))
    for name, line in (("opening", opening_line(record)), ("memory", memory_line(record))):
        if line:
            yield _row(name, line)
    if record.closing_ns is not None and opening_line(record):
        yield _row("closing", f"{format_duration(record.closing_ns)} until all were closed and every process was gone")
    yield _row("messages", messages_line(record))
    stood = standstills_line(record)
    if stood:
        yield _row("standstills", stood)
    moved = bytes_line(record)
    if moved:
        yield _row("bytes", moved)
    yield _row("CPU per reply", _cpu(record))
    wakeups = [("blast", record.wakeups), ("serve", record.server.wakeups if record.server else None)]
    if any(one for _, one in wakeups):
        # Of a whole life there are more wake-ups than belong to the replies of the window.
        of_window = {"blast": True, "serve": not (record.server and record.server.is_whole_life)}
        replied = record.window.replied if record.window else 0
        lines = (wakeups_line(end, one, replied if of_window[end] else 0) for end, one in wakeups if one)
        yield _row("wake-ups", "; ".join(lines))
    elif record.wakeups_missing:
        yield _row("wake-ups", record.wakeups_missing)
    unread = unread_line(record)
    if unread:
        yield _row("unread", unread)
    if record.tool.fallback:
        yield _row("engine", f"{record.tool.engine}: {record.tool.fallback}")
    span = measured_line(record)
    if span:
        yield _row("measured", f"{span}: messages, bytes, CPU per reply, latency, service, lateness, held")


def _row(name: str, text: str) -> str:
    return "\n".join(wrapped(text, _WIDTH, initial_indent=f"{name:<15}", subsequent_indent=" " * 15))


def _cpu(record: RunRecord) -> str:
    parts = []
    for end, cpu in record.cpu_per_reply_ns.items():
        if cpu is None:
            parts.append(f"{end} not measured")
            continue
        busy = _busy(cpu.user_ns + cpu.system_ns, record) if end == "blast" else ""
        parts.append(
            f"{end} {(cpu.user_ns + cpu.system_ns) / 1e3:.1f} us (user {cpu.user_ns / 1e3:.1f}, system "
            f"{cpu.system_ns / 1e3:.1f}{busy})"
        )
    return ", ".join(parts)


def _busy(cpu_ns: float, record: RunRecord) -> str:
    """Says how much of the CPU time was work, where most of it went into staying awake for what is due next."""
    wakeups, replied = record.wakeups, record.window.replied if record.window else 0
    stays_awake = record.plan.get("stays_awake")
    if not wakeups or wakeups.busy_ns is None or not replied or (stays_awake and not stays_awake.value):
        return ""
    if wakeups.busy_ns / replied > cpu_ns / 2:
        return ""
    return f"; {wakeups.busy_ns / replied / 1e3:.1f} at work, the rest awake to be on time"


def _histograms(record: RunRecord) -> Iterator[str]:
    titles = [f"p{name}" for name in _COLUMNS]
    yield (
        f"{'came back':<10}{'count':>10}{'min':>8}"
        + "".join(f"{title:>8}" for title in titles)
        + f"{'max':>8}{'mean':>8}"
    )
    found = {name: histogram for name, histogram in record.histograms.items() if histogram}
    for name, histogram in found.items():
        yield _histogram(name, histogram)
    if any(histogram.percentiles[name] is None for histogram in found.values() for name in _COLUMNS):
        yield "-  too few samples: fewer than ten lie above that percentile"
    lost = lost_line(record)
    if lost:
        yield from _wrapped(lost, indent=3, first=0)


def _histogram(name: str, histogram: HistogramRecord) -> str:
    values = [histogram.min, *(histogram.percentiles[column] for column in _COLUMNS), histogram.max, histogram.mean]
    return f"{name} {format_count(histogram.count):>{19 - len(name)}}" + "".join(f"{_time(one):>8}" for one in values)


def _journey(record: RunRecord) -> Iterator[str]:
    """Where the time of a message went: the sentence first, the stages below it."""
    journey = record.journey
    if journey is None:
        if record.journey_missing:
            yield _row("journey", f"not measured: {record.journey_missing}")
        return
    if journey.diagnosis:
        yield _row("journey", journey.diagnosis)
    yield _row("" if journey.diagnosis else "journey", journey_line(journey))
    yield from journey_rows(journey)


def _phases(record: RunRecord) -> Iterator[str]:
    titles = ("opened", "sent", "replied", "lost", "unsent", "errors")
    yield f"{'phase':<15}" + "".join(f"{title:>10}" for title in titles) + f"{'latency p50':>14}{'p99':>9}"
    for phase in record.phases:
        yield _phase(phase)


def _phase(phase: PhaseRecord) -> str:
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
    times = f"{_time(latency['50']):>14}{_time(latency['99']):>9}"
    return f"{name:<15}" + "".join(f"{format_count(count):>10}" for count in counts) + times


def _kernel(record: RunRecord) -> Iterator[str]:
    """What TCP_INFO says of the connections, and the machine's CPU time; their findings stand above."""
    kernel = record.kernel
    if record.tcp:
        yield _row("tcp", tcp_line(record.tcp))
    if kernel is None:
        return
    busy = {name: share for name, share in kernel.cpu.items() if name not in ("idle", "iowait") and share >= 0.005}
    if busy:
        yield _row("machine", ", ".join(f"{name} {share:.0%}" for name, share in busy.items()) + " of all CPU time")


def _errors(record: RunRecord) -> Iterator[str]:
    rows = [*record.errors, *(record.server.errors if record.server else ())]
    if rows:
        yield f"{'errors':>9}  {'phase':<10}{'step':<9}{'error':<16}advice"
    for row in rows:
        start = f"{format_count(row.count):>9}  {row.phase:<10}{row.step:<9}{row.error:<16}"
        yield from wrapped(row.advice, _WIDTH, initial_indent=start, subsequent_indent=" " * 46) or [start]


def _workers(record: RunRecord) -> Iterator[str]:
    titles = f"{'opened':>12}{'replied':>13}{'cpu':>7}{'busy':>7}{'waiting':>9}{'batch':>7}{'max rss':>11}"
    yield f"{'worker':<10}{'core':>5}{'pid':>9}{titles}"
    yield from _end("blast", record.workers)
    if record.server:
        yield from _end("serve", record.server.workers)
        if record.server.balance and len(record.server.workers) > 1:
            restarts = f"; {plural(record.server.restarts, 'worker')} replaced" if record.server.restarts else ""
            life = ", all of its whole life" if record.server.is_whole_life else ""
            yield from _wrapped(
                f"serve end: {format_count(record.server.accepted)} accepted, busiest worker "
                f"{record.server.balance.max_over_mean:.2f} x the mean{_usual(record.server)}{restarts}{life}",
                indent=11,
                first=0,
            )


def _usual(server: ServerRecord) -> str:
    """Says what luck there is in a hash, where there was one to be had, and how even the replies were."""
    balance = server.balance
    if balance is None or balance.usual is None:
        return ""
    replies = balance.replies_max_over_mean
    text = f" (a fair hash: {balance.usual:.2f} at most)"
    return f"{text}, of the replies {replies:.2f} x" if replies is not None else text


def _end(end: str, workers: Sequence[WorkerRecord]) -> Iterator[str]:
    """Of many workers those that used the most CPU, or waited for it, and those that died."""
    shown = set(range(len(workers)))
    if len(workers) > _MOST_WORKERS:
        by_load = sorted(shown, key=lambda at: -(workers[at].cpu_share or 0) - (workers[at].run_delay_share or 0))
        shown = {*by_load[:_BUSIEST], *(at for at in shown if workers[at].died)}
    for at in sorted(shown):
        yield _worker(end, workers[at])
        yield from _wrapped(workers[at].died or "", indent=10, first=10)
    others = [worker for at, worker in enumerate(workers) if at not in shown]
    if others:
        yield f"{end} {plural(len(others), 'other worker')}, with less to do: the record has them all"


def _worker(end: str, worker: WorkerRecord) -> str:
    cpu, busy = _share(worker.cpu_share), _share(worker.busy_share)
    waiting = _share(worker.run_delay_share)
    return (
        f"{end + ' ' + str(worker.index):<10}{_count(worker.core):>5}{worker.pid if worker.pid else '-':>9}"
        f"{format_count(worker.opened):>12}{_count(worker.replied):>13}{cpu:>7}{busy:>7}{waiting:>9}{_batch(worker):>7}"
        f"{format_size(worker.max_rss_bytes):>11}"
    )


def _batch(worker: WorkerRecord) -> str:
    """Returns the events of a wake-up, where they are counted."""
    wakeups = worker.wakeups
    return f"{wakeups.events / wakeups.wakeups:.1f}" if wakeups and wakeups.wakeups else "-"


def _next(record: RunRecord, path: str | None) -> Iterator[str]:
    if path:
        # A name that begins with a dash would be read as an option.
        word = shell_word(f"./{path}" if path.startswith("-") else path)
        yield f"record: {printable(path)}   again: loadkit report {word}"
    command, what_for = next_command(record)
    # Not wrapped, however long: it is there to be copied.
    yield f"next ({what_for}):"
    yield f"  {command}"


def _wrapped(text: str, indent: int, first: int = 2) -> list[str]:
    return wrapped(text, _WIDTH, initial_indent=" " * first, subsequent_indent=" " * indent)


def _time(value: float | None) -> str:
    return "-" if value is None else format_duration(value)


def _count(value: int | None) -> str:
    return "-" if value is None else format_count(value)


def _share(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"
