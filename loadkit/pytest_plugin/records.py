"""The records of a session's blasts, kept in the folder that `--loadkit-record-dir` names."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["RECORD_DIR", "check_record_folder", "keep_record", "record_folder"]

RECORD_DIR = "--loadkit-record-dir"
# A file name takes 255 bytes, and a number and a suffix come behind.
_NAME_BYTES = 150


def record_folder(config: pytest.Config) -> Path | None:
    """Returns where records are kept; None if they are not."""
    folder = config.getoption(RECORD_DIR)
    return None if folder is None else config.invocation_params.dir / folder


def check_record_folder(config: pytest.Config) -> None:
    """Makes the folder, so that one that cannot be made is reported before the first load and not after it."""
    folder = record_folder(config)
    if folder is None or hasattr(config, "workerinput"):
        return
    if not config.getoption(RECORD_DIR):
        raise pytest.UsageError(f"{RECORD_DIR}: give the name of a folder")
    from loadkit.errors import OutputError
    from loadkit.library.files import check_writable

    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(str(folder / "record.json"))
    except (OSError, OutputError) as error:
        reason = f"{folder}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise pytest.UsageError(f"{RECORD_DIR}: {reason}") from None


def keep_record(record: RunRecord, folder: Path | None, test: str) -> Path | None:
    """Writes the record to the folder under the name of the test, and replaces no file. Returns where."""
    from loadkit.library.files import keep_new
    from loadkit.report.writing import encode

    if folder is None:
        return None
    with contextlib.suppress(OSError):  # a test may have removed it; writing says what is wrong
        folder.mkdir(parents=True, exist_ok=True)
    # Short, and of letters that every file system has. Names of two tests may come to the same.
    name = re.sub(r"[^\w.-]+", "-", test, flags=re.ASCII).strip("-")[-_NAME_BYTES:]
    return keep_new(folder / f"{name}.json", encode(record))
