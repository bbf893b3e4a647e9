"""A run at a glance: the dozen figures that are asked for first, in a box each."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from loadkit.measure.histogram import rank_of
from loadkit.report.charts.band import Band
from loadkit.report.html_tree import element
from loadkit.report.record import RunRecord, measured
from loadkit.report.selector import count_of_all, parse_selector, shown
from loadkit.units import format_count, format_duration, format_rate

__all__ = ["glance"]


def glance(record: RunRecord, band: Band | None) -> Element:
    """Returns the boxes. What was not measured is a dash, and never 0. `band` is that of latency, if it is known."""
    return element("dl", (_box(*box) for box in _boxes(record, band)), class_="glance")


def _box(name: str, value: str | None, below: str = "") -> Element:
    under = element("div", below, class_="sub") if below else None
    return element("div", element("dt", name), element("dd", value or "-", under))


def _boxes(record: RunRecord, band: Band | None) -> Iterator[tuple[str, str | None, str]]:
    yield "replies", shown(record, "replies_per_s"), _requested(record)
    for part in ("50", "99", "99.9"):
        value = shown(record, f"latency.p{part}")
        yield f"latency p{part}", value, _between(record, band, part) if band and value else ""
    yield "latency max", shown(record, "latency.max"), ""
    connections = record.connections
    opened = f"{format_count(connections.opened)} of {format_count(connections.asked)} opened"
    yield "connects", shown(record, "connects_per_s"), opened
    yield "connect p99", shown(record, "connect.p99"), ""
    errors = sum(row.count for row in record.errors)
    yield "errors", format_count(errors), f"error ratio {shown(record, 'error_ratio') or '-'}"
    for end, cpu in record.cpu_per_reply_ns.items():
        value = format_duration(cpu.user_ns + cpu.system_ns) if cpu else None
        yield f"CPU per reply, {end} end", value, "user and system" if cpu else "not measured"
    window = record.window
    runs = f"in {record.merged} runs" if record.merged > 1 else ""
    yield "measured", format_duration(window.measured_ns) if window else None, runs


def _requested(record: RunRecord) -> str:
    rate_hz, think = record.load.asked_rate_hz, record.load.think
    if rate_hz is None:
        return f"closed loop, pauses of {think}" if think else "closed loop"
    return f"of {format_rate(rate_hz)} requested"


def _between(record: RunRecord, band: Band, percentile: str) -> str:
    """Returns between which values a percentile of latency lies in 95 of 100 draws; "" if it is among what was lost."""
    of = count_of_all(record, parse_selector(f"latency.p{percentile}"))
    share = rank_of(of, percentile) / measured(record.histograms, "latency").count
    if share > 1:
        return ""
    [(low, high)] = band.at([share])
    return f"95 %: {format_duration(low)} to {format_duration(high)}"
