"""What ends a run early: its conditions, judged about once a second from what its phases have so far. Pure.

A condition without a duration is about all that its phases have so far. One with a duration is about each second by
itself, and is met when it held in each of them for so long. A second in which nothing could be judged breaks the row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from loadkit.measure.run_samples import AbortSample
from loadkit.measure.so_far import SoFar, sum_of
from loadkit.plan.load import Load
from loadkit.report.conditions import Condition
from loadkit.report.so_far import WAYS, Found, Stretch
from loadkit.units import NS_PER_S

__all__ = ["Conditions", "wanted_of"]

# A rate of less than this is noise: such a piece of a second, at the edge of a phase, is judged with the next one.
_LEAST_NS = NS_PER_S // 2
# How far back it is known what had begun, in seconds: a bound beyond it counts nothing under way as late.
_MOST_BACK = 600

Span = tuple[int, int]


def wanted_of(conditions: Sequence[Condition], load: Load) -> dict[int, set[str]]:
    """Returns which phases have to be looked at, and which of their histograms."""
    wanted: dict[int, set[str]] = {}
    for condition in conditions:
        for phase in condition.phases(load):
            wanted.setdefault(phase, set()).update(filter(None, [condition.figure.time]))
    return wanted


class Conditions:
    """The conditions of a run, in the order in which they were given."""

    def __init__(self, conditions: Sequence[Condition], load: Load) -> None:
        self._watched = [_Watched(condition, condition.phases(load)) for condition in conditions]

    def judge(self, seen: Mapping[int, SoFar], spans: Mapping[int, Span], now: int) -> AbortSample | None:
        """Returns the first condition that is met; None if there is none.

        `seen` has what the phases have so far, by their numbers, `spans` when those that have begun do begin and end.
        """
        met = [one.judge(seen, spans, now) for one in self._watched]
        return next(filter(None, met), None)


class _Watched:
    """A condition, and what was seen of it before."""

    def __init__(self, condition: Condition, phases: Sequence[int]) -> None:
        self._condition = condition
        self._phases = phases
        self._before: SoFar | None = None
        self._before_ns = 0
        self._since_ns: int | None = None  # it has held since
        self._begun: deque[tuple[int, int]] = deque(maxlen=_MOST_BACK)  # when, and how many values had been begun

    def judge(self, seen: Mapping[int, SoFar], spans: Mapping[int, Span], now: int) -> AbortSample | None:
        begun = [spans[phase] for phase in self._phases if phase in spans and spans[phase][0] < now]
        if not begun:
            return None
        so_far = sum_of(seen[phase] for phase in self._phases)
        late = self._late(so_far, now)
        if self._condition.for_ns is None:
            found = self._read(self._stretch(so_far, _overlap(begun, 0, now), late))
            return self._aborted(found, now) if found and self._condition.is_met(found) else None
        first = min(begin for begin, _end in begun)
        return self._judge_step(so_far, _overlap(begun, self._before_ns, now), late, first, now)

    def _judge_step(self, so_far: SoFar, measured_ns: int, late: int, first_ns: int, now: int) -> AbortSample | None:
        if measured_ns < _LEAST_NS:
            return None
        came = so_far.since(self._before) if self._before else so_far
        begin_ns = max(self._before_ns, first_ns)
        self._before, self._before_ns = so_far, now
        found = self._read(self._stretch(came, measured_ns, late))
        if not found or not self._condition.is_met(found):
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = begin_ns
        is_long = now - self._since_ns >= (self._condition.for_ns or 0)
        return self._aborted(found, now) if is_long else None

    def _aborted(self, found: Found, now: int) -> AbortSample:
        return AbortSample(self._condition.expr, now, found.value, found.reason)

    def _stretch(self, came: SoFar, measured_ns: int, late: int) -> Stretch:
        condition = self._condition
        return Stretch(came, measured_ns, late, condition.objective.bound, is_single=condition.for_ns is not None)

    def _read(self, stretch: Stretch) -> Found | None:
        figure = self._condition.figure
        if figure.so_far is None or (not figure.is_of_phases and stretch.measured_ns < _LEAST_NS):
            return None
        return figure.so_far(stretch)

    def _late(self, so_far: SoFar, now: int) -> int:
        """Returns how many are under way, and have been for longer than the bound, at the least."""
        way = WAYS.get(self._condition.figure.time or "")
        if way is None:
            return 0
        begun = so_far.counters[way.begun]
        then = now - self._condition.objective.bound
        had_begun = max((count for at, count in self._begun if at <= then), default=0)
        self._begun.append((now, begun))
        return max(0, way.under_way(so_far.counters) - (begun - had_begun))


def _overlap(spans: Sequence[Span], begin_ns: int, end_ns: int) -> int:
    return sum(max(0, min(end, end_ns) - max(begin, begin_ns)) for begin, end in spans)
