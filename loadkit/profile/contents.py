"""The files that message texts name: read whole, before a run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from loadkit.errors import OptionError

__all__ = ["read_contents"]


def read_contents(option: str, paths: Iterable[str], most: int | None = None) -> dict[str, bytes]:
    """Returns the contents of files by their paths. `most` is how many bytes of memory there are for all of them.

    Raises OptionError, which names the option and the file, for one that cannot be read or is no file.
    """
    contents: dict[str, bytes] = {}
    for path in paths:
        if path in contents:
            continue
        try:
            contents[path] = _read(path, None if most is None else most - sum(map(len, contents.values())))
        except OSError as error:
            raise OptionError(f"{option}: cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise OptionError(f"{option}: {path}: {error}") from None
    return contents


def _read(path: str, most: int | None) -> bytes:
    """Raises OSError, or ValueError in words that stand behind the name of the file."""
    with Path(path).open("rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(
                "it is no regular file, and is read twice: before the run is planned, and before it begins"
            )
        if most is not None and facts.st_size > most:
            raise ValueError(f"it has {facts.st_size:,} bytes, and {most:,} bytes of memory are available")
        return file.read()
