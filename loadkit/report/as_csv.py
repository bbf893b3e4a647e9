"""Figures as CSV (RFC 4180): a row for each interval of a record, or a row for each record.

Times are integers in ns. An empty cell was not measured. What a spreadsheet would take for a formula has an apostrophe
before it: texts of a record may come from anywhere.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.measure.series import ServeInterval
from loadkit.printable import page, printable
from loadkit.report.record import PERCENTILES, Interval, RunRecord
from loadkit.report.serve import ServeRecord

__all__ = ["Cell", "as_csv", "csv_page"]

Cell = str | int | float | None

# What a spreadsheet begins a formula with, full-width forms among them (OWASP, CSV Injection): at the start of a cell,
# and behind a semicolon, which parts cells where the comma is the decimal mark. Tabs and ends of lines are not in a
# printable text.
_FORMULA = re.compile("(^|;\\s*)(?=[=+@\uff1d\uff0b\uff0d\uff20-])")
# Seconds of a record, which has them to the millisecond: column -> the same in ns.
_SECONDS = {"from_s": "from_ns", "t_s": "t_ns"}
# Interval figures are of what came back: a column says so in its name.
_LATENCY = "latency_replied"


def as_csv(record: RunRecord | ServeRecord) -> str:
    """Returns a row for each interval under the names that a record has for them.

    Raises RecordError for a histogram that is damaged.
    """
    if isinstance(record, ServeRecord):
        return csv_page(ServeInterval.__struct_fields__, map(_row, record.intervals), _SECONDS)
    columns: list[str] = []
    for name in Interval.__struct_fields__:
        columns += _latency_columns() if name == "latency" else [name]
    return csv_page(columns, map(_row, record.intervals), _SECONDS)


def csv_page(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]], titles: Mapping[str, str] = {}) -> str:
    """Returns a header and the rows. What a row does not have is empty; `titles` has those that differ from a name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(titles.get(name, name)) for name in columns])
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return page(text.getvalue()).replace("\n", "\r\n")


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    return _FORMULA.sub(r"\1'", printable(value))


def _row(interval: Interval | ServeInterval) -> dict[str, Cell]:
    fields = {name: getattr(interval, name) for name in interval.__struct_fields__}
    for name in _SECONDS.keys() & fields.keys():
        fields[name] = round(fields[name] * 1000) * 1_000_000
    if isinstance(interval, Interval):
        fields |= _latencies(interval)
    return fields


def _latency_columns() -> Iterator[str]:
    parts = ("count", "mean_ns", *(f"p{percentile:g}_ns" for percentile in PERCENTILES), "max_ns")
    return (f"{_LATENCY}_{part}" for part in parts)


def _latencies(row: Interval) -> dict[str, Cell]:
    """Returns the columns of an interval's latency, in the order of their names."""
    latency = row.latency
    values: list[Cell] = [None] * (len(PERCENTILES) + 2)
    count = 0
    if latency.hdr is not None:
        found = _decoded(row, latency.hdr)
        count = found.count
        known = {50.0: latency.p50, 99.0: latency.p99}
        percentiles = {**found.percentiles(PERCENTILES), **known}
        values = [round(found.mean_ns), *(percentiles[one] for one in PERCENTILES), latency.max]
    return dict(zip(_latency_columns(), (count, *values), strict=True))


def _decoded(row: Interval, hdr: str) -> Histogram:
    try:
        return Histogram.decode(hdr, row.latency.sum)
    except ValueError as error:
        raise RecordError(f"intervals: the latency of {row.phase} at {row.t_s:g} s cannot be read: {error}") from None
