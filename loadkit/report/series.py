"""The series of several runs: put end to end, or added second by second, and bounded as that of one run is."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import msgspec

from loadkit.measure.series import MOST_ROWS
from loadkit.report.algebra import Way
from loadkit.report.record import Interval

__all__ = ["add_series", "bounded"]

Merge = Callable[[Interval, Interval], Interval]


def add_series(left: Sequence[Interval], right: Sequence[Interval], way: Way, merge: Merge) -> tuple[Interval, ...]:
    """Returns the rows of both: those of `right` after the others, or added to them row by row of each phase."""
    if way is Way.BESIDE:
        return _by_time(itertools.chain.from_iterable(_beside(left, right, merge)))
    shift_s = max((row.t_s for row in left), default=0.0)
    return (*left, *(_later(row, shift_s) for row in right))


def bounded(rows: Sequence[Interval], merge: Merge, most: int = MOST_ROWS) -> tuple[Interval, ...]:
    """Returns no more than `most` rows, or one for each phase: neighbours of a phase are merged (measure/series.py)."""
    if len(rows) <= most:
        return tuple(rows)
    longest, phases = max(row.t_s for row in rows) - min(row.from_s for row in rows), len({row.phase for row in rows})
    width_s = max(0.001, min(row.t_s - row.from_s for row in rows))
    while True:
        width_s *= 2
        groups = [group for _phase, of_phase in _by_phase(rows) for group in _grouped(of_phase, width_s)]
        if len(groups) <= max(most, phases) or width_s > longest:
            return _by_time(functools.reduce(merge, group) for group in groups)


def _grouped(rows: Sequence[Interval], width_s: float) -> Iterator[list[Interval]]:
    """Yields the rows of a phase in groups that are not longer than that, unless it is a single row."""
    group: list[Interval] = []
    for row in rows:
        if group and row.t_s - group[0].from_s > width_s:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _beside(left: Sequence[Interval], right: Sequence[Interval], merge: Merge) -> Iterator[list[Interval]]:
    others = dict(_by_phase(right))
    for phase, rows in _by_phase(left):
        pairs = itertools.zip_longest(rows, others.pop(phase, ()))
        yield [merge(one, other) if one and other else one or other for one, other in pairs]
    yield from others.values()


def _by_phase(rows: Sequence[Interval]) -> list[tuple[str, list[Interval]]]:
    """Returns the rows of each phase, the phases in the order in which they come first."""
    found: dict[str, list[Interval]] = {}
    for row in rows:
        found.setdefault(row.phase, []).append(row)
    return list(found.items())


def _by_time(rows: Iterator[Interval]) -> tuple[Interval, ...]:
    return tuple(sorted(rows, key=lambda row: row.t_s))


def _later(row: Interval, shift_s: float) -> Interval:
    return msgspec.structs.replace(row, from_s=round(row.from_s + shift_s, 3), t_s=round(row.t_s + shift_s, 3))
