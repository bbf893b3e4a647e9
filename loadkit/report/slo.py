"""Objectives such as `latency.p99<5ms`: a figure (figures.py), a comparison and a bound, checked against a record."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from loadkit.errors import OptionError
from loadkit.report.figures import Figure
from loadkit.report.record import RunRecord, SloRecord
from loadkit.report.selector import Selector, find_problem, parse_selector, read

__all__ = ["Slo", "check", "check_possible", "parse_slo"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
# What stands before the name ends in a colon. It may contain any character, because the name of a phase may.
_EXPRESSION = re.compile(r"((?:.*:)?[\w.-]+)\s*(<=|>=|==|!=|<|>)\s*(\S.*)")


@dataclass(frozen=True, slots=True)
class Slo:
    """A figure of a record compared with `bound`, which is in the figure's unit."""

    expr: str
    selector: Selector
    compare: str
    bound: float

    @property
    def figure(self) -> Figure:
        """What is compared."""
        return self.selector.figure

    def holds(self, value: float) -> bool:
        """Whether a value of the figure meets it."""
        return _COMPARE[self.compare](value, self.bound)


def parse_slo(
    text: str, option: str = "--slo", expected: str = "FIGURE<VALUE such as 'latency.p99<5ms' or 'errors==0'"
) -> Slo:
    """Reads an objective, which was given with `option`.

    Raises OptionError saying what was expected, and for an unknown figure the nearest.
    """
    match = _EXPRESSION.fullmatch(text.strip())
    if match is None:
        raise OptionError(f"{option}: expected {expected}, got {text!r}")
    name, compare, value = match.groups()
    try:
        selector = parse_selector(name)
    except ValueError as error:
        raise OptionError(f"{option}: {error}") from None
    try:
        bound = float(selector.figure.unit.parse(value))
    except ValueError as error:
        raise OptionError(f"{option}: {text}: {error}") from None
    return Slo(text, selector, compare, bound)


def check_possible(objectives: Sequence[Slo], phases: Sequence[str], times: Container[str]) -> None:
    """Raises OptionError for an objective on what a run with these phases and histograms cannot have."""
    for slo in objectives:
        problem = find_problem(slo.selector, phases, times)
        if problem:
            raise OptionError(f"--slo: {slo.expr}: {problem}")


def check(objectives: Sequence[Slo], record: RunRecord) -> tuple[SloRecord, ...]:
    """Checks each objective against the record. A figure that was not measured, or not supported, is not met.

    Nor is a figure that is among what never came back. Raises RecordError for a damaged histogram.
    """
    return tuple(_check(slo, record) for slo in objectives)


def _check(slo: Slo, record: RunRecord) -> SloRecord:
    found = read(record, slo.selector)
    if found.value is None:
        return SloRecord(slo.expr, None, False, found.reason)
    return SloRecord(slo.expr, found.value, slo.holds(found.value))
