"""Processes that a test started and left behind: they are found by a variable that they inherit, and ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Whose value is another one in each test. What a fixture of a module or a session started has an earlier one.
MARK = "STARTED_BY_TEST"
# How long something that was told to end, or whose parent has ended, may take to do so.
_PATIENCE_S = 10.0

_numbers = itertools.count()
_started = [False]


def watch() -> None:
    """Has this process notice when it starts others (sys.addaudithook, which is for good)."""
    starts = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
        if event in starts:
            _started[0] = True

    sys.addaudithook(hook)


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """Ends what was started meanwhile and is still there, and then fails, unless something else has."""
    mark, before = f"{os.getpid()}.{next(_numbers)}", os.environ.get(MARK)
    os.environ[MARK], _started[0] = mark, False
    try:
        yield
    finally:
        os.environ.pop(MARK, None)
        if before:
            os.environ[MARK] = before
        left = _wait_for_the_end(mark) if _started[0] else {}
        _end(mark, left)
    assert not left, f"it leaves {left}"


def _wait_for_the_end(mark: str) -> dict[int, str]:
    deadline = time.monotonic() + _PATIENCE_S
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _end(mark: str, left: dict[int, str]) -> None:
    """Kills them, and what they start meanwhile."""
    while left:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        left = marked(mark)


def marked(mark: str) -> dict[int, str]:
    """Returns the processes that live and have the mark: pid -> command line."""
    wanted, found = f"{MARK}={mark}".encode(), {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return {pid: line for pid, line in found.items() if line}  # one that is dead, and not yet waited for, has none
