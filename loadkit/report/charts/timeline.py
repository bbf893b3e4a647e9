"""The time axis that pictures over time share: seconds, the phases by name, and the measured time as a bar."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.report.charts.slices import Slice, end_of
from loadkit.report.record import RunRecord
from loadkit.report.svg.ink import inked
from loadkit.report.svg.plot import Plot, number
from loadkit.report.svg.scale import Scale, Tick
from loadkit.units import NS_PER_S

__all__ = ["MEASURED", "draw_timeline", "shown_time", "time_scale"]

MEASURED = "The bar on the time axis is the measured time."
# Steps that a clock has.
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)


def time_scale(plot: Plot, slices: Sequence[Slice]) -> Scale:
    """Returns the scale of the seconds from the start of the run until its last row."""
    return Scale(0.0, end_of(slices), plot.left, plot.right)


def draw_timeline(plot: Plot, scale: Scale, slices: Sequence[Slice], record: RunRecord) -> None:
    """Draws the axis, where each phase begins, and which part is measured. The table has a row for each slice."""
    step = next((step for step in _STEPS_S if scale.high / step <= 8), scale.high / 4)
    ticks = [Tick(at * step, shown_time(at * step)) for at in range(int(scale.high / step) + 1)]
    plot.across(scale, ticks, "time since the start of the run")
    window = record.window
    if window and record.in_a_row == 1 and 0 <= window.start_ns < window.end_ns:
        begin, end = (scale.at(edge / NS_PER_S) for edge in (window.start_ns, window.end_ns))
        if end > begin:
            plot.path(f"M{number(begin)} {plot.bottom}H{number(end)}", {**inked("text"), "stroke-width": "4"})
    plot.columns([scale.at(one.from_s) for one in slices] + [scale.at(end_of(slices))])
    last = -1000.0
    for name, start_s in _starts(slices).items():
        x = scale.at(start_s)
        if start_s:
            plot.path(f"M{number(x)} {plot.top}V{plot.bottom}", {**inked("muted"), "stroke-dasharray": "2 4"})
        text = name if len(name) <= 16 else f"{name[:15]}…"
        if x >= last and x + 7 * len(text) < plot.width:
            plot.label(x + 3, plot.top - 6, text, ink="muted")
            last = x + 7.5 * len(text) + 10


def _starts(slices: Sequence[Slice]) -> dict[str, float]:
    """Returns when the first row of each phase begins."""
    found: dict[str, float] = {}
    for one in slices:
        for name in one.phases:
            found.setdefault(name, one.from_s)
    return found


def shown_time(value: float) -> str:
    """Returns a time since the start, as a clock has it: `0.5 s`, `20 s`, `1:30`, `1:00:00`."""
    if value < 60:
        return f"{round(value, 2):g} s"
    hours, rest = divmod(round(value), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
