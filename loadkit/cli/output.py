"""Output files: their formats, found writable before the run, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadkit.errors import OptionError, OutputError

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["FORMATS", "check_format", "check_writable", "find_json", "output_option", "write_record", "write_whole"]


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


# proc(5): the fifth field is where it is mounted, with octal escapes.
MOUNTS = Path("/proc/self/mountinfo")


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


def check_writable(path: str) -> None:
    """Raises OutputError now rather than after the run, by making a file beside it and removing it."""
    folder = Path(path).absolute().parent
    if Path(path).is_dir():
        raise OutputError(f"{path}: is a directory; give a file name")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".loadkit-"):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}; make its directory, or give another") from None
    reason = _find_hindrance(Path(path), folder)
    if reason:
        raise OutputError(f"{path}: cannot be replaced: {reason}; give another name")


def _find_hindrance(path: Path, folder: Path) -> str | None:
    """Returns why rename() would not replace a file that is there, though another one can be made beside it: rename(2).

    EBUSY where it is a mount point, as docker's -v of a single file makes it; EPERM where it is somebody else's in a
    directory with the sticky bit, such as /tmp.
    """
    if not path.exists():
        return None
    name = str(folder.resolve() / path.name).replace("\\", "\\134").replace(" ", "\\040")
    if MOUNTS.exists() and any(line.split()[4] == name for line in MOUNTS.read_text().splitlines()):
        return "it is mounted by itself, and only a mounted folder can take a new file"
    owners = (0, path.lstat().st_uid, folder.stat().st_uid)
    if folder.stat().st_mode & stat.S_ISVTX and os.geteuid() not in owners:
        return "it is somebody else's"
    return None


def find_json(paths: Sequence[str]) -> str | None:
    """Returns the first of the paths that `loadkit report` can read again."""
    return next((path for path in paths if Path(path).suffix == ".json"), None)


def write_record(record: RunRecord, paths: Sequence[str]) -> None:
    """Writes the record to each path. Raises OutputError when some could not be written, after the others were."""
    problems = []
    for path in paths:
        try:
            write_whole(path, FORMATS[Path(path).suffix](record))
        except OutputError as error:
            problems.append(str(error))
    if problems:
        raise OutputError("; ".join(problems))


def write_whole(path: str, text: str) -> None:
    """Writes to a temporary name in the same directory, then renames: a reader sees the old file or the new one.

    Raises OutputError.
    """
    temporary = f"{path}.{os.getpid()}.part"
    try:
        Path(temporary).write_text(text, encoding="utf-8")
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
