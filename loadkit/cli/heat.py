"""Small pictures for a terminal: a heat strip of latencies, sparklines and bars.

Without colours, or in an encoding that lacks the blocks, characters of ASCII stand for them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.style import Style
from rich.text import Text

from loadkit.measure.buckets import index_of
from loadkit.measure.histogram import Histogram
from loadkit.units import format_duration

__all__ = ["FINE", "Look", "bar", "binned", "heat_strip", "sparkline"]

_ASCII = " .:-=+*#%@"
_SPARKS, _ASCII_SPARKS = " ▁▂▃▄▅▆▇█", " ._-=+*#@"
# Colours of the 256, from dark to bright: blue, violet, red, orange, yellow. Their brightness alone tells them apart.
_HEAT = (18, 19, 55, 91, 127, 163, 199, 203, 208, 214, 220, 226)
# What a column is kept as, whatever a screen has room for: twelve parts of each decade from 1 us to 100 s.
_A_DECADE, _DECADES, _LOWEST_NS = 12, 8, 1_000
FINE = _A_DECADE * _DECADES


@dataclass(frozen=True, slots=True)
class Look:
    """What a terminal can show: colours, and characters beyond ASCII."""

    has_colours: bool
    has_blocks: bool


@functools.cache
def _edges() -> tuple[int, ...]:
    """Returns the lower edge of each part in ns; what is below the first belongs to it."""
    return tuple(round(_LOWEST_NS * 10 ** (part / _A_DECADE)) for part in range(FINE))


def binned(histogram: Histogram) -> tuple[int, ...]:
    """Returns how many values each of the FINE parts has."""
    edges = index_of(np.array(_edges()[1:], np.int64)).clip(0, len(histogram.counts))
    running = np.concatenate(([0], np.cumsum(histogram.counts)))
    at = [0, *running[edges].tolist(), int(running[-1])]
    return tuple(high - low for low, high in itertools.pairwise(at))


def heat_strip(columns: Sequence[Sequence[int]], rows: int, look: Look, marks_ns: Sequence[float] = ()) -> list[Text]:
    """Returns rows of text, the longest times on top; a column per second shows how its values are spread.

    The rows go over the decades that have values. A row of blocks has two parts, one above the other. `marks_ns` are
    thresholds; the row of one is marked.
    """
    parts = 2 * rows if look.has_blocks and look.has_colours else rows
    first, last = _decades(columns)
    fine = (last - first) * _A_DECADE
    shown = [_coarse(column[first * _A_DECADE : last * _A_DECADE], parts) for column in columns]
    # With the upper edge of the highest row.
    edges = [*_edges(), math.inf]
    lower = [edges[first * _A_DECADE + fine * part // parts] for part in range(parts + 1)]
    each = parts // rows
    text = []
    for row in range(rows - 1, -1, -1):
        low, high = lower[row * each], lower[(row + 1) * each]
        line = Text(f"{format_duration(low):>8} ", "dim", no_wrap=True, end="")
        line.append((">" if any(low <= mark < high for mark in marks_ns) else "|"), "bold")
        for column in shown:
            _cell(line, column[row * each : (row + 1) * each], sum(column), look)
        text.append(line)
    return text


def _decades(columns: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Returns the first decade that has values, and the one after the last."""
    used = [part // _A_DECADE for column in columns for part, count in enumerate(column) if count]
    return (min(used), max(used) + 1) if used else (2, 5)  # from 100 us to 100 ms


def _coarse(column: Sequence[int], parts: int) -> list[int]:
    found = [0] * parts
    for at, count in enumerate(column):
        found[at * parts // len(column)] += count
    return found


def _cell(line: Text, cell: Sequence[int], total: int, look: Look) -> None:
    """Adds a cell, whose parts are given from below: two as half blocks in colours, one as a character."""
    if len(cell) == 1:
        ramp = _SPARKS if look.has_blocks else _ASCII
        line.append(ramp[_level(cell[0], total, len(ramp))])
        return
    bottom, top = (_level(part, total, len(_HEAT) + 1) for part in cell)
    if top:
        line.append("▀", _style(top, bottom))
    elif bottom:
        line.append("▄", _style(bottom, 0))
    else:
        line.append(" ")


@functools.cache
def _style(front: int, behind: int) -> Style:
    """Returns the colours of two levels, of which 0 is none."""
    colour, behind_it = (f"color({_HEAT[level - 1]})" if level else None for level in (front, behind))
    return Style(color=colour, bgcolor=behind_it)


def _level(part: int, total: int, levels: int) -> int:
    """Returns 0 for nothing, and the highest level for all; by the square root, so that a hundredth can be seen."""
    return 0 if not part else max(1, min(levels - 1, round(math.sqrt(part / total) * (levels - 1))))


def sparkline(values: Sequence[float], look: Look) -> str:
    """Returns a character per value, from nothing to the greatest of them."""
    sparks = _SPARKS if look.has_blocks else _ASCII_SPARKS
    most = max(values, default=0)
    if most <= 0:
        return sparks[0] * len(values)
    return "".join(sparks[0 if value <= 0 else max(1, round(value / most * (len(sparks) - 1)))] for value in values)


def bar(share: float, width: int, look: Look) -> str:
    """Returns a bar that is filled by the share."""
    full = round(max(0.0, min(1.0, share)) * width)
    return ("█" if look.has_blocks else "#") * full + ("░" if look.has_blocks else ".") * (width - full)
