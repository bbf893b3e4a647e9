"""The percentile spectrum: every percentile at once, the rarer the further right, as Gil Tene's HdrHistogram has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadkit.errors import OptionError
from loadkit.measure.histogram import LEAST_ABOVE
from loadkit.report.charts.band import Band
from loadkit.report.charts.chart import Chart, finished
from loadkit.report.charts.counted import Counted, counted
from loadkit.report.page import Column, Table
from loadkit.report.record import RunRecord
from loadkit.report.selector import count_of_all, parse_selector, shown
from loadkit.report.slo import parse_slo
from loadkit.report.svg.line import draw_between, draw_cross, draw_line
from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import Scale, log_scale, log_ticks, nines_ticks
from loadkit.units import format_count, format_duration

__all__ = ["spectrum"]

_SERIES = (("latency", "one", ""), ("service", "three", "7 4"), ("lateness", "four", "2 4"), ("held", "two", "1 4"))
_POINTS = 80
_MEDIAN = 2.0  # 1 / (1 - p) of p50, which any number of values supports
_SAYS = (
    "The value that each percentile has; the further right, the rarer. It counts all messages that were due, so what "
    "never came back is later than everything else."
)
_UNSUPPORTED = " The grey dots go on where fewer than ten messages lie above, so that one unlucky message decides."
_BAND = (
    " The pale band is where 95 of 100 curves of latency lie if the seconds of this run are drawn anew; two runs "
    "differ by more."
)


@dataclass(frozen=True, eq=False, slots=True)
class _Curve:
    """A time of messages: `of` values there should be, of which `found` has those that are known."""

    name: str
    ink: str
    dash: str
    found: Counted
    of: int

    @property
    def lost(self) -> int:
        """How many never came back."""
        return self.of - self.found.count


def spectrum(record: RunRecord, percentiles: Sequence[str], band: Band | None) -> Chart:
    """Returns the chart, whose table has these percentiles; without a picture if nothing came back.

    `band` is that of latency, None if the run is too short for one.
    """
    title = "Percentile spectrum"
    curves = list(_curves(record))
    if not curves:
        return Chart("spectrum", title, "No reply came in the measured time, so there are no percentiles.")
    of = max(curve.of for curve in curves)
    plot = Plot("spectrum", title, _said(record, percentiles), height=324, margins=(26, 96, 40, 68))
    x = Scale(1.0, max(10.0, float(of)), plot.left, plot.right, is_log=True)
    marks = list(_objectives(record, [curve.name for curve in curves]))
    y = _heights(curves, [bound for _, bound, _, _ in marks], plot)
    plot.upright(y, log_ticks(y, format_duration), "time, log")
    plot.across(x, nines_ticks(x), "percentile")
    if band and curves[0].name == "latency":
        _draw_band(plot, curves[0], band, x, y)
    beside = []
    for curve in reversed(curves):
        last = _draw(plot, curve, x, y)
        beside.append((last, curve.name, curve.ink))
    plot.labels_beside(beside)
    for percentile, bound, is_met, expr in marks:
        share = float(percentile) / 100
        draw_cross(plot, x.at(1 / (1 - share)), y.at(max(1.0, bound)), "good" if is_met else "bad", _met(expr, is_met))
    says = _SAYS + (_UNSUPPORTED if of > _MEDIAN else "")
    says += _BAND if band else ""
    says += " A cross is an objective: green if it was met, red if it was missed." if marks else ""
    return finished(Chart("spectrum", title, says), plot, _table(record, curves, percentiles))


def _curves(record: RunRecord) -> Iterator[_Curve]:
    for name, ink, dash in _SERIES:
        histogram = record.histograms.get(name)
        found = counted(histogram.hdr) if histogram else None
        # What waited for nothing has no place on a logarithmic axis.
        if found and found.high[-1] > 0:
            of = max(count_of_all(record, parse_selector(f"{name}.p50")), found.count)
            yield _Curve(name, ink, dash, found, of)


def _heights(curves: Sequence[_Curve], bounds: Sequence[float], plot: Plot) -> Scale:
    """Returns the scale of the times: from the least latency on, for lateness alone may be a thousandth of that."""
    first = curves[0].found
    least = int(first.high[first.high > 0][0])
    most = max(int(curve.found.high[-1]) for curve in curves)
    return log_scale(
        min([least, *(bound for bound in bounds if bound > 0)]), max([most, *bounds]), plot.bottom, plot.top
    )


def _draw(plot: Plot, curve: _Curve, x: Scale, y: Scale) -> float:
    """Draws a curve, dashed where the count does not support it; returns where it ends."""
    if curve.lost > 0 and curve.name == "latency":
        begin = x.at(curve.of / curve.lost)
        plot.box(begin, plot.top, plot.right - begin, plot.bottom - plot.top, "panel", "never came back")
        plot.label(min(begin + 4, plot.right - 40), plot.top + 14, "never", ink="bad")
    supported = max(_MEDIAN, curve.of / LEAST_ABOVE)
    edges = np.geomspace(1.0, max(_MEDIAN, float(curve.of)), _POINTS)
    for inside, is_known in ((edges <= supported, True), (edges >= supported, False)):
        places = edges[inside]
        if 1.0 < supported < curve.of:
            places = np.append(places, supported) if is_known else np.insert(places, 0, supported)
        points = _points(curve, places, x, y)
        if is_known:
            draw_line(plot, points, curve.ink, curve.dash, 2.2, says=curve.name)
        elif len(points) > 1 or not edges[edges <= supported].size:
            draw_line(plot, points, "muted", "1 5", 1.6, says=f"{curve.name}: too few samples")
    return y.at(float(max(1, curve.found.high[-1])))


def _draw_band(plot: Plot, curve: _Curve, band: Band, x: Scale, y: Scale) -> None:
    """Draws the band as far as the count supports the curve, and values are known."""
    places = np.geomspace(1.0, max(1.0 + 1e-9, curve.of / LEAST_ABOVE), _POINTS // 2)
    shares = np.ceil(curve.of * (1 - 1 / places) - 1e-6) / curve.found.count
    known = shares <= 1
    ends = np.array(band.at(np.maximum(shares[known], 1e-9).tolist()))
    low, high = (
        [(x.at(place), y.at(max(1, value))) for place, value in zip(places[known].tolist(), side, strict=True)]
        for side in ends.T.tolist()
    )
    draw_between(plot, low, high, "band", "latency: 95 of 100 draws")


def _points(curve: _Curve, places: NDArray[np.float64], x: Scale, y: Scale) -> list[tuple[float, float] | None]:
    """Returns the points of the curve at these values of 1 / (1 - p), as far as values are known."""
    running = np.cumsum(curve.found.counts)
    ranks = np.clip(np.ceil(curve.of * (1 - 1 / places) - 1e-6), 1, curve.of)
    known = ranks <= running[-1]
    at = np.searchsorted(running, ranks[known])
    values = np.maximum(1, curve.found.high[at])
    return [(x.at(float(one)), y.at(float(value))) for one, value in zip(places[known], values, strict=True)]


def _objectives(record: RunRecord, names: Sequence[str]) -> Iterator[tuple[str, float, bool, str]]:
    """Yields (percentile, bound, is met, expression) of the objectives that have a place in the picture."""
    for one in record.slo:
        try:
            slo = parse_slo(one.expr)
        except OptionError:
            continue  # of a later loadkit
        figure, selector = slo.figure, slo.selector
        is_whole = selector.phase is None and selector.label is None and selector.target is None
        if is_whole and figure.time in names and figure.percentile is not None:
            yield figure.percentile, slo.bound, one.ok, one.expr


def _met(expr: str, is_met: bool) -> str:
    return f"{expr}: {'met' if is_met else 'missed'}"


def _said(record: RunRecord, percentiles: Sequence[str]) -> str:
    known = [(name, shown(record, f"latency.p{name}")) for name in percentiles]
    return "latency " + ", ".join(f"p{name} {text}" for name, text in known if text)


def _table(record: RunRecord, curves: Sequence[_Curve], percentiles: Sequence[str]) -> Table:
    columns = (Column("percentile", is_text=True), *(Column(curve.name) for curve in curves))
    rows = tuple(
        (f"p{name}", *(shown(record, f"{curve.name}.p{name}") or "-" for curve in curves)) for name in percentiles
    )
    counts = ("values", *(format_count(curve.of) for curve in curves))
    lost = ("never came back", *(format_count(curve.lost) for curve in curves))
    return Table(columns, (*rows, counts, lost))
