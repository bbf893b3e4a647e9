"""CPU time of the process that watches over a run: by itself, with a scrape per second, and with --live on a terminal.

The shares are of one core. What a scrape or a panel costs is the difference to the first row, and may be 1 %.

python tests/bench/watching.py [SECONDS]
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from markdown import Table

LOAD = ("-c", "1k", "-R", "5k", "--warmup", "0s", "--slo", "latency.p99<50ms")
MOST = 0.01
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Returns the CPU time of a process, with that of its threads that have ended: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def terminal(rows: int, columns: int) -> Iterator[int]:
    """Yields a terminal of that size that somebody reads."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(leader, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    try:
        yield follower
    finally:
        os.close(follower)


def share(
    seconds: float, *options: str, on_terminal: bool = False, each_s: Callable[[str], None] | None = None
) -> float:
    """Returns the share of a core that the parent takes; `each_s` is called each second with their URL."""
    command = [sys.executable, "-m", "loadkit", "blast", *LOAD, "-d", f"{seconds + 6:g}s", *options]
    with terminal(40, 120) as follower:
        end = follower if on_terminal else subprocess.DEVNULL
        said = follower if on_terminal else subprocess.PIPE
        environment = {**os.environ, "TERM": "xterm-256color"}
        with subprocess.Popen(
            command, stdin=end, stdout=end, stderr=said, env=environment, text=True, start_new_session=True
        ) as run:
            url = ""
            if each_s:
                assert run.stderr
                found = re.search(r"http://\S+", next(line for line in run.stderr if "metrics at" in line))
                url = found[0] if found else ""
            time.sleep(3)
            before, begin = cpu_s(run.pid), time.monotonic()
            while time.monotonic() < begin + seconds:
                if each_s:
                    each_s(url)
                time.sleep(1 - (time.monotonic() - begin) % 1)
            spent, took = cpu_s(run.pid) - before, time.monotonic() - begin
            run.terminate()
            run.communicate()
    return spent / took


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    rows: list[tuple[str, float]] = [
        ("nothing shown", share(seconds, "--no-progress")),
        ("--metrics, a scrape per second", share(seconds, "--no-progress", "--metrics", "0", each_s=_scrape)),
        ("--live, 120 x 40", share(seconds, "--live", on_terminal=True)),
    ]
    table = Table(
        f"CPU time of the process that watches over a run of 1,000 connections, {seconds:g} s each",
        {"shown": 32, "of a core": 10, "more than nothing": 18},
    )
    for name, spent in rows:
        table.row(name, f"{spent:.2%}", f"{spent - rows[0][1]:.2%}")
    return int(any(spent - rows[0][1] > MOST for _name, spent in rows))


def _scrape(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()


if __name__ == "__main__":
    sys.exit(main())
