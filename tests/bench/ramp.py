"""Whether an asked connect rate is kept from the ramp's beginning to its end, at half of what each engine can do.

python tests/bench/ramp.py [RUNS] [ENGINE ...]

A row is the median of so many runs (ten) of the rate in each tenth of the connections, in % of the rate asked.
"""

from __future__ import annotations

import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from markdown import Table
from pairs import LOADKIT, loadkit_server

ENGINES = {
    "native": ("--engine", "native"),
    "native-et": ("--engine", "native", "--edge-triggered"),
    "uvloop": ("--engine", "uvloop"),
    "asyncio": ("--engine", "asyncio"),
}
WORKERS = (1, 2, 3)
RAMPS_S = (0.5, 2.0)
LEAST_CONNECTIONS = 1_000
MOST_CONNECTIONS = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1_000  # of the server, which is one process
MOST_OFF = 0.03
RUNS, PROBES, PROBED = 10, 3, 10_000
TOO_FAST = "1m"


def blast(port: int, connections: int, rate: str, *options: str) -> dict[str, Any]:
    """Runs it and returns the record."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        load = ["-c", str(connections), "--connect-rate", rate, "-R", "100", "--warmup", "0s", "-q", "-o", str(path)]
        command = [*LOADKIT, "blast", f"127.0.0.1:{port}", *load, *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120, check=False)
        if not path.exists():
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
        return json.loads(path.read_text())  # type: ignore[no-any-return]


def most_per_s(port: int, *options: str) -> float:
    """Returns how many connects a second it does when nothing holds it back."""
    rates = [blast(port, PROBED, TOO_FAST, "-d", "1s", *options)["rates"]["connects_per_s"] for _ in range(PROBES)]
    return statistics.median(rates)


def measure(port: int, connections: int, rate: int, runs: int, *options: str) -> list[float]:
    """Returns the median of each tenth's rate, divided by the rate asked."""
    duration = f"{math.ceil(connections / rate)}s"
    rows = []
    for _ in range(runs):
        opening = blast(port, connections, str(rate), "-d", duration, *options)["opening"]
        if not opening["deciles_per_s"]:
            raise RuntimeError(f"{connections} connections at {rate}/s have no tenths: {opening}")
        rows.append([per_s / rate for per_s in opening["deciles_per_s"]])
    return [statistics.median(tenth) for tenth in zip(*rows, strict=True)]


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    engines = sys.argv[2:] or list(ENGINES)
    missed = 0
    caption = f"Connect rates at half of each maximum, in % of the rate asked: the median of {runs} runs, by tenths"
    titles = {"": 10, "-w": 3, "most/s": 8, "asked/s": 8, "-c": 7, "each tenth": 59}
    table = Table(caption, {**titles, f"within {MOST_OFF:.0%}": 8})
    with loadkit_server("native") as server:
        for engine, workers in itertools.product(engines, WORKERS):
            options = (*ENGINES[engine], "-w", str(workers))
            most = most_per_s(server["port"], *options)
            rate = max(1, round(most / 2))
            for seconds in RAMPS_S:
                connections = min(MOST_CONNECTIONS, max(LEAST_CONNECTIONS, round(rate * seconds)))
                tenths = measure(server["port"], connections, rate, runs, *options)
                is_kept = all(abs(tenth - 1) <= MOST_OFF for tenth in tenths)
                missed += not is_kept
                shares = " ".join(f"{100 * tenth:.1f}" for tenth in tenths)
                figures = (str(workers), f"{most:,.0f}", f"{rate:,}", f"{connections:,}", shares)
                table.row(engine, *figures, "kept" if is_kept else "MISSED")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
