"""Conditions such as `latency.p99>1s for 5s`, which end a run early: a figure, a comparison, a bound and a duration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from loadkit.errors import OptionError
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind
from loadkit.report.counts import times_of
from loadkit.report.figures import Figure
from loadkit.report.selector import find_problem
from loadkit.report.slo import Slo, parse_slo
from loadkit.report.so_far import Found
from loadkit.units import NS_PER_S, Duration, format_duration

__all__ = ["Condition", "check_watchable", "parse_condition"]

_OPTION, _EXPECTED = "--abort-on", "FIGURE>VALUE such as 'error_ratio>1%' or 'latency.p99>1s for 5s'"
_FOR = re.compile(r"(?P<what>.*\S)\s+for\s+(?P<span>\S+)\s*")
# Conditions are judged once per second.
LEAST_FOR_NS = NS_PER_S
_COMPARE = (">", ">=", "<", "<=")


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison that ends a run where it holds: once, or if `for_ns` is given in each second for that long."""

    expr: str
    objective: Slo
    for_ns: int | None

    @property
    def figure(self) -> Figure:
        """What is compared."""
        return self.objective.figure

    def is_met(self, found: Found) -> bool:
        """Whether a figure so far meets it: what never came back is later than any bound."""
        if found.value is not None:
            return self.objective.holds(found.value)
        return found.is_never and self.objective.compare in (">", ">=")

    def phases(self, load: Load) -> tuple[int, ...]:
        """Returns the numbers of the phases that it is about: the one it names, or those that are measured.

        Of connects and their times the ramp is one of them, as in a record, and of their rate the only one, unless
        connections are closed and opened again.
        """
        name = self.objective.selector.phase
        if name is not None:
            return tuple(at for at, phase in enumerate(load.phases) if phase.name == name)
        kinds = {PhaseKind.HOLD}
        if self.figure.about == "connects" or self.figure.time == "first_byte":
            kinds.add(PhaseKind.RAMP)
        if self.figure.about == "connects" and not self.figure.is_of_phases:
            kinds = {PhaseKind.RAMP if load.lifetime_ns is None else PhaseKind.HOLD}
        return tuple(at for at, phase in enumerate(load.phases) if phase.kind in kinds)


def parse_condition(text: str) -> Condition:
    """Reads a condition. Raises OptionError saying what was expected."""
    match = _FOR.fullmatch(text)
    objective = parse_slo(match["what"] if match else text, _OPTION, _EXPECTED)
    if objective.compare not in _COMPARE:
        raise OptionError(f"{_OPTION}: {text}: expected one of {', '.join(_COMPARE)}, got {objective.compare}")
    return Condition(text.strip(), objective, _duration(text, match["span"]) if match else None)


def _duration(text: str, span: str) -> int:
    try:
        for_ns = int(Duration.parse(span))
    except ValueError as error:
        raise OptionError(f"{_OPTION}: {text}: {error}") from None
    if for_ns < LEAST_FOR_NS:
        least = format_duration(LEAST_FOR_NS)
        raise OptionError(f"{_OPTION}: {text}: conditions are judged once per second; give {least} or more")
    return for_ns


def check_watchable(conditions: Sequence[Condition], load: Load) -> None:
    """Raises OptionError for a condition on what this run cannot have, or not before it has ended."""
    for condition in conditions:
        problem = _find_problem(condition, load)
        if problem:
            raise OptionError(f"{_OPTION}: {condition.expr}: {problem}")


def _find_problem(condition: Condition, load: Load) -> str | None:
    selector, figure = condition.objective.selector, condition.figure
    problem = find_problem(selector, [phase.name for phase in load.phases], times_of(load))
    if problem:
        return problem
    if figure.so_far is None:
        return (
            f"{figure.name} counts messages still under way when the run ends, so before that it is 0; use failed or "
            f"error_ratio, or latency.p99, which counts those under way for longer than its bound as late"
        )
    phases = [load.phases[at] for at in condition.phases(load)]
    kinds = {phase.kind for phase in phases}
    if kinds == {PhaseKind.DRAIN}:
        return "the drain is over too soon to be ended early"
    last = [phase for phase in load.phases if phase.kind is PhaseKind.HOLD][-1]
    if figure.at_phase_end and phases == [last]:
        return f"{figure.name} is counted when {last.name} is over, and the run with it; use held.p99 or error_ratio"
    span_ns = sum(phase.duration_ns for phase in phases)
    # A ramp takes as long as the target lets it.
    if condition.for_ns is not None and condition.for_ns > span_ns and PhaseKind.RAMP not in kinds:
        return f"it cannot be met for so long: it is judged in {format_duration(span_ns)} of this run"
    return None
