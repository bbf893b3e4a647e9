"""Objectives such as `latency.p99<5ms`: read, and held against a record."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadkit.errors import OptionError
from loadkit.report.record import HistogramRecord, RunRecord, SloRecord, measured
from loadkit.units import Count, Duration, Rate, Size, format_count

__all__ = ["Slo", "check", "parse_slo"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_HISTOGRAMS = ("connect", "first_byte", "latency", "service", "lateness", "held")
_OF_HISTOGRAM = ("min", "mean", "max", "p50", "p90", "p99", "p99.9", "p99.99", "p99.999")
_COUNTS = (
    "errors",
    "intended",
    "sent",
    "replied",
    "failed",
    "unanswered",
    "unsent",
    "waited",
    "opened",
    "failed_connects",
)
_RATES = ("connects_per_s", "replies_per_s", "sent_bytes_per_s", "received_bytes_per_s")
_EXPRESSION = re.compile(r"\s*([a-z_]+(?:\.[a-z0-9.]+)?)\s*(<=|>=|==|!=|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Slo:
    """`figure` of a record compared with `bound`: ns for a duration, else a count or a rate."""

    expr: str
    figure: str
    compare: str
    bound: float


def parse_slo(text: str) -> Slo:
    """Reads an objective. Raises OptionError saying what was expected, and what figures there are."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise OptionError(f"--slo: expected FIGURE<VALUE such as 'latency.p99<5ms' or 'errors==0', got {text!r}")
    figure, compare, value = match.groups()
    histogram, _, part = figure.partition(".")
    kind: type[Duration] | type[Count] | type[Rate] | type[Size]
    if histogram in _HISTOGRAMS and part in _OF_HISTOGRAM:
        kind = Duration
    elif figure in _COUNTS:
        kind = Count
    elif figure in _RATES:
        kind = Size if "bytes" in figure else Rate
    else:
        raise OptionError(
            f"--slo: {figure!r} is not a figure; there are {', '.join(_HISTOGRAMS)} with .{', .'.join(_OF_HISTOGRAM)}, "
            f"and {', '.join((*_COUNTS, *_RATES))}"
        )
    try:
        bound = float(kind.parse(value))
    except ValueError as error:
        raise OptionError(f"--slo: {text}: {error}") from None
    return Slo(text, figure, compare, bound)


def check(objectives: Sequence[Slo], record: RunRecord) -> tuple[SloRecord, ...]:
    """Holds each objective against the record. A figure that was not measured, or not supported, is not met."""
    return tuple(_check(slo, record) for slo in objectives)


def _check(slo: Slo, record: RunRecord) -> SloRecord:
    value = _find_value(slo.figure, record)
    if value is None:
        return SloRecord(slo.expr, None, False, _why_none(slo.figure, record))
    return SloRecord(slo.expr, value, _COMPARE[slo.compare](value, slo.bound))


def _why_none(figure: str, record: RunRecord) -> str:
    histogram, _, part = figure.partition(".")
    if record.histograms.get(histogram, False) is None:
        return record.histograms_missing[histogram]
    count = measured(record.histograms, histogram).count if part else 0
    if not count:
        return "not measured"
    return f"{format_count(count)} values do not support a {part}: ten must lie above it"


def _find_value(figure: str, record: RunRecord) -> float | None:
    histogram, _, part = figure.partition(".")
    if part:
        found = record.histograms[histogram]
        return _find_in_histogram(found, part) if found else None
    if figure in _RATES:
        value: float | None = getattr(record.rates, figure)
        return value
    if figure == "errors":
        return sum(row.count for row in record.errors)
    if figure == "opened":
        return record.connections.opened
    if figure == "failed_connects":
        return record.connections.failed
    count: int = getattr(record.messages, figure)
    return count


def _find_in_histogram(histogram: HistogramRecord, part: str) -> float | None:
    if part.startswith("p"):
        return histogram.percentiles[part[1:]]
    value: float | None = getattr(histogram, part)
    return value
