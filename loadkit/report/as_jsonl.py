"""The series of a record as JSON lines: one that says which run it is, and one for each row of `intervals`."""

from __future__ import annotations

from loadkit.report.record import RunRecord
from loadkit.report.writing import encode_line
from loadkit.version import __version__

__all__ = ["as_jsonl"]

# The fields of a record that the first line has.
_HEAD = ("format", "version", "minor", "run", "started", "partial", "tags")


def as_jsonl(record: RunRecord) -> str:
    """Returns a line for the run and one for each row; the rows have the record's names."""
    head = {name: getattr(record, name) for name in _HEAD if hasattr(record, name)}
    rows = ({"series": "intervals", "loadkit": __version__, **head}, *record.intervals)
    return "".join(map(encode_line, rows))
