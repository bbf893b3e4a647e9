"""loadkit against the floor: one core each end, 50 connections, 64 B, closed loop, alternating, ratios in one run.

python tests/bench/throughput.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from pairs import compile_floor, floor_blast, floor_churn, floor_server, loadkit_blast, loadkit_server

CONNECTIONS, SIZE = 50, 64
# Asked of the uvloop engine; the asyncio engine and churn are shown beside it.
TARGETS = {"blast/uvloop": 0.75, "serve/uvloop": 0.80}


def blast_rate(port: int, engine: str, seconds: float, *more: str) -> float:
    options = ["-c", str(CONNECTIONS), "-s", f"{SIZE}B", "-d", f"{seconds}s", "--warmup", "500ms", "--engine", engine]
    return float(loadkit_blast(port, *options, *more)["rates"]["replies_per_s"])


def one_round(floor: Path, seconds: float) -> dict[str, float]:
    rates = {}
    with floor_server(floor) as port:
        rates["floor pair"] = floor_blast(floor, port, CONNECTIONS, SIZE, seconds)
        rates["blast/uvloop"] = blast_rate(port, "uvloop", seconds)
        rates["blast/asyncio"] = blast_rate(port, "asyncio", seconds)
        rates["floor churn"] = floor_churn(floor, port, CONNECTIONS, SIZE, seconds)
        rates["churn/uvloop"] = blast_rate(port, "uvloop", seconds, "--lifetime", "0")
    for engine in ("uvloop", "asyncio"):
        with loadkit_server(engine) as ready:
            rates[f"serve/{engine}"] = floor_blast(floor, ready["port"], CONNECTIONS, SIZE, seconds)
    return rates


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("throughput: skipped, there is no C compiler for the floor")
            return 0
        runs = [one_round(floor, seconds) for _ in range(rounds)]
    print(f"{CONNECTIONS} connections, {SIZE} B, closed loop, one core each end, {rounds} rounds of {seconds:g} s")
    print(f"{'':<15}{'per second':>11}{'ratio':>8}{'least':>7}{'most':>7}  to its floor, pair by pair")
    missed = 0
    for name in runs[0]:
        base = "floor churn" if "churn" in name else "floor pair"
        ratios = [run[name] / run[base] for run in runs]
        median = statistics.median(ratios)
        target = TARGETS.get(name)
        verdict = "" if target is None else f"  asked {target:.2f}: {'ok' if median >= target else 'MISSED'}"
        missed += target is not None and median < target
        rate = statistics.median(run[name] for run in runs)
        print(f"{name:<15}{rate:>11,.0f}{median:>8.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}{verdict}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
