"""Objectives such as `latency.p99<5ms`: read, and held against a record.

A time counts what never came back as late: figures.py.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadkit.errors import OptionError
from loadkit.measure.board import TIMES
from loadkit.report.figures import Figure, time_figure
from loadkit.report.record import OF_A_SCHEDULE, RunRecord, SloRecord
from loadkit.units import Count, Duration, Rate, Size

__all__ = ["RATES", "Slo", "check", "check_schedule", "parse_slo"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
# Any percentile between 0 and 100, as text: its rank is exact.
_PERCENTILE = re.compile(r"p(?=.*[1-9])[0-9]{1,2}(?:\.[0-9]+)?")
_PARTS = ("min", "mean", "max")
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
RATES = ("connects_per_s", "replies_per_s", "sent_bytes_per_s", "received_bytes_per_s")
_EXPRESSION = re.compile(r"([a-z_]+(?:\.[a-z0-9.]+)?)\s*(<=|>=|==|!=|<|>)\s*(\S.*)")


@dataclass(frozen=True, slots=True)
class Slo:
    """`figure` of a record compared with `bound`: ns for a duration, else a count or a rate."""

    expr: str
    figure: str
    compare: str
    bound: float


def parse_slo(text: str) -> Slo:
    """Reads an objective. Raises OptionError saying what was expected, and what figures there are."""
    match = _EXPRESSION.fullmatch(text.strip())
    if match is None:
        raise OptionError(f"--slo: expected FIGURE<VALUE such as 'latency.p99<5ms' or 'errors==0', got {text!r}")
    figure, compare, value = match.groups()
    histogram, _, part = figure.partition(".")
    kind: type[Duration] | type[Count] | type[Rate] | type[Size]
    if histogram in TIMES and (part in _PARTS or _PERCENTILE.fullmatch(part)):
        kind = Duration
    elif figure in _COUNTS:
        kind = Count
    elif figure in RATES:
        kind = Size if "bytes" in figure else Rate
    else:
        raise OptionError(
            f"--slo: {figure!r} is not a figure; there are {', '.join(TIMES)} with .{', .'.join(_PARTS)} or a "
            f"percentile such as .p99.9, and {', '.join((*_COUNTS, *RATES))}"
        )
    try:
        bound = float(kind.parse(value))
    except ValueError as error:
        raise OptionError(f"--slo: {text}: {error}") from None
    return Slo(text, figure, compare, bound)


def check_schedule(objectives: Sequence[Slo], has_schedule: bool) -> None:
    """Raises OptionError for an objective on what a closed loop cannot measure."""
    for slo in objectives:
        name = slo.figure.partition(".")[0]
        if name in OF_A_SCHEDULE and not has_schedule:
            raise OptionError(
                f"--slo: {slo.expr}: a closed loop has no {name}, because a message is due when the reply before it "
                f"was read; give a --rate, or leave it out"
            )


def check(objectives: Sequence[Slo], record: RunRecord) -> tuple[SloRecord, ...]:
    """Holds each objective against the record. A figure that was not measured, or not supported, is not met.

    Nor is one that lies among what never came back. Raises RecordError for a damaged histogram.
    """
    return tuple(_check(slo, record) for slo in objectives)


def _check(slo: Slo, record: RunRecord) -> SloRecord:
    figure = _find_figure(slo.figure, record)
    if figure.value is None:
        return SloRecord(slo.expr, None, False, figure.reason)
    return SloRecord(slo.expr, figure.value, _COMPARE[slo.compare](figure.value, slo.bound))


def _find_figure(figure: str, record: RunRecord) -> Figure:
    name, _, part = figure.partition(".")
    if part:
        return time_figure(record, name, part)
    value = _find_value(figure, record)
    return Figure(value, "not measured" if value is None else None)


def _find_value(figure: str, record: RunRecord) -> float | None:
    if figure in RATES:
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
