"""The live view on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_cursor_stays_where_it_can_be_seen_so_that_no_end_of_a_run_leaves_it_hidden(tmp_path: Path) -> None:
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "loadkit", "blast", "-c", "2", "-w", "1", "-d", "300ms", "--warmup", "0s"]
    shown: list[bytes] = []

    def read() -> None:
        while not b"".join(shown).endswith(b"the end"):
            shown.append(os.read(leader, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=follower, cwd=tmp_path, env=environment, timeout=60, check=False
    )
    os.write(follower, b"the end")
    reader.join()
    for fd in (leader, follower):
        os.close(fd)
    terminal = b"".join(shown)
    assert b"replies/s" in terminal
    assert b"\x1b[?25l" not in terminal  # DECTCEM: hide it
