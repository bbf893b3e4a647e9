"""How evenly SO_REUSEPORT spread the connections over the workers of the serve end."""

from __future__ import annotations

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.page import Column, Table
from loadkit.report.record import RunRecord
from loadkit.report.svg.bars import Bar, draw_columns
from loadkit.report.svg.ink import inked
from loadkit.report.svg.plot import Plot, number
from loadkit.report.svg.scale import linear_scale, linear_ticks
from loadkit.units import format_count, format_share

__all__ = ["balance_of_workers"]


def balance_of_workers(record: RunRecord) -> Chart | None:
    """Returns the chart; None if there is no serve end of ours with more than one worker."""
    server = record.server
    if server is None or server.balance is None or len(server.workers) < 2:
        return None
    name, title, balance = "balance", "Connections by serve worker (SO_REUSEPORT)", server.balance
    accepted = [worker.opened for worker in server.workers]
    mean = sum(accepted) / len(accepted)
    if mean <= 0:
        return Chart(name, title, "No connection was accepted.")
    said = f"{format_count(min(accepted))} to {format_count(max(accepted))} connections per worker, mean {mean:,.1f}"
    plot = Plot(name, title, said, height=240)
    shares = [count / mean for count in accepted]
    y = linear_scale(max([*shares, balance.usual or 1.0]), plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, "{:g} x".format), "of the mean")
    bars = [Bar(0, share, "three", f"{format_count(count)}") for share, count in zip(shares, accepted, strict=True)]
    middles = draw_columns(plot, bars, y)
    plot.across_columns(
        [(middle, str(worker.index)) for worker, middle in zip(server.workers, middles, strict=True)], "serve worker"
    )
    says = "Connections that each worker accepted, divided by the mean of all."
    lines = [(1.0, "mean", "text", "")]
    if balance.usual is not None:
        lines.append((balance.usual, "usual", "two", "6 4"))
        says += " A fair hash stays below the dashed line in 99 of 100 runs."
    for value, _, ink, dash in lines:
        attributes = {**inked(ink), "stroke-width": "1.5"} | ({"stroke-dasharray": dash} if dash else {})
        plot.path(f"M{plot.left} {number(y.at(value))}H{plot.right}", attributes)
    plot.labels_beside([(y.at(value), word, ink) for value, word, ink, _ in lines])
    total = sum(accepted)
    rows = tuple(
        (str(worker.index), format_count(worker.opened), format_share(worker.opened / total), f"{share:.3f} x")
        for worker, share in zip(server.workers, shares, strict=True)
    )
    columns = (Column("worker", is_text=True), Column("accepted"), Column("share"), Column("of the mean"))
    return finished(Chart(name, title, says), plot, Table(columns, rows))
