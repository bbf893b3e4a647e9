"""Latency over time: a heat map of all replies, with p50, p99 and the longest of each stretch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.charts.slices import Slice
from loadkit.report.charts.timeline import MEASURED, draw_timeline, shown_time, time_scale
from loadkit.report.kernel import STOLEN
from loadkit.report.page import Column, Table, share_or_dash, time_or_dash
from loadkit.report.record import RunRecord
from loadkit.report.svg.heat import draw_heat, draw_heat_key
from loadkit.report.svg.line import draw_steps
from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import Scale, log_scale, log_ticks
from loadkit.units import format_duration

__all__ = ["latency_over_time"]

_MOST_ROWS = 40
_STOLEN = f"Red below the axis: the host took more than {STOLEN:.0%} of this machine's CPU time (steal)."
_LINES = (("p50_ns", "p50", "text", "", 1.5), ("p99_ns", "p99", "two", "", 2.0), ("max_ns", "max", "four", "2 3", 1.5))


def latency_over_time(record: RunRecord, slices: Sequence[Slice]) -> Chart:
    """Returns the chart; without a picture if no reply of the run is in a row of its series."""
    chart = Chart(
        "heat",
        "Latency over time",
        "Each column is a stretch of time; the darker a cell (on a dark page the brighter), the larger the share of "
        f"its replies that took so long. The lines are p50, p99 and the longest of each column. {MEASURED}",
    )
    slices = [one for one in slices if one.max_ns is not None]
    values = [value for one in slices for value in (one.p50_ns, one.p99_ns, one.max_ns) if value]
    if not values:
        return Chart(chart.name, chart.title, "No row of the record's series has a reply.")
    plot = Plot("heat", chart.title, _said(slices), height=350, margins=(38, 60, 66, 68))
    lows = [int(one.latency.low[one.latency.low > 0][0]) for one in slices if one.latency and one.latency.low[-1] > 0]
    y = log_scale(min([*values, *lows]), max(values), plot.bottom, plot.top)
    x = time_scale(plot, slices)
    plot.upright(y, log_ticks(y, format_duration), "latency, log")
    _draw_cells(plot, x, y, slices)
    draw_timeline(plot, x, slices, record)
    stolen = [one for one in slices if (one.stolen or 0) > STOLEN]
    for one in stolen:
        begin, end = x.at(one.from_s), x.at(one.t_s)
        plot.box(begin, plot.bottom + 2, end - begin, 4, "bad", f"{one.stolen:.0%} stolen")
    beside = []
    for field, name, ink, dash, width in _LINES:
        steps = [(x.at(one.from_s), x.at(one.t_s), _at(y, getattr(one, field))) for one in slices]
        draw_steps(plot, steps, ink, dash, width, halo=True)
        last = next((height for _, _, height in reversed(steps) if height is not None), None)
        if last is not None:
            beside.append((last, name, ink))
    plot.labels_beside(beside)
    draw_heat_key(plot, plot.left, plot.height - 14)
    if stolen:
        chart = replace(chart, says=f"{chart.says} {_STOLEN}")
    return finished(chart, plot, _table(slices))


def _draw_cells(plot: Plot, x: Scale, y: Scale, slices: Sequence[Slice]) -> None:
    drawn = [one for one in slices if one.latency]
    if not drawn:
        return
    decades = math.log10(y.high / y.low)
    rows = min(_MOST_ROWS, max(12, round(decades * 12)))
    edges = np.geomspace(y.low, y.high, rows + 1)
    # Columns that do not touch: one map each would be right, and one for all whose gaps are empty is the same.
    sides, columns = [x.at(drawn[0].from_s)], []
    for one in drawn:
        if one.latency is None:
            continue
        begin, end = max(sides[-1], x.at(one.from_s)), x.at(one.t_s)
        if begin > sides[-1] + 0.05:
            columns.append(np.zeros(rows, np.int64))
            sides.append(begin)
        columns.append(one.latency.binned(edges))
        sides.append(max(begin, end))
    draw_heat(plot, np.stack(columns, axis=1), sides, plot.bottom, plot.top)


def _at(scale: Scale, value: int | None) -> float | None:
    return None if value is None else scale.at(max(1, value))


def _said(slices: Sequence[Slice]) -> str:
    """Returns what a screen reader says of the picture."""
    longest = max(slices, key=lambda one: one.max_ns or 0)
    parts = [f"{len(slices)} stretches of time"]
    for name, field in (("p50", "p50_ns"), ("p99", "p99_ns")):
        known = [value for one in slices if (value := getattr(one, field)) is not None]
        if known:
            parts.append(f"{name} from {format_duration(min(known))} to {format_duration(max(known))}")
    parts.append(f"the longest, {time_or_dash(longest.max_ns)}, {shown_time(longest.from_s)} after the start")
    return "; ".join(parts)


def _table(slices: Sequence[Slice]) -> Table:
    is_known = any(one.stolen for one in slices)
    titles = ("p50", "p99", "max", *(["stolen"] if is_known else []))
    columns = (Column("from", is_text=True), *map(Column, titles))
    rows = tuple(
        (
            shown_time(one.from_s),
            *map(time_or_dash, (one.p50_ns, one.p99_ns, one.max_ns)),
            *([share_or_dash(one.stolen)] if is_known else []),
        )
        for one in slices
    )
    return Table(columns, rows)
