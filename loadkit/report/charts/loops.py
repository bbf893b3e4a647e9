"""The event loops: how many events a wake-up brings, and how busy each worker is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.charts.counted import Counted, counted
from loadkit.report.page import Column, Table, count_or_dash, share_or_dash, time_or_dash
from loadkit.report.record import RunRecord, WorkerRecord
from loadkit.report.svg.bars import Bar, draw_rows
from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import Scale, Tick, linear_scale, linear_ticks
from loadkit.units import format_count, format_duration, plural

__all__ = ["batches", "busy_workers"]

_ENDS = (("blast", "one"), ("serve", "three"))
MOST_WORKERS = 24


def batches(record: RunRecord) -> Chart:
    """Returns the chart of the events per wake-up at both ends; without a picture if no engine counts them."""
    name, title = "batches", "Events per wake-up"
    found = list(_batches(record))
    if not found:
        reason = record.wakeups_missing or "the engine does not count them, or there were none"
        return Chart(name, title, f"Not measured: {reason}.")
    most = max(int(one.high[-1]) for _, _, one in found)
    edges = np.array([0.5, *(2.0**power + 0.5 for power in range(max(1, most.bit_length()) + 1))])
    while edges.size > 3 and edges[-2] >= most + 0.5:
        edges = edges[:-1]
    shares = {end: one.binned(edges) / one.count for end, _, one in found}
    said = "; ".join(f"{end} {one.counts @ one.high / one.count:.1f} on average" for end, _, one in found)
    plot = Plot(name, title, said, height=254, margins=(38, 16, 40, 56))
    y = linear_scale(max(float(one.max()) for one in shares.values()), plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, "{:.0%}".format), "share of the wake-ups")
    room = (plot.right - plot.left) / (edges.size - 1)
    width = room * 0.8 / len(found)
    for at, (end, ink, _) in enumerate(found):
        plot.box(plot.right - 150 + 80 * at, 4, 12, 12, ink)
        plot.label(plot.right - 133 + 80 * at, 14, end)
        bars = []
        for column, share in enumerate(shares[end].tolist()):
            if share:
                top = min(y.at(share), plot.bottom - 1)
                bars.append((plot.left + room * (column + 0.1) + width * at, top, width, plot.bottom - top))
        plot.boxes(bars, ink)
    names = [(plot.left + room * (column + 0.5), text) for column, text in enumerate(_ranges(edges))]
    plot.across_columns(names, "events of a wake-up (epoll_wait)")
    says = "A reply waits in its batch for those before it: one event per wake-up is a loop with time to spare."
    columns = (Column("events", is_text=True), *(Column(end) for end, _, _ in found))
    rows = tuple(
        (text, *(f"{shares[end][column]:.2%}" for end, _, _ in found)) for column, text in enumerate(_ranges(edges))
    )
    return finished(Chart(name, title, says), plot, Table(columns, rows))


def _batches(record: RunRecord) -> Iterator[tuple[str, str, Counted]]:
    of_serve = record.server.wakeups if record.server else None
    for (end, ink), wakeups in zip(_ENDS, (record.wakeups, of_serve), strict=True):
        found = counted(wakeups.batch.hdr) if wakeups and wakeups.batch else None
        if found:
            yield end, ink, found


def _ranges(edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    """Returns what is between the edges, in words: `1`, `2`, `3-4`, `5-8`."""
    ends = [int(edge) for edge in edges]
    return [str(end) if end <= begin + 1 else f"{begin + 1}-{end}" for begin, end in itertools.pairwise(ends)]


def busy_workers(record: RunRecord) -> Chart:
    """Returns the chart of what each worker did with its time; without a picture if no engine counts it."""
    name, title = "workers", "Busy and blocked workers"
    rows = [*_of_end("blast", record.workers), *_of_end("serve", record.server.workers if record.server else ())]
    if not rows:
        return Chart(name, title, "Not measured: the engine does not count how long it waits for events.")
    shown = sorted(rows, key=lambda row: -row[1])[:MOST_WORKERS]
    shown = [row for row in rows if row in shown]
    height = 20 * len(shown) + 92
    plot = Plot(name, title, f"busy {_range([row[1] for row in rows])}", height=height, margins=(36, 140, 44, 76))
    x = Scale(0.0, 1.0, plot.left, plot.right)
    plot.across(x, [Tick(share / 4, f"{share * 25}%") for share in range(5)], "share of the measured time")
    for at, (word, ink) in enumerate((("busy", "one"), ("blocked, waiting for events", "heat2"))):
        plot.box(plot.left + 90 * at, 8, 12, 12, ink)
        plot.label(plot.left + 17 + 90 * at, 18, word)
    bars = [
        (worker, [Bar(0, busy, "one", "busy"), Bar(busy, 1, "heat2", "blocked")], f"{busy:.0%}, turn {text}")
        for worker, busy, text in shown
    ]
    draw_rows(plot, bars, x)
    says = "How long each worker had something to do, and how long it waited for events; behind it its longest turn."
    if len(shown) < len(rows):
        says += f" Of {plural(len(rows), 'worker')} the {len(shown)} busiest are shown."
    return finished(Chart(name, title, says), plot, _workers_table(record, {row[0] for row in shown}))


def _of_end(end: str, workers: Sequence[WorkerRecord]) -> Iterator[tuple[str, float, str]]:
    """Yields (name, share of the time that it was busy, its longest turn) of those that counted."""
    for worker in workers:
        one = worker.wakeups
        if one and one.busy_ns >= 0 and one.blocked_ns >= 0 and one.busy_ns + one.blocked_ns:
            yield f"{end} {worker.index}", one.busy_ns / (one.busy_ns + one.blocked_ns), time_or_dash(one.busy_max_ns)


def _workers_table(record: RunRecord, shown: set[str]) -> Table:
    titles = ("busy", "blocked", "longest turn", "wake-ups", "events", "largest batch", "waited for a core")
    rows = []
    for end, workers in (("blast", record.workers), ("serve", record.server.workers if record.server else ())):
        for worker in workers:
            one = worker.wakeups
            if one and f"{end} {worker.index}" in shown:
                rows.append(
                    (
                        f"{end} {worker.index}",
                        format_duration(one.busy_ns),
                        format_duration(one.blocked_ns),
                        time_or_dash(one.busy_max_ns),
                        format_count(one.wakeups),
                        format_count(one.events),
                        count_or_dash(one.batch_max),
                        share_or_dash(worker.run_delay_share),
                    )
                )
    return Table((Column("worker", is_text=True), *map(Column, titles)), tuple(rows))


def _range(shares: Sequence[float]) -> str:
    return f"{min(shares):.0%} to {max(shares):.0%} of the time"
