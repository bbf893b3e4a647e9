"""Folds the values of two records into one, field by field, as the rules of the fields say (algebra.py).

Each way by itself, one after another and side by side, is associative. It is commutative too, except for what has an
order.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from loadkit.errors import RecordError
from loadkit.measure.series import IntervalLatency
from loadkit.report import algebra
from loadkit.report.algebra import Rule, Way, rules_of
from loadkit.report.fairness import fairness_of
from loadkit.report.histograms import decoded, histogram_record
from loadkit.report.record import Fairness, HistogramRecord, Interval
from loadkit.report.series import add_series
from loadkit.report.server import shared_workers

__all__ = ["NOT_ALL", "ONE_RUN", "fold"]

# Why a value of one run has no sum and no mean over several.
ONE_RUN = "merged: each of the runs has its own"
UNLIKE_TAGS = "merged: not every run has it with the same value"
NOT_ALL, UNLIKE = "merged: not every run measured it", "merged: what the runs measured is of unlike kinds"

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class UnlikeError(RecordError):
    """Two values have to be the same, and differ."""

    def __init__(self, what: str) -> None:
        super().__init__(f"records of unlike runs do not merge: {what}")


class _Both(NamedTuple):
    """A field of two structs that are merged; `merged` has the fields before it."""

    left: msgspec.Struct
    right: msgspec.Struct
    name: str
    rule: Rule
    way: Way
    where: str
    merged: Mapping[str, Any]

    def values(self, name: str = "") -> tuple[Any, Any]:
        return getattr(self.left, name or self.name), getattr(self.right, name or self.name)


def fold(left: _Struct, right: _Struct, way: Way, where: str = "") -> _Struct:
    """Returns both in one. Fields that are to be worked out anew are the left one's.

    Raises RecordError for histograms that cannot be merged, and UnlikeError for unlike values that have to be the same.
    """
    merged: dict[str, Any] = {}
    for name, rule in rules_of(type(left)).items():
        both = _Both(left, right, name, rule, way, f"{where}.{name}".lstrip("."), merged)
        merged[name] = _FOLDS[rule.name](both)
    return type(left)(**merged)


# -- one value and another


def _add(left: Any, right: Any, way: Way, where: str) -> Any:
    """Adds two values that are both known, whatever they are made of; None if one of them is unknown."""
    if left is None or right is None:
        return None
    if isinstance(left, HistogramRecord):
        return _add_histograms(left, right, where)
    if isinstance(left, Fairness):
        return fairness_of(_add_histograms(left.each, right.each, where))
    if isinstance(left, IntervalLatency):
        return _add_latencies(left, right, where)
    if isinstance(left, msgspec.Struct):
        return fold(left, right, way, where)
    if isinstance(left, dict):
        return {name: _add(one, right[name], way, f"{where}.{name}") for name, one in left.items() if name in right}
    if isinstance(left, tuple):
        if len(left) != len(right):
            raise UnlikeError(f"{where} has {len(left)} and {len(right)} rows")
        return tuple(_add(one, other, way, where) for one, other in zip(left, right, strict=True))
    return left + right


def _add_histograms(left: HistogramRecord, right: HistogramRecord, where: str) -> HistogramRecord:
    """Adds histograms, also of unlike ranges: the range of a serve end's has grown between versions."""
    try:
        one, other = decoded(left), decoded(right)
        highest_ns = max(one.highest_ns, other.highest_ns)
        both = one.widened(highest_ns).merge(other.widened(highest_ns))
    except ValueError as error:
        name = where.rpartition("histograms.")[2]
        raise RecordError(f"histogram {name} cannot be merged: {error}") from None
    return histogram_record(both, left.dropped + right.dropped, left.unit)


def _add_latencies(left: IntervalLatency, right: IntervalLatency, where: str) -> IntervalLatency:
    try:
        return left.plus(right)
    except ValueError as error:
        raise RecordError(f"{where} cannot be merged: {error}") from None


def _most(values: Iterable[Any]) -> Any:
    return max((one for one in values if one is not None), default=None)


def _least(values: Iterable[Any]) -> Any:
    return min((one for one in values if one is not None), default=None)


def _same(both: _Both) -> Any:
    left, right = both.values()
    if left != right:
        raise UnlikeError(f"{both.where} is {left} and {right}")
    return left


def _names(both: _Both) -> str | None:
    return ", ".join(sorted({name for value in both.values() if value for name in value.split(", ")})) or None


def _earliest(both: _Both) -> str:
    earliest: str = min(both.values(), key=lambda at: datetime.datetime.fromisoformat(at).astimezone(datetime.UTC))
    return earliest


def _each(both: _Both) -> Any:
    return _add(*both.values(), both.way, both.where)


def _either(both: _Both) -> Any:
    left, right = both.values()
    return _each(both) if left is not None and right is not None else left if right is None else right


def _common(both: _Both) -> Any:
    try:
        return _each(both)
    except UnlikeError:
        return None


def _together(both: _Both) -> Any:
    left, right = both.values()
    if left.keys() != right.keys():
        raise UnlikeError(f"{both.where} has other names")
    return _each(both)


