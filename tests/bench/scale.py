"""Many connections on this machine, both ends: opening, holding, closing them, and what each costs.

python tests/bench/scale.py            10k, 100k and 300k connections
LOADKIT_BENCH_1M=1 … scale.py          a million too: 10 GiB of memory, three minutes
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from markdown import Table
from pairs import LOADKIT, pss_bytes

SIZES = {"10k": 10_000, "100k": 100_000, "300k": 300_000, "1m": 1_000_000}
# Where an engine's end takes kilobytes a connection, and each connect twice the time, the largest are not worth it.
ENGINES = {"native": ("10k", "100k", "300k", "1m"), "uvloop": ("10k", "100k"), "asyncio": ("10k",)}
MOST_SECONDS = {"100k": 6.0, "300k": 20.0, "1m": 60.0}
MOST_CLOSING_S = 30.0
MOST_USER_BYTES = 200
LEAST_LAST_TENTH = 1 / 1.5  # of the first one's rate
MOST_OFF = 0.15  # the doctor's estimate
FEW_WORKERS, MANY_WORKERS, MOST_WORKER_BYTES, MOST_START_S = 4, 104, 4e6, 5.0
HELD_RATE = "20k"


class Targets:
    """What was asked for, and whether it was reached."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, what: str, value: float, most: float) -> None:
        """Notes a value that is above what was asked for."""
        if value > most:
            self.missed.append(f"{what}: {value:,.3g}, asked {most:,.3g} at most")


TITLES = (
    *("", "open s", "connect p50 ms", "p99 ms", "kernel B", "blast B", "serve B", "processes MiB", "doctor off"),
    *("held replies/s", "close s", "connects/s, thousands, by tenths"),
)


def workers(count: int) -> tuple[float, float]:
    """Returns how long `serve` with so many workers takes to be ready (s), and their PSS (bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        begin = time.monotonic()
        command = [*LOADKIT, "serve", "127.0.0.1:0", "-w", str(count), "-q", "--ready-file", str(ready)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if time.monotonic() > begin + 60 or process.poll() is not None:
                    raise TimeoutError("loadkit serve is not ready")
                time.sleep(0.01)
            took = time.monotonic() - begin
            time.sleep(3.0)  # their timers have run
            pids = [worker["pid"] for worker in json.loads(ready.read_text())["workers"]]
            return took, sum(pss_bytes(pid) for pid in pids)
        finally:
            process.terminate()
            process.wait(timeout=30)


def blast(size: str, engine: str, *options: str) -> dict[str, Any]:
    """Runs it and returns the record."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [*LOADKIT, "blast", "-c", size, "--engine", engine, "-q", "-o", str(path), *options]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600, check=False)
        return json.loads(path.read_text())  # type: ignore[no-any-return]


def row(size: str, engine: str, record: dict[str, Any], targets: Targets) -> tuple[str, ...]:
    """Returns a row of the table."""
    count = SIZES[size]
    opening, memory, connect = record["opening"], record["memory"], record["histograms"]["connect"]["percentiles"]
    deciles = opening["deciles_per_s"] or ()
    seconds, closing = opening["duration_ns"] / 1e9, record["closing_ns"] / 1e9
    blast_bytes, serve_bytes = (memory[name] / count for name in ("blast_bytes", "serve_bytes"))
    off = memory["estimated_bytes"] / memory["used_bytes"] - 1
    name = f"{engine} {size}"
    targets.hold(f"{name}: connections without a reply", count - record["histograms"]["first_byte"]["count"], 0)
    targets.hold(f"{name}: the doctor's estimate is off by", abs(off), MOST_OFF)
    targets.hold(f"{name}: closing, s", closing, MOST_CLOSING_S)
    if engine == "native":
        targets.hold(f"{name}: opening, s", seconds, MOST_SECONDS.get(size, seconds))
        targets.hold(f"{name}: user bytes a connection", max(blast_bytes, serve_bytes), MOST_USER_BYTES)
        if deciles:  # which take a second to tell
            targets.hold(f"{name}: first tenth by the last", deciles[0] / deciles[-1], 1 / LEAST_LAST_TENTH)
    replies = record["rates"]["replies_per_s"]
    return (
        name,
        *(f"{seconds:.2f}", f"{connect['50'] / 1e6:.2f}", f"{connect['99'] / 1e6:.1f}"),
        *(f"{memory['kernel_bytes'] / count:,.0f}", f"{blast_bytes:,.0f}", f"{serve_bytes:,.0f}"),
        *(f"{memory['processes_bytes'] / 2**20:,.0f}", f"{off:+.0%}", f"{replies:,.0f}", f"{closing:.2f}"),
        " ".join(f"{rate / 1e3:.1f}" for rate in deciles),
    )


def idle_share(size: str) -> float:
    """Returns the CPU time of both ends, in cores, while the connections say almost nothing."""
    record = blast(size, "native", "-R", "1", "-d", "10s", "--warmup", "2s")
    ends = itertools.chain(record["workers"], record["server"]["workers"])
    return sum(worker["cpu_ns"] for worker in ends) / record["window"]["measured_ns"]


def main() -> int:
    targets = Targets()
    took, many = workers(MANY_WORKERS)
    each = (many - workers(FEW_WORKERS)[1]) / (MANY_WORKERS - FEW_WORKERS)
    targets.hold(f"{MANY_WORKERS} workers ready, s", took, MOST_START_S)
    targets.hold("PSS of an extra worker", each, MOST_WORKER_BYTES)
    print(f"{MANY_WORKERS} serve workers: ready in {took:.2f} s, {each / 1e6:.2f} MB of PSS for an extra worker")
    caption = (
        f"Both ends here: a message on each connection as it opens, then {HELD_RATE}/s over all while they are held"
    )
    table = Table(caption, dict.fromkeys(TITLES, 6))
    for engine, sizes in ENGINES.items():
        for size in sizes:
            if size == "1m" and not os.environ.get("LOADKIT_BENCH_1M"):
                continue
            table.row(*row(size, engine, blast(size, engine, "-R", HELD_RATE, "-d", "10s"), targets))
    share = idle_share("100k")
    targets.hold("idle 100k, cores", share, 0.1)
    print(f"\n100k idle connections: {share:.3f} cores of CPU time, both ends")
    print("\nall targets reached" if not targets.missed else "\n".join(["", "MISSED", *targets.missed]))
    return min(len(targets.missed), 1)


if __name__ == "__main__":
    sys.exit(main())
