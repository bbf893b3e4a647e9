"""The journey of a message as a waterfall: its stages in the order of the way, of all messages and of the slowest."""

from __future__ import annotations

from dataclasses import dataclass

from loadkit.report.charts.chart import Chart, finished
from loadkit.report.journey import STAGE_WORDS, journey_line, journey_table, slowest
from loadkit.report.record import Journey, RunRecord
from loadkit.report.svg.plot import Plot
from loadkit.report.svg.scale import Scale, Tick
from loadkit.units import format_count, format_duration

__all__ = ["waterfall"]

_ROOM = 36
_LEAST = 0.005  # of the time, or the stage is left out, as in the table


@dataclass(frozen=True, slots=True)
class _Way:
    """The mean time of each stage, in nanoseconds, of some messages."""

    name: str
    ink: str
    stages: dict[str, float]

    @property
    def total_ns(self) -> float:
        return sum(self.stages.values())


def waterfall(record: RunRecord) -> Chart | None:
    """Returns the chart; None if no journey was asked for, and one without a picture if it could not be measured."""
    name, title, journey = "journey", "Where the time of a message goes", record.journey
    if journey is None:
        reason = record.journey_missing
        return Chart(name, title, f"Not measured: {reason}.") if reason else None
    ways = [_Way(f"mean of {format_count(journey.count)}", "one", _means(journey))]
    slow = _slow(journey)
    if slow:
        ways.append(_Way(f"mean of the {format_count(journey.slowest_count or 0)} slowest", "two", slow))
    ways = [way for way in ways if way.total_ns > 0]
    if not ways:
        return Chart(name, title, "Not measured: every stage took no time at all.")
    shown = [stage for stage in journey.stages if any(way.stages[stage] >= _LEAST * way.total_ns for way in ways)]
    plot = Plot(name, title, _said(ways), height=_ROOM * len(shown) + 92, margins=(44, 20, 44, 20))
    x = Scale(0.0, 1.0, plot.left, plot.right)
    ticks = [Tick(share / 4, f"{share * 25}%") for share in range(5)]
    plot.across(x, ticks, "share of the time of a message")
    for at, way in enumerate(ways):
        plot.box(plot.left + 290 * at, 8, 12, 12, way.ink)
        plot.label(plot.left + 290 * at + 17, 18, f"{way.name}: {format_duration(way.total_ns)}")
    for at, stage in enumerate(shown):
        _draw(plot, x, ways, stage, plot.top + _ROOM * at)
    says = "The stages follow one another from the left to the right; both rows of bars are shares of their own total. "
    says += f"Measured on {journey_line(journey)}."
    if journey.diagnosis:
        says = f"{journey.diagnosis}. {says}"
    return finished(Chart(name, title, says), plot, journey_table(journey))


def _means(journey: Journey) -> dict[str, float]:
    return {name: stage.sum / max(1, journey.count) for name, stage in journey.stages.items()}


def _slow(journey: Journey) -> dict[str, float] | None:
    rows = slowest(journey)
    count = sum(row.count for row in rows)
    if not count:
        return None
    return {name: sum(row.stages[name] for row in rows) / count for name in journey.stages}


def _draw(plot: Plot, x: Scale, ways: list[_Way], stage: str, y: float) -> None:
    words = STAGE_WORDS.get(stage, stage)
    times = " | ".join(format_duration(way.stages[stage]) for way in ways)
    plot.label(plot.left + 2, y + 13, words)
    plot.label(plot.right - 6, y + 13, times, anchor="end", ink="muted")
    for at, way in enumerate(ways):
        before = 0.0
        for name, time in way.stages.items():
            if name == stage:
                begin, end = x.at(before / way.total_ns), x.at((before + time) / way.total_ns)
                plot.box(
                    begin, y + 18 + 8 * at, max(1.0, end - begin), 7, way.ink, f"{way.name}: {format_duration(time)}"
                )
            before += time


def _said(ways: list[_Way]) -> str:
    parts = []
    for way in ways:
        first = sorted(way.stages, key=lambda name: -way.stages[name])[:3]
        most = ", ".join(f"{STAGE_WORDS.get(name, name)} {way.stages[name] / way.total_ns:.0%}" for name in first)
        parts.append(f"{way.name}: {format_duration(way.total_ns)}, most of it {most}")
    return "; ".join(parts)
