"""Heat maps: a column per stretch of time, a cell per range of values, coloured by its share of the column."""

from __future__ import annotations

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

    A column is a line as wide as itself, and a row is 1 high before it is scaled: a cell takes six characters and not
    thirty.
    """
    levels = levels_of(counts)
    move = f"translate(0 {number(floor)})scale(1 {(top - floor) / counts.shape[0]:.4g})"
    for level, ink in enumerate(HEAT, 1):
        by_width: dict[str, list[str]] = {}
        for column in range(levels.shape[1]):
            data = _runs(levels[:, column] == level, (edges[column] + edges[column + 1]) / 2)
            if data:
                by_width.setdefault(number(edges[column + 1] - edges[column]), []).append(data)
        for width, parts in by_width.items():
            shape = {"stroke-width": width, "shape-rendering": "crispEdges", "transform": move}
            plot.path("".join(parts), {**inked(ink), **shape})


def draw_heat_key(plot: Plot, x: float, y: float) -> None:
    """Draws which colour is which share."""
    for at, (ink, word) in enumerate(zip(HEAT, _WORDS, strict=True)):
        plot.box(x + 62 * at, y, 14, 11, ink)
        plot.label(x + 62 * at + 18, y + 10, word, ink="muted")


def _runs(is_here: NDArray[np.bool_], x: float) -> str:
    """Returns the lines of a column's cells: those that touch are one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_here, [False])).astype(np.int8))).tolist()
    if not edges:
        return ""
    steps = [
        f"m0 {begin - end}v{after - begin}"
        for end, begin, after in zip(edges[1::2], edges[2::2], edges[3::2], strict=False)
    ]
    return f"M{number(x)} {edges[0]}v{edges[1] - edges[0]}{''.join(steps)}"
