"""The shape of every distribution of a run, one below the other over one axis of time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.charts.counted import Counted, counted
from loadkit.report.page import Column, Table, time_or_dash
from loadkit.report.record import HistogramRecord, RunRecord
from loadkit.report.svg.ink import inked
from loadkit.report.svg.line import draw_area
from loadkit.report.svg.plot import Plot, number
from loadkit.report.svg.scale import Scale, log_scale, log_ticks
from loadkit.units import format_count, format_duration

__all__ = ["densities"]

_ROOM = 46
_PER_DECADE = 12
# Below this nothing is told apart by a clock that takes tens of nanoseconds to read.
_LEAST_NS = 10


@dataclass(frozen=True, eq=False, slots=True)
class _Shape:
    name: str
    histogram: HistogramRecord
    found: Counted


def densities(record: RunRecord) -> Chart:
    """Returns the chart; without a picture if nothing was measured."""
    title = "Distributions"
    shapes = list(_shapes(record))
    if not shapes:
        return Chart("densities", title, "Nothing was measured.")
    shortest = min(int(one.found.low[0]) for one in shapes)
    least = max(_LEAST_NS, shortest)
    most = max(least * 2, *(int(one.found.high[-1]) for one in shapes))
    height = _ROOM * len(shapes) + 62
    plot = Plot("densities", title, "; ".join(map(_said, shapes)), height=height, margins=(18, 74, 44, 86))
    x = log_scale(least, most, plot.left, plot.right)
    plot.across(x, log_ticks(x, format_duration), "time, log")
    for at, shape in enumerate(shapes):
        _draw(plot, shape, x, plot.top + _ROOM * (at + 1))
    says = (
        "How the values of each time are spread: the higher, the more of them. Each has its own height. "
        "The mark is its p50."
    )
    if shortest < least:
        says += f" What is below {format_duration(least)} stands at the left edge."
    return finished(Chart("densities", title, says), plot, _table(shapes))


def _shapes(record: RunRecord) -> Iterator[_Shape]:
    for name, histogram in (*record.histograms.items(), ("unread", record.unread)):
        found = counted(histogram.hdr) if histogram else None
        if histogram and found and found.high[-1] > 0:
            yield _Shape(name, histogram, found)


def _draw(plot: Plot, shape: _Shape, x: Scale, floor: float) -> None:
    bins = max(4, round(math.log10(x.high / x.low) * _PER_DECADE))
    edges = np.geomspace(x.low, x.high, bins + 1)
    counts = shape.found.binned(edges)
    tall = (_ROOM - 10) / max(1, int(counts.max()))
    used = np.flatnonzero(counts)
    steps = [
        (
            x.at(float(edges[at])),
            x.at(float(edges[at + 1])),
            floor - (max(1.0, float(counts[at]) * tall) if counts[at] else 0),
        )
        for at in range(int(used[0]), int(used[-1]) + 1)
    ]
    draw_area(plot, steps, floor, "one", _said(shape))
    plot.path(f"M{plot.left} {number(floor)}H{plot.right}", inked("grid"))
    p50 = shape.found.percentile("50")
    if p50 is not None:
        place = x.at(max(1, p50))
        plot.path(f"M{number(place)} {number(floor)}v-{_ROOM - 12}", {**inked("text"), "stroke-width": "1.5"})
        plot.label(plot.right + 5, floor - 4, format_duration(p50), ink="muted")
    plot.label(plot.left - 6, floor - 4, shape.name, anchor="end")


def _said(shape: _Shape) -> str:
    one = shape.histogram
    return (
        f"{shape.name}: {time_or_dash(one.min)} to {time_or_dash(one.max)}, p50 {time_or_dash(one.percentiles['50'])}"
    )


def _table(shapes: list[_Shape]) -> Table:
    parts = ("50", "75", "90", "95", "99", "99.9", "99.99", "99.999")
    names = ("values", "min", *(f"p{part}" for part in parts), "max", "mean")
    rows = []
    for shape in shapes:
        one = shape.histogram
        times = (one.min, *(one.percentiles[part] for part in parts), one.max, one.mean)
        rows.append((shape.name, format_count(one.count), *map(time_or_dash, times)))
    return Table((Column("came back", is_text=True), *map(Column, names)), tuple(rows))
