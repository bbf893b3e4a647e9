"""Bars: upright ones beside each other, and lying ones below each other, with their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import Scale

__all__ = ["Bar", "draw_columns", "draw_rows"]


class Bar(NamedTuple):
    """A part of a bar: where it begins and ends as values, its colour, and what it says."""

    start: float
    end: float
    ink: str
    says: str = ""


def draw_columns(plot: Plot, bars: Sequence[Bar], scale: Scale) -> list[float]:
    """Draws a column for each, from left to right; returns where the middle of each stands."""
    room = (plot.right - plot.left) / max(1, len(bars))
    width = room * (0.8 if room > 4 else 1.0)
    middles = []
    for at, bar in enumerate(bars):
        middle = plot.left + room * (at + 0.5)
        top, floor = scale.at(bar.end), scale.at(bar.start)
        # What is not 0 can be seen.
        top = min(top, floor - 1) if bar.end > bar.start else top
        plot.box(middle - width / 2, top, width, floor - top, bar.ink, bar.says)
        middles.append(middle)
    return middles


def draw_rows(plot: Plot, rows: Sequence[tuple[str, Sequence[Bar], str]], scale: Scale, height: float = 20) -> None:
    """Draws a row for each (name, parts, text): the name left of the room, the text behind the last part."""
    for at, (name, parts, text) in enumerate(rows):
        y = plot.top + height * at
        plot.label(plot.left - 6, y + height / 2 + 4, name, anchor="end")
        end = float(plot.left)
        for bar in parts:
            begin, end = scale.at(bar.start), scale.at(bar.end)
            if bar.end > bar.start:
                end = max(end, begin + 1)
                plot.box(begin, y + 3, end - begin, height - 6, bar.ink, bar.says)
        plot.label(end + 5, y + height / 2 + 4, text, ink="muted")
