"""What a test leaves behind is ended, however it was started, and said."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leftovers

pytestmark = pytest.mark.slow

# A process whose parent is gone, in a session of its own, which heeds no SIGTERM; its pid is on standard output.
_ORPHAN = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    os.close(1)
    time.sleep(600)
"""


def test_what_outlives_its_test_is_ended_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_PATIENCE_S", 0.1)
    with pytest.raises(AssertionError, match=r"it leaves .*time\.sleep"), leftovers.none_left():
        done = subprocess.run(
            [sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
    with contextlib.suppress(FileNotFoundError):  # or it is dead, and not yet waited for
        assert Path(f"/proc/{int(done.stdout)}/cmdline").read_bytes() == b""


def test_what_is_about_to_end_may_do_so() -> None:
    with leftovers.none_left():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
    process.wait(timeout=60)
