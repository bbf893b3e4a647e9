"""Figures: every number of a record that can be requested by name, such as `latency.p97.5` or `phase=burst:held.max`.

The list is written once, here: SLOs, the summary and JUnit take names and units from it. A selector is
`[label:|phase=NAME:|target=N:]NAME`.

What never came back is in no histogram, so a histogram's own percentiles leave the worst messages out. A figure counts
what was lost as later than everything that came back: the rank of a percentile is among all, and a percentile that
falls among the lost is never reached. A mean or a maximum is unknown if one is lost.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loadkit.errors import RecordError
from loadkit.measure.histogram import percentiles_supported, rank_of
from loadkit.measure.names import TIMES
from loadkit.report.histograms import decoded
from loadkit.report.record import OF_A_SCHEDULE, PERCENTILES, HistogramRecord, PhaseRecord, RunRecord
from loadkit.report.so_far import Found, Stretch, count_so_far, rate_so_far, share_lost, time_so_far
from loadkit.units import (
    Count,
    Duration,
    Rate,
    Share,
    Size,
    format_count,
    format_duration,
    format_rate,
    format_share,
    format_size,
    plural,
)

__all__ = [
    "FIGURES",
    "PARTS",
    "Figure",
    "Found",
    "Selector",
    "Unit",
    "count_of_all",
    "every_figure",
    "figure_named",
    "find_problem",
    "parse_selector",
    "read",
    "shown",
]

Better = Literal["less", "more", "neither"]
About = Literal["connects", "messages", "bytes"]


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is read from text, as the bound of an SLO, and printed; `name` is what a record has it in."""

    name: str
    parse: Callable[[str], float]
    shown: Callable[[float], str]


NS = Unit("ns", Duration.parse, format_duration)
COUNT = Unit("count", Count.parse, format_count)
PER_S = Unit("per_s", Rate.parse, format_rate)
BYTES_PER_S = Unit("bytes_per_s", Size.parse, lambda value: f"{format_size(value)}/s")
SHARE = Unit("share", Share.parse, format_share)


