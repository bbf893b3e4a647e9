"""The formats that a record is written in, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loadkit.errors import OptionError
from loadkit.report.page import DEFAULT, Layout

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord
    from loadkit.report.serve import ServeRecord

__all__ = [
    "FORMATS",
    "RECORD",
    "SERVE_FORMATS",
    "STDOUT",
    "TABLE",
    "Format",
    "check_format",
    "formats_in_words",
    "is_record",
    "rendered",
]


class Format(NamedTuple):
    """What it is, in words, and how a record is written in it; `write_serve` does it for a serve end's own record."""

    text: str
    write: Callable[[RunRecord, Layout], str]
    write_serve: Callable[[ServeRecord, Layout], str] | None = None


def _json(record: RunRecord | ServeRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.writing import encode

    return encode(record)


def _markdown(record: RunRecord | ServeRecord, layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_markdown import as_markdown

    return as_markdown(record, layout)


def _junit(record: RunRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_junit import as_junit

    return as_junit(record)


def _jsonl(record: RunRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_jsonl import as_jsonl

    return as_jsonl(record)


def _openmetrics(record: RunRecord | ServeRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_openmetrics import as_openmetrics

    return as_openmetrics(record)


def _csv(record: RunRecord | ServeRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_csv import as_csv

    return as_csv(record)


def _hlog(record: RunRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_hlog import as_hlog

    return as_hlog(record)


def _hgrm(record: RunRecord, _layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_hgrm import as_hgrm

    return as_hgrm(record)


def _html(record: RunRecord | ServeRecord, layout: Layout = DEFAULT) -> str:
    from loadkit.report.as_html import as_html

    return as_html(record, layout)


RECORD, PAGE, TABLE = ".json", ".html", ".csv"
STDOUT = "-"  # in place of a file: the record
# Each imports what it needs when it is called, because --help does not need it. The image has their bytecode
# (Dockerfile).
FORMATS: dict[str, Format] = {
    RECORD: Format("the record", _json, _json),
    ".jsonl": Format("its seconds as JSON lines", _jsonl),
    TABLE: Format("its seconds as CSV", _csv, _csv),
    ".hlog": Format("its seconds as an HdrHistogram log", _hlog),
    ".hgrm": Format("the percentile spectrum of latency", _hgrm),
    PAGE: Format("a page with charts that is the record too", _html, _html),
    ".md": Format("Markdown", _markdown, _markdown),
    ".om": Format("OpenMetrics", _openmetrics, _openmetrics),
    ".xml": Format("a JUnit report", _junit),
}


SERVE_FORMATS = {suffix: one for suffix, one in FORMATS.items() if one.write_serve}


def formats_in_words(formats: Mapping[str, Format] = FORMATS) -> str:
    """Returns the list for a line of help: `the record (.json), Markdown (.md) or a JUnit report (.xml)`."""
    *first, last = (f"{one.text} ({suffix})" for suffix, one in formats.items())
    return f"{', '.join(first)} or {last}" if first else last


def check_format(path: str, formats: Mapping[str, Format] = FORMATS) -> None:
    """Raises OptionError if none of the formats has the suffix of the path."""
    if Path(path).suffix not in formats:
        raise OptionError(f"--output: {path}: the suffix chooses the format; use one of {', '.join(formats)}")


def is_record(path: str) -> bool:
    """Whether `loadkit report` can read what is written to this path."""
    return Path(path).suffix in (RECORD, PAGE)


def rendered(record: RunRecord | ServeRecord, path: str, layout: Layout = DEFAULT) -> str:
    """Returns the record in the format of the path, which has one for it (`check_format`); STDOUT is the record.

    Raises RecordError for a histogram that is damaged.
    """
    from loadkit.report.record import RunRecord

    one = FORMATS[RECORD if path == STDOUT else Path(path).suffix]
    if isinstance(record, RunRecord):
        return one.write(record, layout)
    if one.write_serve is None:
        raise ValueError(f"a serve end has no {one.text}")
    return one.write_serve(record, layout)
