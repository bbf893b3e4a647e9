"""Replies, errors and connections over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadkit.plan.phases import PhaseKind
from loadkit.report.charts.chart import Chart, finished
from loadkit.report.charts.slices import Slice
from loadkit.report.charts.timeline import MEASURED, draw_timeline, shown_time, time_scale
from loadkit.report.page import Column, Table
from loadkit.report.record import RunRecord
from loadkit.report.svg.line import draw_line, draw_steps
from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import compact, linear_scale, linear_ticks
from loadkit.units import NS_PER_S, format_count, format_rate

__all__ = ["connections_over_time", "errors_over_time", "replies_over_time"]

_HEIGHT = 254
_WHOLE = 5  # an axis that reaches so far has no parts of a connection


def replies_over_time(record: RunRecord, slices: Sequence[Slice]) -> Chart:
    """Returns the chart of replies per second, with the requested rate where there was one."""
    title = "Replies per second"
    if not any(one.replied for one in slices):
        return Chart("rates", title, "No row of the record's series has a reply.")
    asked = list(_asked(record))
    says = "Replies per second of each stretch of time"
    says += ", and dashed the messages per second that were requested. " if asked else ". "
    plot = Plot("rates", title, _range([one.per_s(one.replied) for one in slices], "replies"), height=_HEIGHT)
    most = max([*(one.per_s(one.replied) for one in slices), *(rate for line in asked for _, rate in line)])
    x, y = time_scale(plot, slices), linear_scale(most, plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, compact), "replies/s")
    draw_timeline(plot, x, slices, record)
    for (start_s, low), (end_s, high) in asked:
        draw_line(plot, [(x.at(start_s), y.at(low)), (x.at(end_s), y.at(high))], "two", dash="6 4")
    draw_steps(plot, [(x.at(one.from_s), x.at(one.t_s), y.at(one.per_s(one.replied))) for one in slices], "one")
    last = slices[-1] if slices[-1].replied else next(one for one in reversed(slices) if one.replied)
    beside = [(y.at(last.per_s(last.replied)), "replies", "one")]
    if asked:
        beside.append((y.at(asked[-1][1][1]), "requested", "two"))
    plot.labels_beside(beside)
    return finished(Chart("rates", title, says + MEASURED), plot, _table(slices))


def errors_over_time(record: RunRecord, slices: Sequence[Slice]) -> Chart:
    """Returns the chart of errors per second; without a picture if there were none."""
    title = "Errors per second"
    if not any(one.errors for one in slices):
        return Chart("errors", title, "No row of the record's series has an error.")
    values = [one.per_s(one.errors) for one in slices]
    plot = Plot("errors", title, _range(values, "errors"), height=_HEIGHT)
    x, y = time_scale(plot, slices), linear_scale(max(values), plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, compact), "errors/s")
    draw_timeline(plot, x, slices, record)
    draw_steps(plot, [(x.at(one.from_s), x.at(one.t_s), y.at(value)) for one, value in _with(slices, values)], "bad")
    plot.labels_beside([(y.at(values[-1]), "errors", "bad")])
    return finished(
        Chart("errors", title, f"Errors of the blast end per second. {MEASURED}"), plot, _errors_table(slices)
    )


def connections_over_time(record: RunRecord, slices: Sequence[Slice]) -> Chart:
    """Returns the chart of the connections that were open, or of those opened if the record has no more."""
    title, name = "Connections over time", "connections"
    if not any(one.opened for one in slices):
        return Chart(name, title, "No row of the record's series has a connection that opened.")
    sums, total = [], 0
    for one in slices:
        total += one.opened
        sums.append(total)
    known = [one.open for one in slices if one.open is not None]
    if not any(known):  # each was closed again before its stretch ended
        known = []
    most = max([*known, *([] if known else sums)])
    says = f"{format_count(total)} connections were opened" + (
        f", at most {format_count(max(known))} open" if known else ""
    )
    plot = Plot(name, title, says, height=_HEIGHT)
    x, y = time_scale(plot, slices), linear_scale(max(_WHOLE, most), plot.bottom, plot.top)
    plot.upright(y, linear_ticks(y, compact), "connections")
    draw_timeline(plot, x, slices, record)
    values = [one.open for one in slices] if known else sums
    points = [
        None if value is None else (x.at(one.t_s), y.at(value)) for one, value in zip(slices, values, strict=True)
    ]
    draw_line(plot, [(x.at(slices[0].from_s), y.at(0)), *points], "three")
    last = next(point for point in reversed(points) if point)
    plot.labels_beside([(last[1], "open" if known else "opened", "three")])
    what = "Connections that were open at the end of each stretch" if known else "Connections opened so far"
    return finished(Chart(name, title, f"{what}. {MEASURED}"), plot, _connections_table(slices))


def _with(slices: Sequence[Slice], values: Sequence[float]) -> Iterator[tuple[Slice, float]]:
    return zip(slices, values, strict=True)


def _asked(record: RunRecord) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yields the lines ((from, rate), (to, rate)) of the requested rates, whose times are known of a single run."""
    if record.window is None or record.merged > 1:
        return
    phases = record.load.phases
    first = next(at for at, phase in enumerate(phases) if phase.kind is PhaseKind.HOLD)
    at_s = record.window.start_ns / NS_PER_S
    at_s -= sum(phase.duration_ns for phase in phases[1:first]) / NS_PER_S
    end_s = record.window.end_ns / NS_PER_S
    for phase in phases[1:-1]:
        until_s = at_s + phase.duration_ns / NS_PER_S
        if phase.rate_hz and at_s < end_s:
            low, high = phase.rate_hz
            share = (min(until_s, end_s) - at_s) / max(1e-9, until_s - at_s)
            yield (at_s, low), (at_s + share * (until_s - at_s), low + share * (high - low))
        at_s = until_s


def _range(values: Sequence[float], what: str) -> str:
    return f"from {format_rate(min(values))} to {format_rate(max(values))} {what}"


def _table(slices: Sequence[Slice]) -> Table:
    columns = (Column("from", is_text=True), Column("replies per second"), Column("phase"))
    phases = [", ".join(one.phases) for one in slices]
    rows = tuple(
        # A phase stands where it begins.
        (shown_time(one.from_s), format_rate(one.per_s(one.replied)).removesuffix("/s"), phase if phase != last else "")
        for one, phase, last in zip(slices, phases, ["", *phases], strict=False)
    )
    return Table(columns, rows)


def _errors_table(slices: Sequence[Slice]) -> Table:
    rows = tuple((shown_time(one.from_s), format_count(one.errors)) for one in slices)
    return Table((Column("from", is_text=True), Column("errors")), rows)


def _connections_table(slices: Sequence[Slice]) -> Table:
    columns = (Column("from", is_text=True), Column("opened"), Column("open at its end"))
    rows = tuple(
        (
            shown_time(one.from_s),
            format_count(one.opened),
            "-" if one.open is None else format_count(one.open),
        )
        for one in slices
    )
    return Table(columns, rows)
