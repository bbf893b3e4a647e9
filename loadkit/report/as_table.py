"""Many records as one table: a row for each, with what the run was and every figure of report/figures.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from loadkit.report.as_csv import Cell, csv_page
from loadkit.report.figures import NS, Figure, every_figure
from loadkit.report.record import RunRecord
from loadkit.report.selector import Selector, read

__all__ = ["as_table", "table_row"]

# What of a run tells it from others.
_RUN: Mapping[str, Callable[[RunRecord], Cell]] = {
    "run": lambda record: record.run.id,
    "started": lambda record: record.started,
    "merged": lambda record: record.merged,
    "verdict": lambda record: record.verdict.state,
    "partial": lambda record: _yes_no(record.partial),
    "slo_missed": lambda record: sum(not slo.ok for slo in record.slo),
    "target": lambda record: record.target.host,
    "port": lambda record: record.port,
    "profile": lambda record: record.given.profile,
    "engine": lambda record: record.tool.engine,
    "loadkit": lambda record: record.tool.loadkit,
    "connections": lambda record: record.load.connections,
    "rate_per_s": lambda record: record.load.asked_rate_hz,
    "size_bytes": lambda record: record.load.size_bytes,
    "depth": lambda record: record.load.depth,
    "measured_ns": lambda record: record.window.measured_ns if record.window else None,
}
# Of a percentile that lies among what never came back: not measured is another thing.
_NEVER = "never"
_TAG = "tag."


def table_row(record: RunRecord, path: str) -> dict[str, Cell]:
    """Returns the row of a record that was read from `path`. Raises RecordError for a histogram that is damaged."""
    row: dict[str, Cell] = {"file": path, **{name: of(record) for name, of in _RUN.items()}}
    row |= {f"{_TAG}{key}": text for key, text in record.tags.items()}
    return row | dict(_figures(record))


def as_table(rows: Sequence[Mapping[str, Cell]]) -> str:
    """Returns the rows as CSV, with the tags of all of them."""
    tags = sorted({name for row in rows for name in row if name.startswith(_TAG)})
    return csv_page(["file", *_RUN, *tags, *map(_title, every_figure())], rows)


def _figures(record: RunRecord) -> Iterator[tuple[str, Cell]]:
    for figure in every_figure():
        found = read(record, Selector(figure))
        value = round(found.value) if found.value is not None and figure.unit is NS else found.value
        yield _title(figure), _NEVER if found.is_never else value


def _title(figure: Figure) -> str:
    """Returns the name of a figure; that of a time has its unit at the end, as the others have."""
    return f"{figure.name}_ns" if figure.unit is NS else figure.name


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