@dataclass(frozen=True, slots=True)
class _Part:
    """What a figure is read from: a run, or one phase of it."""

    run: RunRecord
    phase: PhaseRecord | None = None

    @property
    def whole(self) -> RunRecord | PhaseRecord:
        return self.phase or self.run

    def setup(self, name: str) -> int:
        """Returns a counter of connections. Warm-up phases are left out of a run's, as in its histograms."""
        phases = (self.phase,) if self.phase else (one for one in self.run.phases if one.kind in ("ramp", "hold"))
        return sum(getattr(phase.connections, name) for phase in phases)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that can be requested: `of` reads it, and `better` says which way a reader would like it to go.

    `time` names the histogram of a time, and `part` what is read of it: min, mean, max or pN. `so_far` reads it while
    the run goes on; None if that is not possible. `at_phase_end`: it is counted when a phase is over.
    """

    name: str
    unit: Unit
    better: Better
    about: About
    of: Callable[[_Part], Found]
    so_far: Callable[[Stretch], Found] | None = None
    time: str | None = None
    part: str | None = None
    is_of_phases: bool = True
    at_phase_end: bool = False

    @property
    def percentile(self) -> str | None:
        """The percentile as text, such as 99.9; None if it is another figure."""
        return self.part[1:] if self.part and self.part.startswith("p") else None


# -- the list


@dataclass(frozen=True, slots=True)
class _Times:
    """What a histogram is of: how many values there should be, and what became of the others."""

    count: Callable[[_Part], int]
    lost: str
    about: About = "messages"


_TIMES = {
    "connect": _Times(lambda part: part.setup("asked"), "did not open", "connects"),
    "first_byte": _Times(lambda part: part.setup("opened"), "had no first byte"),
    "latency": _Times(lambda part: part.whole.messages.intended, "did not come back"),
    "service": _Times(lambda part: part.whole.messages.sent, "did not come back"),
    "lateness": _Times(lambda part: part.whole.messages.sent, "are not known"),
    "held": _Times(lambda part: part.whole.messages.intended, "were not sent"),
}
PARTS = ("min", "mean", "max")
# A ratio of difflib's: `error_rate` is near error_ratio, and `speed` is not near opened.
_NEAR = 0.75
# Any percentile between 0 and 100, as text: its rank is exact.
_PERCENTILE = re.compile(r"p(?=.*[1-9])[0-9]{1,2}(?:\.[0-9]+)?")


def _rows() -> Iterator[Figure]:
    for time in TIMES:
        for part in PARTS:
            yield _of_time(time, part)
    yield Figure(
        "errors",
        COUNT,
        "less",
        "messages",
        lambda part: Found(sum(row.count for row in part.whole.errors)),
        lambda stretch: Found(stretch.came.errors),
    )
    ways: dict[str, Better] = {"intended": "neither", "sent": "neither", "replied": "more"}
    for name in ("intended", "sent", "replied", "failed", "unanswered", "unsent", "waited"):
        # Unanswered is what is under way when the run ends: before that there is none.
        so_far = None if name == "unanswered" else count_so_far(name)
        of, better = _message_count(name), ways.get(name, "less")
        yield Figure(name, COUNT, better, "messages", of, so_far, at_phase_end=name == "unsent")
    opened, failed = count_so_far("opened"), count_so_far("failed_connects")
    yield Figure("opened", COUNT, "more", "connects", lambda part: Found(part.whole.connections.opened), opened)
    yield Figure(
        "failed_connects", COUNT, "less", "connects", lambda part: Found(part.whole.connections.failed), failed
    )
    yield _rate("replies_per_s", PER_S, "messages", "window_replied")
    yield _rate("sent_bytes_per_s", BYTES_PER_S, "bytes", "sent_bytes")
    yield _rate("received_bytes_per_s", BYTES_PER_S, "bytes", "received_bytes")
    yield _rate("connects_per_s", PER_S, "connects", "window_opened")
    yield Figure("error_ratio", SHARE, "less", "messages", _error_ratio, _error_ratio_so_far)


def _of_time(time: str, part: str) -> Figure:
    about, so_far = _TIMES[time].about, time_so_far(time, part)
    return Figure(f"{time}.{part}", NS, "less", about, lambda of: _read_time(of, time, part), so_far, time, part)


def _message_count(name: str) -> Callable[[_Part], Found]:
    return lambda part: Found(getattr(part.whole.messages, name))


def _rate(name: str, unit: Unit, about: About, counter: str) -> Figure:
    def of(part: _Part) -> Found:
        value: float | None = getattr(part.run.rates, name)
        return Found(value, None if value is not None else "not measured")

    return Figure(name, unit, "more", about, of, rate_so_far(counter), is_of_phases=False)


def _error_ratio(part: _Part) -> Found:
    messages = part.whole.messages
    return share_lost(messages.failed, messages.unanswered, messages.unsent, messages.intended)


def _error_ratio_so_far(stretch: Stretch) -> Found:
    counters = stretch.came.counters
    return share_lost(*(counters[name] for name in ("failed", "unanswered", "unsent", "intended")))


# All but the percentiles, which are unlimited: `figure_named` makes those.
FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _rows()}


def every_figure() -> Iterator[Figure]:
    """Yields the figures that a table has: of each time its usual percentiles, too."""
    for time in TIMES:
        yield FIGURES[f"{time}.min"]
        yield from (_of_time(time, f"p{percentile:g}") for percentile in PERCENTILES)
        yield from (FIGURES[f"{time}.{part}"] for part in ("max", "mean"))
    yield from (figure for figure in FIGURES.values() if figure.time is None)


def figure_named(name: str) -> Figure:
    """Returns a figure. Raises ValueError naming the nearest ones if there is no such figure."""
    time, _, part = name.partition(".")
    if time in _TIMES and _PERCENTILE.fullmatch(part):
        return _of_time(time, part)
    if name in FIGURES:
        return FIGURES[name]
    raise ValueError(f"{name!r} is not a figure; {_way_out(name, time, part)}")


def _way_out(name: str, time: str, part: str) -> str:
    parts = f".{', .'.join(PARTS)}, or a percentile between 0 and 100 such as .p99.9"
    if time in _TIMES:
        return f"{time} has {parts}"
    is_part = part in PARTS or _PERCENTILE.fullmatch(part)
    others = [known for known in FIGURES if FIGURES[known].time is None]
    if name in PARTS or _PERCENTILE.fullmatch(name):
        near = [f"{known}.{name}" for known in ("latency", "service", "connect")]
    else:
        near = difflib.get_close_matches(
            name, [*others, *(f"{known}.{part}" for known in TIMES if is_part)], cutoff=_NEAR
        )
    if near:
        return f"the nearest are {', '.join(near)}" if len(near) > 1 else f"the nearest is {near[0]}"
    return f"there are {', '.join(TIMES)} with {parts}, and {', '.join(others)}"


# -- selectors


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


def find_problem(selector: Selector, phases: Sequence[str], has_schedule: bool) -> str | None:
    """Returns why a run with these phases cannot have the figure; None if it can."""
    if selector.label is not None:
        return f"this run has no labels; leave '{selector.label}:' out"
    if selector.target is not None:
        return f"this run has no figures by target; leave 'target={selector.target}:' out"
    if selector.phase is not None and selector.phase not in phases:
        return f"this run has no phase {selector.phase!r}; there are {', '.join(phases)}"
    if selector.phase is not None and not selector.figure.is_of_phases:
        return f"{selector.figure.name} is of the measured time, not of a phase; leave 'phase={selector.phase}:' out"
    if selector.figure.time in OF_A_SCHEDULE and not has_schedule:
        return (
            f"a closed loop has no {selector.figure.time}, because a message is due when the reply before it was read; "
            f"give a --rate, or leave it out"
        )
    return None


def read(record: RunRecord, selector: Selector | str) -> Found:
    """Returns what a figure comes to in a record. Raises ValueError for a text that is not a selector.

    Raises RecordError for a damaged histogram.
    """
    if isinstance(selector, str):
        selector = parse_selector(selector)
    names = [phase.name for phase in record.phases]
    problem = find_problem(selector, names, has_schedule=True)  # a histogram that is missing has its own reason
    return Found(None, problem) if problem else selector.figure.of(_part(record, selector))


def shown(record: RunRecord, selector: str) -> str | None:
    """Returns a figure as text in its unit, `never` if it is among what never came back; None if it has no value."""
    parsed = parse_selector(selector)
    found = read(record, parsed)
    if found.value is not None:
        return parsed.figure.unit.shown(found.value)
    return "never" if found.is_never else None


def _part(record: RunRecord, selector: Selector) -> _Part:
    return _Part(record, next((one for one in record.phases if one.name == selector.phase), None))


# -- times


def count_of_all(record: RunRecord, selector: Selector) -> int:
    """Returns how many values the histogram of a time would have if none had been lost; 0 for another figure."""
    return _count(_part(record, selector), selector.figure.time) if selector.figure.time else 0


def _find_percentile(histogram: HistogramRecord, of: int, percentile: str) -> int | None:
    """Returns the percentile of `of` values, of which the histogram has those that came back; None if it is lost.

    Whether the number of values supports it is another question (measure/histogram.py). Raises ValueError for a
    histogram whose encoding is damaged.
    """
    rank = rank_of(of, percentile)
    if rank > histogram.count:
        return None
    known = histogram.percentiles.get(percentile)
    if of == histogram.count and known is not None:
        return known
    return decoded(histogram).at_rank(rank)


def _count(of: _Part, time: str) -> int:
    histogram = of.whole.histograms[time]
    known = histogram.count + histogram.dropped if histogram else 0
    return max(_TIMES[time].count(of), known)


def _read_time(part: _Part, time: str, which: str) -> Found:
    """Returns `which` (min, mean, max or pN) of the histogram over all values that were due, with the lost ones."""
    histogram = part.whole.histograms[time]
    if histogram is None:
        return Found(None, part.run.histograms_missing[time])
    of = _count(part, time)
    if not of:
        return Found(None, "not measured")
    if which.startswith("p"):
        if not percentiles_supported(of, which[1:]) and histogram.count:
            support = "does not support" if of == 1 else "do not support"
            return Found(None, f"{plural(of, 'value')} {support} a {which}: ten must lie above it")
        try:
            value: float | None = _find_percentile(histogram, of, which[1:])
        except ValueError as error:
            raise RecordError(f"histograms.{time} cannot be read: {error}") from None
    else:
        value = getattr(histogram, which) if which == "min" or histogram.count == of else None
    if value is not None:
        return Found(value)
    share = format_share((of - histogram.count) / of)
    return Found(None, f"never: {share} of {format_count(of)} {_TIMES[time].lost}", is_never=True)
