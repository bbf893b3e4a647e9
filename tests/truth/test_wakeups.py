"""The counts of wake-ups beside those of strace, which sees each system call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run, errors_of


def why_not() -> str | None:
    """Says why strace cannot be used; that it is missing is no reason where nothing is to be skipped."""
    if shutil.which("strace") is None:
        return None if "LOADKIT_SKIP_NOTHING" in os.environ else "strace (Debian: strace) is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"this machine does not let strace trace: {done.stderr.strip()}"


_REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(_REASON is not None, reason=_REASON or "")]
Blast = Callable[..., Run]

# `1234 12:00:01 epoll_pwait(5, [{…}], 1024, -1, NULL, 8) = 1`, or in two lines with `<unfinished ...>` at the first.
_CALL = re.compile(r"^(\d+) +(epoll_wait|epoll_pwait)\(")


def calls(trace: Path) -> Counter[tuple[int, str]]:
    """Returns how often each process made each call."""
    found = (_CALL.match(line) for line in trace.read_text().splitlines())
    return Counter((int(one[1]), one[2]) for one in found if one)


# The native engine waits on an epoll instance of its own by epoll_wait, uvloop around it by epoll_pwait.
@pytest.mark.parametrize(
    ("engine", "call", "source"),
    [("native", "epoll_wait", "native"), ("uvloop", "epoll_pwait", "hook"), ("asyncio", "epoll_wait", "selector")],
)
def test_as_many_waits_are_counted_as_strace_sees(
    blast: Blast, tmp_path: Path, engine: str, call: str, source: str
) -> None:
    trace = tmp_path / "trace"
    wrapper = ("strace", "-f", "-qq", "-e", "trace=epoll_wait,epoll_pwait", "-o", str(trace))
    run = blast("-c", "20", "-n", "20k", "--engine", engine, "-w", "1", wrapper=wrapper)
    run.end(timeout=100)
    record = run.record
    assert errors_of(record) == {}
    assert record["wakeups"]["source"] == source
    [worker] = record["workers"]
    counted = sum(phase["wakeups"]["waits"] for phase in record["phases"] if phase["wakeups"])
    seen = calls(trace)[worker["pid"], call]
    assert seen > 1000
    # Those before the first phase, and after the last connection, are in no phase.
    assert 0.99 * seen - 20 <= counted <= seen
