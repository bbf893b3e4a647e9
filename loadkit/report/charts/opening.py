"""The connection ramp: how fast each tenth of the first connections opened."""

from __future__ import annotations

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.page import Column, Table
from loadkit.report.record import RunRecord
from loadkit.report.selector import shown
from loadkit.report.svg.bars import Bar, draw_columns
from loadkit.report.svg.ink import inked
from loadkit.report.svg.plot import Plot, number
from loadkit.report.svg.scale import compact, linear_scale, linear_ticks
from loadkit.units import format_duration, format_rate, plural

__all__ = ["connection_ramp"]


def connection_ramp(record: RunRecord) -> Chart:
    """Returns the chart; without a picture if the ramp was too short, or did not end, and that is said."""
    name, title, opening = "ramp", "Connection ramp", record.opening
    if opening is None:
        reason = record.opening_missing or "the run did not open all of its first connections"
        return Chart(name, title, f"Not measured: {reason}.")
    opened = f"{plural(opening.opened, 'connection')} opened"
    if opening.duration_ns:
        opened += f" in {format_duration(opening.duration_ns)}"
    if not opening.deciles_per_s:
        return Chart(name, title, f"{opened}: too few, or too fast, for the rate of each tenth.")
    asked = record.load.connect_rate_hz
    rates = opening.deciles_per_s
    plot = Plot(name, title, f"{opened}; by tenths {', '.join(map(format_rate, rates))}", height=240)
    y = linear_scale(max(max(rates), asked or 0.0), plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, compact), "connects/s")
    middles = draw_columns(plot, [Bar(0, rate, "three", format_rate(rate)) for rate in rates], y)
    plot.across_columns([(middle, str(at)) for at, middle in enumerate(middles, 1)], "tenth of the connections")
    says = f"{opened}. Each bar is a tenth of them"
    if asked:
        height = y.at(asked)
        plot.path(
            f"M{plot.left} {number(height)}H{plot.right}",
            {**inked("two"), "stroke-width": "2", "stroke-dasharray": "6 4"},
        )
        plot.labels_beside([(height, "requested", "two")])
        says += "; dashed the rate that was requested"
    p99 = shown(record, "connect.p99")
    says += f". The p99 of connect was {p99}" if p99 else ""
    columns = (Column("tenth", is_text=True), Column("connects per second"))
    table = Table(columns, tuple((str(at), format_rate(rate)) for at, rate in enumerate(rates, 1)))
    return finished(Chart(name, title, f"{says}."), plot, table)
