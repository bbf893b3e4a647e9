"""Histograms as HdrHistogram's interval log, version 1.3: every HdrHistogram library reads it.

There is a line for each interval and phase for latency, and a line for each phase for its other histograms, tagged
`phase.histogram`. The lines of a tag add up to the histogram of the phase in the record, exactly. Values are in ns, of
what came back; Interval_Max is in ms, as HistogramLogWriter has it (maxValueUnitRatio 1,000,000).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import NamedTuple

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.printable import page, printable
from loadkit.report.histograms import decoded
from loadkit.report.record import HistogramRecord, Interval, PhaseRecord, RunRecord
from loadkit.units import NS_PER_S
from loadkit.version import __version__

__all__ = ["as_hlog"]

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_UNITS = "#UNITS: values are in ns, Interval_Max in ms, of what came back"
# A tag has no comma, blank or end of line (HistogramLogWriter).
_NO_TAG = re.compile(r"[^\w.-]")
_NS_PER_MS = 1_000_000


class _Line(NamedTuple):
    """A histogram and its stretch of the run, in seconds after the start."""

    start_s: float
    tag: str
    end_s: float
    max_ns: int
    hdr: str

    def __str__(self) -> str:
        length_s = max(0.0, self.end_s - self.start_s)
        return f"Tag={self.tag},{self.start_s:.3f},{length_s:.3f},{self.max_ns / _NS_PER_MS:.3f},{self.hdr}"


def as_hlog(record: RunRecord) -> str:
    """Returns the log. Raises RecordError for a histogram that is damaged."""
    started = datetime.datetime.fromisoformat(record.started).astimezone(datetime.UTC)
    # A reader knows no time before 1970.
    epoch_s = max(0.0, started.timestamp())
    head = (
        "#[Histogram log format version 1.3]",
        f"#[BaseTime: {epoch_s:.3f} (seconds since epoch)]",
        f"#[StartTime: {epoch_s:.3f} (seconds since epoch), {started.isoformat(timespec='milliseconds')}]",
        _UNITS,
        f"#loadkit {__version__}, run {printable(record.run.id)}",
        _LEGEND,
    )
    return page("\n".join((*head, *map(str, sorted(_lines(record))))) + "\n")


def _lines(record: RunRecord) -> Iterator[_Line]:
    names: set[str] = set()
    for phase in record.phases:
        name = _free_name(_NO_TAG.sub("_", phase.name), names)
        names.add(name)
        rows = [row for row in record.intervals if row.phase == phase.name]
        begin, end = _span(record, phase, rows)
        for time, histogram in phase.histograms.items():
            tag = f"{name}.{_NO_TAG.sub('_', time)}"
            if histogram is None or not histogram.count:
                continue
            if time == "latency":
                yield from _series(tag, _read(f"{phase.name}: {time}", histogram), rows, (begin, end))
            else:
                whole = _read(f"{phase.name}: {time}", histogram)
                yield _Line(begin, tag, end, whole.max_ns, whole.encode())


def _series(tag: str, whole: Histogram, rows: list[Interval], span: tuple[float, float]) -> Iterator[_Line]:
    """Yields a line for each row, and one for what the phase has more than they have.

    If they have more than the phase, they are not its rows: then the phase is one line.
    """
    shown = list[tuple[Interval, int]]()  # with its highest time: a histogram has 200 kB, and a day 86,400 rows
    counts = whole.counts.copy()
    for row in rows:
        if row.latency.hdr is None:
            continue
        latency = _decoded(row)
        if latency.highest_ns != whole.highest_ns:
            raise RecordError(f"intervals: the latency of {row.phase} has another range than that of its phase")
        counts -= latency.counts
        shown.append((row, row.latency.max or latency.max_ns))
    if counts.min() < 0:
        shown, counts = [], whole.counts
    for row, max_ns in shown:
        yield _Line(max(0.0, row.from_s), tag, row.t_s, max_ns, row.latency.hdr or "")
    if counts.any():
        rest = Histogram(whole.highest_ns, counts)
        yield _Line(span[0], tag, span[1], whole.max_ns, rest.encode())


def _span(record: RunRecord, phase: PhaseRecord, rows: list[Interval]) -> tuple[float, float]:
    """Returns when the phase began and ended, as far as the record says: by its rows, or the window, or the run."""
    if rows:
        return max(0.0, min(row.from_s for row in rows)), max(row.t_s for row in rows)
    window = record.window
    if window and phase.kind == "hold":
        return max(0.0, window.start_ns / NS_PER_S), window.end_ns / NS_PER_S
    return 0.0, max((row.t_s for row in record.intervals), default=window.end_ns / NS_PER_S if window else 0.0)


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _read(what: str, histogram: HistogramRecord) -> Histogram:
    try:
        return decoded(histogram)
    except ValueError as error:
        raise RecordError(f"{what} cannot be read: {error}") from None


def _decoded(row: Interval) -> Histogram:
    try:
        return Histogram.decode(row.latency.hdr or "", row.latency.sum)
    except ValueError as error:
        raise RecordError(f"intervals: the latency of {row.phase} at {row.t_s:g} s cannot be read: {error}") from None
