"""Both ends of a measurement as processes, each pinned to a core of its own, and their figures."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown import Table, asked

from tests.ports import free_port

HERE = Path(__file__).parent
SERVE_CORE, BLAST_CORE = "1", "0"
LOADKIT = [sys.executable, "-m", "loadkit"]


def compile_floor(folder: Path) -> Path | None:
    """Returns the compiled floor, None without a C compiler."""
    binary = folder / "floor"
    try:
        subprocess.run(["cc", "-O2", "-o", binary, HERE / "floor.c"], check=True)
    except FileNotFoundError:
        return None
    return binary


@contextlib.contextmanager
def floor_server(floor: Path) -> Iterator[dict[str, Any]]:
    """Runs the floor's server and yields its port and pid, as `loadkit serve` writes its own."""
    port = free_port()
    process = subprocess.Popen(["taskset", "-c", SERVE_CORE, floor, "serve", str(port)])
    try:
        deadline = time.monotonic() + 5
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            if time.monotonic() > deadline:
                raise TimeoutError("the floor's server does not listen")
        yield {"port": port, "workers": [{"pid": process.pid}]}
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def loadkit_server(engine: str, *options: str) -> Iterator[dict[str, Any]]:
    """Runs `loadkit serve` with one worker and yields its ready file."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [*LOADKIT, "serve", "127.0.0.1:0", "-w", "1", "--engine", engine, "-q", "--ready-file", str(ready)]
        command += options
        process = subprocess.Popen(["taskset", "-c", SERVE_CORE, *command], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while not ready.exists():
                if time.monotonic() > deadline or process.poll() is not None:
                    raise TimeoutError("loadkit serve is not ready")
                time.sleep(0.02)
            yield json.loads(ready.read_text())
        finally:
            process.terminate()
            process.wait(timeout=20)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a run: replies (or connections, in churn) per second, and CPU time a reply of the blast end."""

    per_s: float
    user_us: float
    system_us: float


def floor_blast(floor: Path, port: int, connections: int, size: int, seconds: float, depth: int = 1) -> Figures:
    """Returns the figures of the floor's client."""
    return _floor_figures(floor, "blast", port, connections, size, seconds, depth)


def floor_churn(floor: Path, port: int, connections: int, size: int, seconds: float) -> Figures:
    """Returns the figures of the floor's churn loop: connections of one exchange each."""
    return _floor_figures(floor, "churn", port, connections, size, seconds)


def _floor_figures(floor: Path, *arguments: object) -> Figures:
    command = ["taskset", "-c", BLAST_CORE, str(floor), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    replies, seconds, user, system = map(float, done.stdout.split())
    return Figures(replies / seconds, user / replies * 1e6, system / replies * 1e6)


def floor_lateness(floor: Path, rate: float, seconds: float) -> dict[str, float]:
    """Returns how late (ns, by percentile) a loop is that does nothing but look at the clock."""
    command = ["taskset", "-c", BLAST_CORE, str(floor), "pace", f"{rate:.0f}", f"{seconds:g}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return dict(zip(("50", "99", "99.9"), map(float, done.stdout.split()), strict=True))


def figures_of(record: dict[str, Any]) -> Figures:
    """Returns the figures of a record's measured window."""
    cpu = record["cpu_per_reply_ns"]["blast"]
    return Figures(record["rates"]["replies_per_s"], cpu["user_ns"] / 1e3, cpu["system_ns"] / 1e3)


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Returns the user and system seconds a process has used (proc_pid_stat(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def loadkit_blast(port: int, *options: str) -> dict[str, Any]:
    """Returns the record of a `loadkit blast` with one worker."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [*LOADKIT, "blast", f"127.0.0.1:{port}", "-w", "1", "-q", "-o", str(path), *options]
        subprocess.run(
            ["taskset", "-c", BLAST_CORE, *command],
            check=False,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )
        return json.loads(path.read_text())


def pss_bytes(pid: int) -> int:
    """Returns the proportional set size of a process (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss for {pid}")


def worker_pids(name: str, group: int) -> list[int]:
    """Returns the processes called `name` in the process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            pid = int(entry.name)
            if (entry / "comm").read_text().strip() == name and os.getpgid(pid) == group:
                found.append(pid)
    return found


def ratio_table(caption: str, titles: tuple[str, str]) -> Table:
    """Begins a table of pairs of replies/s and their ratios."""
    columns = {"": 20, **dict.fromkeys(titles, 11), "ratio": 5, "least": 5, "most": 5, "asked": 12}
    return Table(caption, columns)


def ratio_row(table: Table, name: str, pairs: Sequence[tuple[float, float]], least: float) -> bool:
    """Prints the medians of pairs (with, without) and of their ratios; returns whether that is `least` or more."""
    ratios = [one / other for one, other in pairs]
    median = statistics.median(ratios)
    rates = (f"{statistics.median(column):,.0f}" for column in zip(*pairs, strict=True))
    table.row(name, *rates, *asked(least, ratios, median))
    return median >= least
