"""Lines, steps, areas and marks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from loadkit.report.svg.ink import filled, inked
from loadkit.report.svg.plot import Plot, number

__all__ = ["draw_area", "draw_between", "draw_cross", "draw_line", "draw_steps"]

Point = tuple[float, float]
Step = tuple[float, float, float | None]
# How far from a line a point may be that is on it, in tenths of a unit.
_STRAIGHT = 2.0
_NOWHERE = -1_000
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
    steps: Sequence[Step],
    ink: str,
    dash: str = "",
    width: float = 2,
    halo: bool = False,
    says: str = "",
) -> None:
    """Draws (from, to, height) side by side, joined where they touch; a height of None is a gap.

    Edges are at whole units, and so not wider than a point on any screen.
    """
    _draw(plot, "".join(_steps(steps)), ink, dash, width, halo, says)


def draw_area(plot: Plot, steps: Sequence[Step], floor: float, ink: str, says: str = "") -> None:
    """Fills what is between steps (from, to, height), which touch, and the floor below them."""
    if steps:
        data = "".join(_steps([(steps[0][0], steps[0][0], floor), *steps]))
        plot.path(f"{data}V{floor:.0f}z", filled(ink), says)


def _steps(steps: Iterable[Step]) -> Iterator[str]:
    end = height = _NOWHERE
    for start, stop, y in steps:
        if y is None:
            end = _NOWHERE
            continue
        begin, to, at = round(start), round(stop), round(y)
        if begin != end:
            yield f"M{begin} {at}"
        elif at != height:
            yield f"v{at - height}"
        if to > begin:
            yield f"h{to - begin}"
        end, height = to, at


def draw_between(plot: Plot, low: Sequence[Point], high: Sequence[Point], ink: str, says: str = "") -> None:
    """Fills what is between two lines from the left to the right."""
    if low:
        plot.path(f"{_line(low)}{_line(high[::-1], first='L')}z", filled(ink), says)


def draw_cross(plot: Plot, x: float, y: float, ink: str, says: str = "") -> None:
    """Draws a mark at a place."""
    data = f"M{number(x - 5)} {number(y - 5)}l10 10m0-10l-10 10"
    plot.path(data, {**inked("page"), "stroke-width": "6"})
    plot.path(data, {**inked(ink), "stroke-width": "2.5"}, says)


def _draw(plot: Plot, data: str, ink: str, dash: str, width: float, halo: bool, says: str) -> None:
    if not data:
        return
    if halo:
        plot.path(data, {**inked("page"), "stroke-width": number(width + _HALO)})
    attributes = {**inked(ink), "stroke-width": number(width)}
    plot.path(data, attributes | ({"stroke-dasharray": dash} if dash else {}), says)


def _line(points: Iterable[Point | None], first: str = "M") -> str:
    """Returns the data of a line: each point by its way from the one before, which is shorter to write.

    Points on the straight line between their neighbours are left out.
    """
    data = []
    for piece in _pieces(points):
        (x, y), *others = _bends(piece)
        data.append(f"{first}{number(x / 10)} {number(y / 10)}")
        first, pen = "M", "l"
        for to_x, to_y in others:
            data.append(f"{pen}{_pair((to_x - x) / 10, (to_y - y) / 10)}")
            (x, y), pen = (to_x, to_y), " "
    return "".join(data).replace(" -", "-")


def _pieces(points: Iterable[Point | None]) -> Iterator[list[tuple[int, int]]]:
    """Yields the points between gaps, in tenths."""
    for is_point, group in itertools.groupby(points, lambda point: point is not None):
        if is_point:
            yield [(round(point[0] * 10), round(point[1] * 10)) for point in group if point]


def _bends(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the points without those that are no further than a tenth from the line between the ones kept."""
    kept = [points[0]]
    begin = 0
    while begin < len(points) - 1:
        end = begin + 1
        while end + 1 < len(points) and _is_straight(points, begin, end + 1):
            end += 1
        kept.append(points[end])
        begin = end
    return kept


def _is_straight(points: Sequence[tuple[int, int]], begin: int, end: int) -> bool:
    """Whether the points between these two are on the way from one to the other."""
    (x, y), (to_x, to_y) = points[begin], points[end]
    wide, high = to_x - x, to_y - y
    square, far = wide * wide + high * high, _STRAIGHT * math.hypot(wide, high)
    ways = [(one_x - x, one_y - y) for one_x, one_y in points[begin + 1 : end]]
    if not square:
        return not any(a or b for a, b in ways)
    return all(abs(wide * b - high * a) <= far and 0 <= wide * a + high * b <= square for a, b in ways)


def _pair(x: float, y: float) -> str:
    return f"{number(x)} {number(y)}"
