"""Selectors: `[label:|phase=NAME:|target=N:]NAME` names a figure (figures.py) of a run, or of a part of it."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from loadkit.measure.names import TIMES
from loadkit.report.figures import Figure, figure_named
from loadkit.report.of_all import Source, count_of
from loadkit.report.record import OF_A_SCHEDULE, RunRecord
from loadkit.report.so_far import Found

__all__ = ["Selector", "count_of_all", "find_problem", "parse_selector", "read", "shown"]


@dataclass(frozen=True, slots=True)
class Selector:
    """A figure of a run, or of one of its phases, labels or targets."""

    figure: Figure
    phase: str | None = None
    label: str | None = None
    target: int | None = None


_SELECTOR = re.compile(r"(?:phase=(?P<phase>.+):|target=(?P<target>[0-9]{1,9}):|(?P<label>[^:=]+):)?(?P<name>[^:=]+)")


def parse_selector(text: str) -> Selector:
    """Reads `[label:|phase=NAME:|target=N:]NAME`. Raises ValueError for another text, and for an unknown figure."""
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise ValueError(f"expected NAME, LABEL:NAME, phase=NAME:NAME or target=N:NAME, got {text!r}")
    figure, target = figure_named(match["name"]), match["target"]
    return Selector(figure, match["phase"], match["label"], int(target) if target else None)


def find_problem(selector: Selector, phases: Sequence[str], times: Container[str]) -> str | None:
    """Returns why a run with these phases and histograms cannot have the figure; None if it can."""
    if selector.label is not None:
        return f"this run has no labels; leave '{selector.label}:' out"
    if selector.target is not None:
        return f"this run has no figures by target; leave 'target={selector.target}:' out"
    if selector.phase is not None and selector.phase not in phases:
        return f"this run has no phase {selector.phase!r}; there are {', '.join(phases)}"
    if selector.phase is not None and not selector.figure.is_of_phases:
        return f"{selector.figure.name} is of the measured time, not of a phase; leave 'phase={selector.phase}:' out"
    time = selector.figure.time
    if time is None or time in times:
        return None
    if time in OF_A_SCHEDULE:
        return (
            f"a closed loop has no {time}, because a message is due when the reply before it was read; give a --rate "
            f"or --think, or leave it out"
        )
    return f"this run has no {time}, because nothing is said before the first message; give a --first, or leave it out"


def read(record: RunRecord, selector: Selector | str) -> Found:
    """Returns what a figure comes to in a record. Raises ValueError for a text that is not a selector.

    Raises RecordError for a damaged histogram.
    """
    if isinstance(selector, str):
        selector = parse_selector(selector)
    names = [phase.name for phase in record.phases]
    problem = find_problem(selector, names, TIMES)  # a histogram that is missing has its own reason
    return Found(None, problem) if problem else selector.figure.of(_source(record, selector))


def shown(record: RunRecord, selector: str) -> str | None:
    """Returns a figure as text in its unit, `never` if it is among what never came back; None if it has no value."""
    parsed = parse_selector(selector)
    found = read(record, parsed)
    if found.value is not None:
        return parsed.figure.unit.shown(found.value)
    return "never" if found.is_never else None


def count_of_all(record: RunRecord, selector: Selector) -> int:
    """Returns how many values the histogram of a time would have if none had been lost; 0 for another figure."""
    return count_of(_source(record, selector), selector.figure.time) if selector.figure.time else 0


def _source(record: RunRecord, selector: Selector) -> Source:
    return Source(record, next((one for one in record.phases if one.name == selector.phase), None))
