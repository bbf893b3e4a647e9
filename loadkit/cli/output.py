"""The record of a run as files: which formats there are, and the option for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadkit.cli.files import check_names, rescue, write_whole
from loadkit.errors import OptionError, OutputError

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["FORMATS", "check_format", "check_outputs", "find_json", "output_option", "write_record"]


def _json(record: RunRecord) -> str:
    from loadkit.report.record import encode

    return encode(record)


def _markdown(record: RunRecord) -> str:
    from loadkit.report.as_markdown import as_markdown

    return as_markdown(record)


def _junit(record: RunRecord) -> str:
    from loadkit.report.as_junit import as_junit

    return as_junit(record)


# Suffix -> how the record of a run is written. Each imports what it needs when it is called: --help needs none of it.
FORMATS: dict[str, Callable[[RunRecord], str]] = {".json": _json, ".md": _markdown, ".xml": _junit}


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -o/--output, which takes any number of files."""
    return click.option(
        "-o",
        "--output",
        multiple=True,
        metavar="FILE",
        help="write it here too, as the record (.json), Markdown (.md) or a JUnit report (.xml); repeatable",
    )(command)


def check_format(path: str, formats: Sequence[str] = tuple(FORMATS)) -> None:
    """Raises OptionError when the suffix is none that can be written."""
    if Path(path).suffix not in formats:
        raise OptionError(f"--output: {path}: the suffix says the format, and it is none of {', '.join(formats)}")


def check_outputs(paths: Sequence[str], summary: str | None = None) -> None:
    """Raises OptionError for what is no output, or where two are one file; the job's `summary` is one of them."""
    for path in paths:
        check_format(path)
    check_names([*(("--output", path) for path in paths), *([("GITHUB_STEP_SUMMARY", summary)] if summary else [])])


def find_json(paths: Sequence[str]) -> str | None:
    """Returns the first of the paths that `loadkit report` can read again."""
    return next(filter(_is_json, paths), None)


def write_record(record: RunRecord, paths: Sequence[str]) -> None:
    """Writes the record to each path. Raises OutputError when some could not be written, after the others were.

    If the record itself is not among these, it is put where it can be, and the error says where.
    """
    problems, is_kept = [], False
    # The record first: what reads it comes later, and may fail.
    for path in sorted(paths, key=lambda path: not _is_json(path)):
        try:
            write_whole(path, FORMATS[Path(path).suffix](record))
            is_kept |= _is_json(path)
        except OutputError as error:
            problems.append(str(error))
    if problems:
        raise OutputError("; ".join(problems if is_kept else [*problems, rescue(_json(record), paths)]))


def _is_json(path: str) -> bool:
    return Path(path).suffix == ".json"
