"""Reads a record's file: to plain values of the right format, bounded in size, depth and numbers, then to the record.

A record may come from anywhere. What is read here takes no more memory and time than a large record, and has no number
that a later calculation fails on. The types (record/) refuse wrong names and kinds of values, and whole.py refuses
values that do not fit together.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from loadkit.errors import RecordError
from loadkit.report.host_facts import HostFacts
from loadkit.report.packing import unpacked
from loadkit.report.record import FORMAT, VERSION, RunRecord
from loadkit.report.whole import add_later_times, check_whole, complete_histograms, run_problems
from loadkit.units import format_count, format_size

__all__ = ["as_struct", "format_of", "load", "parse", "parse_fields", "read"]

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

# A run of a day with a row each second has 30 MB and 1.2 million values.
MOST_BYTES = 64 * 2**20
MOST_VALUES = 4_000_000
# The deepest value of a record, a stage of a journey's tail, is 5 deep.
MOST_DEEP = 32
# The longest text is a verdict's reason; a histogram of each counter that there can be has 660,000 characters.
MOST_TEXT, MOST_HISTOGRAM = 16_384, 2**20
_MOST_TEXT_SHOWN = f"{MOST_TEXT:,} characters"
# Times and counts are 64 bits wide where they are counted; a histogram's sum is the product of two such numbers.
MOST_NUMBER, MOST_SUM = 2**63, 2**116
# Less than this is no share of anything: a calculation that divides by it ends beyond all numbers.
LEAST_NUMBER = 1e-30
_SUMS = ("sum", "tails")
# What is counted, and added up. Other figures are differences of two looks, which may be below 0: memory that a process
# gave back, a worker that was replaced in between. No record of ours may be refused for one of those.
_COUNTED = ("messages", "histograms", "errors")

# A page (as_html.py) has its record in a block of data (packing.py).
_PAGE = re.compile(rb"\s*<!doctype html", re.IGNORECASE)
_IN_PAGE = re.compile(rb'<script type="application/octet-stream" id="loadkit-record">([^<]*)</script>')

_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def load(path: str) -> RunRecord:
    """Reads the record of a run. Raises RecordError, in one line, for what is missing, damaged, foreign or newer."""
    return parse(path, read(path))


def parse(path: str, text: bytes) -> RunRecord:
    """Does the same with the text of a file that was read."""
    fields = parse_fields(path, text, FORMAT, VERSION, "`loadkit blast -o run.json` writes one")
    if "plan" in fields and "load" not in fields:
        raise RecordError(
            f"{path}: written by an older loadkit, with a `plan` where this one reads `load` and `placements`: run it "
            f"again"
        )
    record = as_struct(path, fields, RunRecord)
    as_struct(path, record.host, HostFacts, "$.host")
    add_later_times(record)
    check_whole(path, run_problems(record))
    complete_histograms(path, record)
    return record


def parse_fields(path: str, text: bytes, kind: str, version: int, writes: str) -> dict[str, Any]:
    """Returns the JSON object of a file, of format `kind` in this `version`; `writes` says which command writes it.

    Raises RecordError, in one line, for what is damaged, foreign, newer, older, or too much for a record.
    """
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RecordError(f"{path}: damaged, or not a record: {error}; write it again with -o") from None
    _check_header(path, fields, kind, version, writes)
    _check_values(path, fields)
    found: dict[str, Any] = fields
    return found


class _Header(msgspec.Struct):
    format: str = ""


def format_of(text: bytes) -> str:
    """Returns which format the text of a file says it has, "" if it says none."""
    try:
        return msgspec.json.decode(text, type=_Header).format
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return ""


def as_struct(path: str, fields: Mapping[str, Any], struct: type[_Struct], place: str = "$") -> _Struct:
    """Returns the fields at `place` as a struct, less unknown ones. Raises RecordError naming the one that is wrong."""
    try:
        return msgspec.convert(fields, struct)
    except msgspec.ValidationError as error:
        text, at, key = str(error).rpartition(" - at `$")
        raise RecordError(f"{path}: not a whole record: {text}{at and f' - at `{place}'}{key}") from None


def read(path: str) -> bytes:
    """Returns the text of a record's file, of a page that of the record in it.

    Raises RecordError if it cannot be read, or is larger than a record. What is no regular file, such as the pipe of
    `<(zcat run.json.gz)`, can be read only once.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise RecordError(f"{path}: not a record: it has more than {format_size(MOST_BYTES)}")
    for mark, encoding in _MARKS.items():
        if text.startswith(mark):
            raise RecordError(f"{path}: begins with a byte order mark of {encoding}; save it as UTF-8 without one")
    text = _in_page(path, text)
    # Each value of an object or a list follows one of these; an empty list of three bytes takes 64 of memory.
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise RecordError(f"{path}: not a record: it has more than {format_count(MOST_VALUES)} values")
    return text