def _serve_end(both: _Both) -> Any:
    left, right = both.values()
    if shared_workers(left, right):
        return max(left, right, key=lambda server: len(server.workers))
    return _each(both)


def _rows(both: _Both) -> tuple[Any, ...]:
    total: dict[tuple[Any, ...], Any] = {}
    rows: Iterable[msgspec.Struct] = itertools.chain(*both.values())
    for row in rows:
        key = tuple(getattr(row, name) for name, rule in rules_of(row.__class__).items() if rule is algebra.SAME)
        total[key] = fold(total[key], row, both.way, both.where) if key in total else row
    by = both.rule.of
    return tuple(total[key] for key in sorted(total, key=lambda key: (-getattr(total[key], by) if by else 0, key)))


def _greatest_by(both: _Both) -> Any:
    known = [value for value in both.values() if value is not None]
    return max(known, key=lambda value: (getattr(value, both.rule.of), repr(value)), default=None)


def _mean(both: _Both) -> float | None:
    known = [(value, weight) for value, weight in zip(both.values(), both.values(both.rule.of), strict=True) if weight]
    total = sum(weight for _value, weight in known)
    return sum((value or 0.0) * weight for value, weight in known) / total if total else None


def _of_most(both: _Both) -> Any:
    """Ties are decided by all the fields, so that the order of the records does not matter."""

    def rank(struct: msgspec.Struct) -> tuple[Any, ...]:
        fields = [value for value in msgspec.structs.astuple(struct) if value is None or isinstance(value, int | float)]
        return (getattr(struct, both.rule.of) or 0, *(value or 0 for value in fields))

    return getattr(max(both.left, both.right, key=rank), both.name)


def _at_start(both: _Both) -> Any:
    """A run without a window counts with the most that were ever open."""
    peaks = both.values("peak")
    left, right = (peak if value is None else value for value, peak in zip(both.values(), peaks, strict=True))
    return _add(left, right, both.way, both.where)


def _window_end(both: _Both) -> int:
    (begin, other_begin), (end, other_end) = both.values("start_ns"), both.values("end_ns")
    if both.way is Way.BESIDE:
        return int(max(end, other_end))
    return int(min(begin, other_begin) + end - begin + other_end - other_begin)


def _series(both: _Both) -> tuple[Interval, ...]:
    return add_series(*both.values(), both.way, lambda one, other: fold(one, other, both.way, both.where))


def _lost_tags(both: _Both) -> dict[str, str]:
    one, other = both.values("tags")
    lost_before, other_lost = both.values()
    lost = {key for key, _value in one.items() ^ other.items()}
    return dict.fromkeys(sorted({*lost, *lost_before, *other_lost}), UNLIKE_TAGS)


def _reason(both: _Both) -> str | None:
    """Returns why a field is null, the same whichever record comes first; None if neither was to measure it."""
    if both.merged[both.rule.of] is not None:
        return None
    reasons, measured = both.values(), [value is not None for value in both.values(both.rule.of)]
    if rules_of(type(both.left))[both.rule.of] is algebra.NONE_OF_SEVERAL and (any(measured) or ONE_RUN in reasons):
        return ONE_RUN
    reason: str | None = _least(reasons)
    if reason or not any(measured):
        return reason
    return UNLIKE if all(measured) else NOT_ALL


_FOLDS: dict[str, Callable[[_Both], Any]] = {
    algebra.SUM.name: _each,
    algebra.SPAN.name: lambda both: max(both.values()) if both.way is Way.BESIDE else sum(both.values()),
    algebra.HELD.name: lambda both: _each(both) if both.way is Way.BESIDE else _most(both.values()),
    algebra.MOST.name: lambda both: _most(both.values()),
    algebra.LEAST.name: lambda both: _least(both.values()),
    algebra.EARLIEST.name: _earliest,
    algebra.SAME.name: _same,
    algebra.FIRST.name: lambda both: both.values()[0],
    algebra.NAMES.name: _names,
    algebra.ANY.name: lambda both: any(both.values()),
    algebra.UNION.name: lambda both: both.values()[0] | both.values()[1],
    algebra.OBJECTIVES.name: lambda both: (*both.values()[0], *both.values()[1]),
    algebra.JOINED.name: lambda both: (*both.values()[0], *both.values()[1]),
    algebra.SERIES.name: _series,
    algebra.EACH.name: _each,
    algebra.EITHER.name: _either,
    algebra.COMMON.name: _common,
    algebra.TOGETHER.name: _together,
    algebra.ROWS.name: _rows,
    algebra.SERVE_END.name: _serve_end,
    algebra.NONE_OF_SEVERAL.name: lambda _both: None,
    algebra.TAGS.name: lambda both: dict(sorted(both.values()[0].items() & both.values()[1].items())),
    algebra.LOST_TAGS.name: _lost_tags,
    algebra.ANEW.name: lambda both: both.values()[0],
    algebra.AT_START.name: _at_start,
    algebra.WINDOW_END.name: _window_end,
    algebra.greatest_by("").name: _greatest_by,
    algebra.mean_by("").name: _mean,
    algebra.of_most("").name: _of_most,
    algebra.reason_of("").name: _reason,
}
