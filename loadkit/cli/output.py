"""Output files: found writable before the run, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from loadkit.errors import OptionError, OutputError

__all__ = ["check_format", "check_writable", "write_whole"]

FORMATS = (".json",)


def check_format(path: str) -> None:
    """Raises OptionError when the suffix is none that can be written."""
    if Path(path).suffix not in FORMATS:
        raise OptionError(f"--output: {path}: the suffix says the format, and it is none of {', '.join(FORMATS)}")


def check_writable(path: str) -> None:
    """Raises OutputError now rather than after the run, by making a file beside it and removing it."""
    if Path(path).is_dir():
        raise OutputError(f"{path}: is a directory; give a file name")
    try:
        with tempfile.NamedTemporaryFile(dir=Path(path).absolute().parent, prefix=".loadkit-"):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}; make its directory, or give another") from None


def write_whole(path: str, text: str) -> None:
    """Writes to a temporary name in the same directory, then renames: a reader sees the old file or the new one.

    Raises OutputError.
    """
    temporary = f"{path}.{os.getpid()}.part"
    try:
        Path(temporary).write_text(text)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