def _in_page(path: str, text: bytes) -> bytes:
    """Returns the record that a page has in it; the text itself if it is no page."""
    if not _PAGE.match(text):
        return text
    found = _IN_PAGE.search(text)
    if found is None:
        raise RecordError(f"{path}: a page without a record in it; `loadkit blast -o run.html` writes one with it")
    try:
        return unpacked(found[1], MOST_BYTES)
    except ValueError as error:
        raise RecordError(f"{path}: the record in this page is damaged: {error}; write it again with -o") from None


def _check_header(path: str, fields: object, kind: str, version: int, writes: str) -> None:
    name = kind.replace("-", " ")
    found = fields.get("version") if isinstance(fields, dict) and fields.get("format") == kind else None
    if type(found) is not int or found < 1:
        raise RecordError(f"{path}: not a {name}; {writes}")
    if found < version:
        raise RecordError(
            f"{path}: written by an older loadkit, version {found}, whose figures mean something else; this "
            f"one reads version {version}: run it again"
        )
    if found > version:
        raise RecordError(
            f"{path}: written by a newer loadkit, version {_shown(found)}; this one reads version {version}: upgrade "
            f"loadkit"
        )


class _Part(NamedTuple):
    """An object or a list on the way through a file; `most` bounds the numbers in it."""

    value: object
    where: str
    depth: int = 0
    most: int = MOST_NUMBER
    is_counted: bool = False


def _check_values(path: str, fields: object) -> None:
    """Looks at each value, without recursion: the decoder goes deeper than Python may."""
    waiting = [_Part(fields, "$")]
    while waiting:
        part = waiting.pop()
        if part.depth > MOST_DEEP:
            raise RecordError(f"{path}: not a whole record: {part.where[:80]}… is nested more than {MOST_DEEP} deep")
        if isinstance(part.value, dict) and max(map(len, part.value), default=0) > MOST_TEXT:
            raise RecordError(f"{path}: not a whole record: {part.where[:200]}: a name of more than {_MOST_TEXT_SHOWN}")
        for key, value in _inside(part.value):
            kind, problem = type(value), None
            if kind is dict or kind is list:
                is_counted = part.is_counted or key in _COUNTED
                most = MOST_SUM if key in _SUMS else part.most
                waiting.append(_Part(value, _place(part, key), part.depth + 1, most, is_counted))
            elif kind is str:
                problem = _find_text_problem(key, value)
            elif kind is int or kind is float:
                problem = _find_number_problem(key, value, part)
            if problem:
                raise RecordError(f"{path}: not a whole record: {_place(part, key)[:200]}: {problem}")


def _inside(value: object) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _place(part: _Part, key: str | int) -> str:
    return f"{part.where}[{key}]" if isinstance(key, int) else f"{part.where}.{key}"


def _find_text_problem(key: str | int, text: str) -> str | None:
    if key == "hdr":
        return f"a text of more than {format_count(MOST_HISTOGRAM)} characters" if len(text) > MOST_HISTOGRAM else None
    return f"a text of more than {_MOST_TEXT_SHOWN}" if len(text) > MOST_TEXT else None


def _find_number_problem(key: str | int, number: float, part: _Part) -> str | None:
    if abs(number) >= (MOST_SUM if key in _SUMS else part.most):
        return "a number that is larger than any that loadkit measures"
    if number < 0 and part.is_counted:
        return f"{number:g} is below 0"
    return "a number that is too close to 0" if 0 < abs(number) < LEAST_NUMBER else None


def _shown(number: int) -> str:
    return str(number) if number < MOST_NUMBER else "of many digits"
