"""Lines, steps, areas and marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadkit.report.svg.ink import filled, inked
from loadkit.report.svg.plot import Plot, number

__all__ = ["draw_area", "draw_cross", "draw_line", "draw_steps"]

Point = tuple[float, float]
# How wide the line of the page's colour is that keeps a line apart from what it goes over.
_HALO = 3.0


def draw_line(
    plot: Plot,
    points: Iterable[Point | None],
    ink: str,
    dash: str = "",
    width: float = 2,
    halo: bool = False,
    says: str = "",
) -> None:
    """Draws a line through the points; None is a gap. `dash` is as in SVG; `halo` is for one that crosses areas."""
    _draw(plot, _line(points), ink, dash, width, halo, says)


def draw_steps(
    plot: Plot,
    steps: Sequence[tuple[float, float, float | None]],
    ink: str,
    dash: str = "",
    width: float = 2,
    halo: bool = False,
    says: str = "",
) -> None:
    """Draws (from, to, height) side by side, joined where they touch; a height of None is a gap."""
    data, end, height = [], None, None
    for start, stop, y in steps:
        if y is not None:
            joined = end is not None and abs(end - start) < 0.06
            data.append(
                "" if joined and y == height else f"V{number(y)}" if joined else f"M{number(start)} {number(y)}"
            )
            data.append(f"H{number(stop)}")
            end, height = stop, y
        else:
            end = None
    _draw(plot, "".join(data), ink, dash, width, halo, says)


def draw_area(plot: Plot, points: Sequence[Point], floor: float, ink: str, says: str = "") -> None:
    """Fills what is between the points and the floor below them."""
    if points:
        data = f"M{number(points[0][0])} {number(floor)}{_line(points, first='L')}V{number(floor)}z"
        plot.path(data, filled(ink), says)


def draw_cross(plot: Plot, x: float, y: float, ink: str, says: str = "") -> None:
    """Draws a mark at a place."""
    data = f"M{number(x - 5)} {number(y - 5)}l10 10m0-10l-10 10"
    plot.path(data, {**inked("page"), "stroke-width": "6"})
    plot.path(data, {**inked(ink), "stroke-width": "2.5"}, says)


def _draw(plot: Plot, data: str, ink: str, dash: str, width: float, halo: bool, says: str) -> None:
    if not data:
        return
    if halo:
        plot.path(data, {**inked("page"), "stroke-width": number(width + _HALO), "stroke-linejoin": "round"})
    attributes = {**inked(ink), "stroke-width": number(width), "stroke-linejoin": "round", "stroke-linecap": "round"}
    plot.path(data, attributes | ({"stroke-dasharray": dash} if dash else {}), says)


def _line(points: Iterable[Point | None], first: str = "M") -> str:
    data, pen, written = [], first, ""
    for point in points:
        if point is None:
            pen = "M"
            continue
        place = f"{number(point[0])} {number(point[1])}"
        if pen == "M" or place != written:
            data.append(f"{pen}{place}")
        pen, written = "L", place
    return "".join(data)
