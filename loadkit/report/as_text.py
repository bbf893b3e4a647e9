"""A record as text, for a terminal and a tired reader: the verdict and the headline first, the detail below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from loadkit.report.record import HistogramRecord, RunRecord, WorkerRecord
from loadkit.units import format_count, format_duration, format_rate, format_size

__all__ = ["as_text"]

_WIDTH = 100
_COLUMNS = ("50", "90", "99", "99.9", "99.99")


def as_text(record: RunRecord, path: str | None = None) -> str:
    """Returns the report, at most 100 columns wide. `path` is where the record was written, if it was."""
    sections = [
        _headline(record),
        _reasons(record),
        _slo(record),
        _what(record),
        _histograms(record),
        _errors(record),
        _workers(record),
        _next(record, path),
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def _headline(record: RunRecord) -> Iterator[str]:
    latency = record.histograms["latency"].percentiles
    errors = sum(row.count for row in record.errors)
    replies = "no measured replies"
    if record.rates.replies_per_s is not None:
        replies = f"{format_rate(record.rates.replies_per_s)} replies"
    shown = [f"p{name} {_time(latency[name])}" for name in ("50", "99", "99.9") if latency[name] is not None]
    yield f"{record.verdict.state}: {replies}, latency {' '.join(shown) or '-'}, {_plural(errors, 'error')}"


def _reasons(record: RunRecord) -> Iterator[str]:
    for reason in record.verdict.reasons:
        yield from _wrapped(f"{reason.code}: {reason.text}", indent=4)


def _slo(record: RunRecord) -> Iterator[str]:
    for slo in record.slo:
        value = "not measured, or too few samples" if slo.value is None else _slo_value(slo.expr, slo.value)
        yield f"SLO {'met   ' if slo.ok else 'MISSED'}  {slo.expr}  ({value})"


def _slo_value(expr: str, value: float) -> str:
    if "." in expr.split("<")[0].split(">")[0].split("=")[0]:
        return format_duration(value)
    return f"{value:,.0f}"


def _what(record: RunRecord) -> Iterator[str]:
    connections, messages = record.connections, record.messages
    yield _row("target", _target(record))
    yield _row("load", _load(record))
    yield _row(
        "connections",
        f"{format_count(connections.opened)} opened of {format_count(connections.asked)} asked, "
        f"{format_count(connections.failed)} failed, peak {_count(connections.peak)}, "
        f"at {_rate(record.rates.connects_per_s)}",
    )
    yield _row(
        "messages",
        f"{format_count(messages.intended)} intended, {format_count(messages.sent)} sent, "
        f"{format_count(messages.replied)} replied, {format_count(messages.failed)} failed, "
        f"{format_count(messages.unanswered)} unanswered, {format_count(messages.unsent)} unsent, "
        f"{format_count(messages.held)} held",
    )
    if record.rates.sent_bytes_per_s is not None and record.rates.received_bytes_per_s is not None:
        yield _row(
            "bytes",
            f"{format_size(record.rates.sent_bytes_per_s)}/s sent, "
            f"{format_size(record.rates.received_bytes_per_s)}/s received",
        )
    yield _row("CPU per reply", _cpu(record))
    if record.window:
        span = format_duration(record.window.end_ns - record.window.start_ns)
        runs = f" in {record.merged} runs" if record.merged > 1 else ""
        names = ", ".join(phase.name for phase in record.phases if phase.kind == "hold")
        yield _row("measured", f"{span}{runs} ({names}); ramp, warm-up and drain are in the record")


def _row(name: str, text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDTH, initial_indent=f"{name:<15}", subsequent_indent=" " * 15))


def _target(record: RunRecord) -> str:
    target = record.plan["target"].value
    first, *more = target["addresses"]
    addresses = f"{first} to {more[-1]}" if more else first
    name = "embedded server on " if target["embedded"] else f"{target['host']} = " if target["host"] != first else ""
    return f"{name}{addresses}, port {target['port']}"


def _load(record: RunRecord) -> str:
    plan = {key: origin.value for key, origin in record.plan.items()}
    shape = f"{format_size(plan['size_bytes'])} messages, depth {plan['depth']}, {record.tool.engine}"
    rates = [phase["rate_hz"] for phase in plan["phases"] if phase["kind"] == "hold" and phase["rate_hz"]]
    if not rates:
        return (
            f"closed loop, {shape}: each message waits for the reply before it, so a stall of the server shows once a "
            f"connection; use --rate to judge latency"
        )
    low, high = min(map(min, rates)), max(map(max, rates))
    asked = format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"
    return f"open loop at {asked}, {shape}"


def _cpu(record: RunRecord) -> str:
    parts = []
    for end, cpu in record.cpu_per_reply_ns.items():
        if cpu is None:
            parts.append(f"{end} not measured")
        else:
            parts.append(
                f"{end} {(cpu.user_ns + cpu.system_ns) / 1e3:.1f} us (user {cpu.user_ns / 1e3:.1f}, system "
                f"{cpu.system_ns / 1e3:.1f})"
            )
    return ", ".join(parts)


def _histograms(record: RunRecord) -> Iterator[str]:
    titles = [f"p{name}" for name in _COLUMNS]
    yield f"{'':<11}{'count':>12}{'min':>9}" + "".join(f"{title:>9}" for title in titles) + f"{'max':>9}{'mean':>9}"
    for name, histogram in record.histograms.items():
        yield _histogram(name, histogram)
    if any(histogram.percentiles[name] is None for histogram in record.histograms.values() for name in _COLUMNS):
        yield "-  too few samples: fewer than ten lie above that percentile"


def _histogram(name: str, histogram: HistogramRecord) -> str:
    values = [histogram.min, *(histogram.percentiles[column] for column in _COLUMNS), histogram.max, histogram.mean]
    return f"{name:<11}{format_count(histogram.count):>12}" + "".join(f"{_time(value):>9}" for value in values)


def _errors(record: RunRecord) -> Iterator[str]:
    rows = [*record.errors, *(record.server.errors if record.server else ())]
    if rows:
        yield f"{'errors':>9}  {'phase':<10}{'step':<9}{'error':<16}advice"
    for row in rows:
        start = f"{format_count(row.count):>9}  {row.phase:<10}{row.step:<9}{row.error:<16}"
        yield from textwrap.wrap(row.advice, _WIDTH, initial_indent=start, subsequent_indent=" " * 46)


def _workers(record: RunRecord) -> Iterator[str]:
    yield f"{'worker':<10}{'core':>5}{'pid':>9}{'opened':>12}{'replied':>13}{'cpu':>7}{'waiting':>9}{'memory':>11}"
    window = record.window
    span_ns = (window.end_ns - window.start_ns) / record.merged if window else 0.0
    for worker in record.workers:
        yield _worker("blast", worker, span_ns)
    if record.server:
        for worker in record.server.workers:
            yield _worker("serve", worker, span_ns)
        if record.server.balance and len(record.server.workers) > 1:
            restarts = f"; {_plural(record.server.restarts, 'worker')} replaced" if record.server.restarts else ""
            yield (
                f"serve end: {format_count(record.server.accepted)} accepted, busiest worker "
                f"{record.server.balance.max_over_mean:.2f} x the mean{restarts}"
            )


def _worker(end: str, worker: WorkerRecord, span_ns: float) -> str:
    cpu = _share(worker.cpu_ns, span_ns)
    waiting = _share(worker.run_delay_ns, span_ns)
    died = f"  {worker.died}" if worker.died else ""
    return (
        f"{end + ' ' + str(worker.index):<10}{_count(worker.core):>5}{worker.pid if worker.pid else '-':>9}"
        f"{format_count(worker.opened):>12}{_count(worker.replied):>13}{cpu:>7}{waiting:>9}"
        f"{format_size(worker.max_rss_bytes):>11}{died}"
    )


def _next(record: RunRecord, path: str | None) -> Iterator[str]:
    if path:
        yield f"record: {path}   again: loadkit report {path}"
    yield f"next: {_next_command(record)}"


def _next_command(record: RunRecord) -> str:
    """The one command that would teach the reader most."""
    plan = {key: origin.value for key, origin in record.plan.items()}
    target = plan["target"]
    where = "" if target["embedded"] else f" {target['host']}:{target['port']}"
    codes = {reason.code for reason in record.verdict.reasons}
    if "incomplete" in codes or "connections-missing" in codes:
        return f"loadkit doctor -c {plan['connections']}{where}"
    replies = record.rates.replies_per_s or 0.0
    half = max(1, round(replies / 2, -3) if replies >= 4000 else round(replies / 2))
    is_open = any(phase["rate_hz"] for phase in plan["phases"])
    shape = f"loadkit blast{where} -c {plan['connections']} -s {plan['size_bytes']}"
    if not is_open:
        return f"{shape} -R {half:.0f} -o open.json   (latency at half of this rate)"
    if codes & {"saturated", "peer-behind", "rate-missed"}:
        return f"{shape} -R {half:.0f} -o lower.json   (a rate that both ends can keep)"
    return f"{shape} -R {max(1, round(2 * replies)):.0f} -o higher.json   (does it hold at twice the rate?)"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent=" " * indent)


def _time(value: float | None) -> str:
    return "-" if value is None else format_duration(value)


def _count(value: int | None) -> str:
    return "-" if value is None else format_count(value)


def _rate(value: float | None) -> str:
    return "an unknown rate" if value is None else format_rate(value)


def _share(part: int | None, span_ns: float) -> str:
    return "-" if part is None or not span_ns else f"{part / span_ns:.0%}"


def _plural(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}{'' if count == 1 else 's'}"
