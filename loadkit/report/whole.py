"""Whether the values of a record fit together; and the percentiles that its writer left out of its histograms.

Each value is right by itself (reading.py). Refused here are values that later calculations would fail on, or take too
long with.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator

import msgspec

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import TIMES
from loadkit.report.counts import NO_SETUP
from loadkit.report.record import OF_A_SCHEDULE, OF_A_SETUP, PERCENTILES, HistogramRecord, Interval, Journey, RunRecord

__all__ = ["add_later_times", "check_whole", "complete_histograms", "run_problems", "start_problem"]

# Merging takes some milliseconds per histogram, and compares each run with each other one.
MOST_HISTOGRAMS, MOST_RUNS = 2_000, 4_000
_OPTIONAL = (*OF_A_SCHEDULE, *OF_A_SETUP)
_NUMBER = re.compile(r"[0-9]{1,2}(\.[0-9]{1,9})?")


def check_whole(path: str, problems: Iterable[str]) -> None:
    """Raises RecordError with the first of the problems, if there is any."""
    for problem in problems:
        raise RecordError(f"{path}: not a whole record: {problem}")


def run_problems(record: RunRecord) -> Iterator[str]:
    """Yields what does not fit together: a calculation from two values would fail, though each is right by itself."""
    parts = {"histograms": record.histograms}
    parts |= {f"phases[{index}].histograms": phase.histograms for index, phase in enumerate(record.phases)}
    for where, histograms in parts.items():
        for name in TIMES:
            if name not in histograms:
                yield f"{where}.{name} is missing"
            elif histograms[name] is None and (name not in record.histograms_missing or name not in _OPTIONAL):
                yield f"{where}.{name} is null, and no reason given"
    planned = [phase.kind.value for phase in record.load.phases]
    if planned != [phase.kind for phase in record.phases] or "hold" not in planned:
        yield "phases: not those of its plan, or none of them is a hold"
    if not 1 <= record.in_a_row <= record.merged:
        yield "merged: of no run, or of fewer than followed one another"
    if max(len(record.run.of), len(record.run.spans)) > MOST_RUNS:
        yield f"run: more than {MOST_RUNS:,} runs"
    yield from (
        f"cpu_per_reply_ns.{end} is missing" for end in ("blast", "serve") if end not in record.cpu_per_reply_ns
    )
    yield from filter(None, [start_problem(record.started)])
    if record.journey:
        yield from _journey_problems(record.journey)


def _journey_problems(journey: Journey) -> Iterator[str]:
    parts = [journey.shares, journey.slowest_shares, *(tail.stages for tail in journey.tails)]
    if any(part is not None and part.keys() != journey.stages.keys() for part in parts):
        yield "journey: its shares or tails have other stages than it has"
    if not journey.count:
        yield "journey: it is of no message"


def start_problem(started: str) -> str | None:
    """Returns what is wrong with the text of a start; None if it is a date and a time."""
    try:
        datetime.datetime.fromisoformat(started).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return f"started: {started[:40]!r} is no time, such as 2026-01-31T12:00:00+00:00"
    return None


def add_later_times(record: RunRecord) -> None:
    """Says of an older record that it has no times which came later."""
    for histograms in (record.histograms, *(phase.histograms for phase in record.phases)):
        if any(name not in histograms for name in OF_A_SETUP):
            found = {name: histograms.get(name) for name in TIMES if name in histograms or name in OF_A_SETUP}
            histograms.clear()
            histograms.update(found)
            for name in OF_A_SETUP:
                record.histograms_missing.setdefault(name, NO_SETUP)


def complete_histograms(path: str, record: msgspec.Struct) -> None:
    """Works out the percentiles that the writer of a record left out of its histograms.

    Raises RecordError for a name that is not a percentile, and for a histogram that cannot be decoded.
    """
    check_whole(path, _histogram_problems(record))
    for where, histogram in _histograms(record):
        missing = [percentile for percentile in PERCENTILES if f"{percentile:g}" not in histogram.percentiles]
        if missing:
            try:
                found = Histogram.decode(histogram.hdr, histogram.sum).percentiles(missing)
            except ValueError as error:
                check_whole(path, [f"{where}: percentiles are missing, and cannot be worked out: {error}"])
            most = histogram.max
            known = {
                f"{percentile:g}": value if value is None or most is None else min(value, most)
                for percentile, value in found.items()
            }
            by_size = sorted((histogram.percentiles | known).items(), key=lambda one: float(one[0]))
            histogram.percentiles.clear()
            histogram.percentiles.update(by_size)


def _histogram_problems(record: msgspec.Struct) -> Iterator[str]:
    for number, (where, histogram) in enumerate(_histograms(record)):
        if number == MOST_HISTOGRAMS:
            yield f"{where}: there are more than {MOST_HISTOGRAMS:,} histograms"
            return
        unknown = [name for name in histogram.percentiles if not _NUMBER.fullmatch(name)]
        yield from (f"{where}.percentiles.{name[:20]} is no percentile" for name in unknown)


def _histograms(value: object, where: str = "") -> Iterator[tuple[str, HistogramRecord]]:
    if isinstance(value, HistogramRecord):
        yield where, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            one = getattr(value, name)
            if isinstance(one, msgspec.Struct | dict | tuple):
                yield from _histograms(one, f"{where}.{name}".lstrip("."))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _histograms(one, f"{where}.{name}")
    elif isinstance(value, tuple) and not (value and isinstance(value[0], Interval)):  # up to 600, without percentiles
        for index, one in enumerate(value):
            yield from _histograms(one, f"{where}[{index}]")
