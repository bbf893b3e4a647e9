"""Figures: every number of a record that can be requested by name, such as `latency.p97.5` or `error_ratio`.

The list is written once, here: SLOs, the summary and JUnit take names and units from it. Those of times count what was
lost, too (of_all.py). selector.py reads a figure of a run or of one of its phases.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from loadkit.measure.names import TIMES
from loadkit.report.of_all import OF_TIMES, About, Source, read_time
from loadkit.report.record import PERCENTILES
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
)

__all__ = [
    "BYTES_PER_S",
    "COUNT",
    "FIGURES",
    "NS",
    "PARTS",
    "PER_S",
    "SHARE",
    "Figure",
    "Unit",
    "every_figure",
    "figure_named",
]

Better = Literal["less", "more", "neither"]


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
class Figure:
    """A number that can be requested: `of` reads it, and `better` says which way a reader would like it to go.

    `time` names the histogram of a time, and `part` what is read of it: min, mean, max or pN. `so_far` reads it while
    the run goes on; None if that is not possible. `at_phase_end`: it is counted when a phase is over.
    """

    name: str
    unit: Unit
    better: Better
    about: About
    of: Callable[[Source], Found]
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
    about, so_far = OF_TIMES[time].about, time_so_far(time, part)
    return Figure(f"{time}.{part}", NS, "less", about, lambda of: read_time(of, time, part), so_far, time, part)


def _message_count(name: str) -> Callable[[Source], Found]:
    return lambda part: Found(getattr(part.whole.messages, name))


def _rate(name: str, unit: Unit, about: About, counter: str) -> Figure:
    def of(part: Source) -> Found:
        value: float | None = getattr(part.run.rates, name)
        return Found(value, None if value is not None else "not measured")

    return Figure(name, unit, "more", about, of, rate_so_far(counter), is_of_phases=False)


def _error_ratio(part: Source) -> Found:
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
    if time in OF_TIMES and _PERCENTILE.fullmatch(part):
        return _of_time(time, part)
    if name in FIGURES:
        return FIGURES[name]
    raise ValueError(f"{name!r} is not a figure; {_way_out(name, time, part)}")


def _way_out(name: str, time: str, part: str) -> str:
    parts = f".{', .'.join(PARTS)}, or a percentile between 0 and 100 such as .p99.9"
    if time in OF_TIMES:
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
