"""Heat maps: a column per stretch of time, a cell per range of values, coloured by its share of the column."""

from __future__ import annotations

from xml.etree.ElementTree import SubElement

import numpy as np
from numpy.typing import NDArray

from loadkit.report.svg.ink import HEAT, inked
from loadkit.report.svg.plot import Plot, number

__all__ = ["LEVELS", "draw_heat", "draw_heat_key", "levels_of"]

# The share of its column from which on a cell has the colour of that place. Tails are of a thousandth and less, so the
# steps are by factors.
LEVELS = (0.0, 0.001, 0.005, 0.02, 0.08, 0.25, 0.6)
_WORDS = ("few", "0.1%", "0.5%", "2%", "8%", "25%", "60%")


def levels_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the colour of each cell, from 1 on; 0 is an empty one. Rows are of values, columns of time."""
    totals = counts.sum(axis=0, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return np.where(counts > 0, np.searchsorted(LEVELS, shares, side="right"), 0)


def draw_heat(plot: Plot, counts: NDArray[np.int64], edges: list[float], floor: float, top: float) -> None:
    """Draws a cell for each count above 0: columns between the `edges`, rows of one height from the floor to the top.

    A colour is one path, whose lines are as wide as a row: rows are 1 high before they are scaled, and cells that touch
    are one line, which takes eight characters.
    """
    levels = levels_of(counts)
    move = f"translate(0 {number(floor)})scale(1 {(top - floor) / counts.shape[0]:.4g})"
    group = plot.group({"fill": "none", "shape-rendering": "crispEdges", "stroke-linecap": "butt", "transform": move})
    columns = [round(edge) for edge in edges]
    for level, ink in enumerate(HEAT, 1):
        data = "".join(_row(levels[row] == level, row, columns) for row in range(levels.shape[0]))
        if data:
            SubElement(group, "path", {**inked(ink), "d": data})


def draw_heat_key(plot: Plot, x: float, y: float) -> None:
    """Draws which colour is which share."""
    for at, (ink, word) in enumerate(zip(HEAT, _WORDS, strict=True)):
        plot.box(x + 62 * at, y, 14, 11, ink)
        plot.label(x + 62 * at + 18, y + 10, word, ink="muted")


def _row(is_here: NDArray[np.bool_], row: int, columns: list[int]) -> str:
    """Returns the lines of the cells in a row: those that touch are one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_here, [False])).astype(np.int8))).tolist()
    data: list[str] = []
    pen = 0
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        start, width = columns[begin], columns[end] - columns[begin]
        if width:
            data.append(f"m{start - pen} 0h{width}" if data else f"M{start} {row}.5h{width}")
            pen = start + width
    return "".join(data)
