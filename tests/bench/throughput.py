"""loadkit against the floor: closed loop, 64 B, one core each end, alternating, ratios of one run.

python tests/bench/throughput.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from markdown import Table, asked
from pairs import compile_floor, figures_of, floor_blast, floor_churn, floor_server, loadkit_blast, loadkit_server

SIZE = 64
CONNECTIONS = (50, 1000)
# (figure, yardstick): the least ratio asked, the median of the pairs.
ASKED = {
    ("blast/native", "floor pair"): 0.95,
    ("blast/native", "blast/uvloop"): 1.3,
    ("serve/native", "floor pair"): 0.95,
    ("churn/native", "floor churn"): 1.0,
    ("churn/native", "churn/uvloop"): 1.3,
    ("-p 16/native", "blast/native"): 4.0,
    ("blast/uvloop", "floor pair"): 0.75,
    ("serve/uvloop", "floor pair"): 0.80,
}
# What the uvloop engine is asked for was set for 50 connections.
FEW_ONLY = ("blast/uvloop", "serve/uvloop")


def blast_rate(port: int, engine: str, connections: int, seconds: float, *more: str) -> float:
    options = ["-c", str(connections), "-s", f"{SIZE}B", "-d", f"{seconds}s", "--warmup", "500ms", "--engine", engine]
    return figures_of(loadkit_blast(port, *options, *more)).per_s


def one_round(floor: Path, connections: int, seconds: float) -> dict[str, float]:
    rates = {}
    engines = ("native", "uvloop", "asyncio")
    with floor_server(floor) as ready:
        port = ready["port"]
        rates["floor pair"] = floor_blast(floor, port, connections, SIZE, seconds).per_s
        for engine in engines:
            rates[f"blast/{engine}"] = blast_rate(port, engine, connections, seconds)
        rates["-p 16/native"] = blast_rate(port, "native", connections, seconds, "-p", "16")
        rates["floor churn"] = floor_churn(floor, port, connections, SIZE, seconds).per_s
        for engine in ("native", "uvloop"):
            rates[f"churn/{engine}"] = blast_rate(port, engine, connections, seconds, "--lifetime", "0")
    for engine in engines:
        with loadkit_server(engine) as ready:
            rates[f"serve/{engine}"] = floor_blast(floor, ready["port"], connections, SIZE, seconds).per_s
    return rates


def yardstick(name: str) -> str:
    return "floor churn" if "churn" in name else "floor pair"


def asked_of(name: str, connections: int) -> list[tuple[str, float]]:
    """Returns (yardstick, least ratio) of a figure: what is asked, else its floor to be shown beside it."""
    asked = [(base, least) for (figure, base), least in ASKED.items() if figure == name]
    if not asked or (name in FEW_ONLY and connections != CONNECTIONS[0]):
        return [(yardstick(name), 0.0)]
    return asked


def report(runs: list[dict[str, float]], connections: int, seconds: float) -> int:
    of = f"{len(runs)} rounds of {seconds:g} s"
    caption = f"{connections:,} connections, {SIZE} B, closed loop, one core for each end, {of}"
    columns = {"": 14, "per second": 10, "to": 12, "ratio": 5, "least": 5, "most": 5, "asked": 12}
    table = Table(caption, columns)
    missed = 0
    for name in runs[0]:
        shown = (name, f"{statistics.median(run[name] for run in runs):,.0f}")
        for base, least in asked_of(name, connections):
            ratios = [run[name] / run[base] for run in runs]
            median = statistics.median(ratios)
            missed += median < least
            table.row(*shown, base, *asked(least, ratios, median))
            shown = ("", "")
    return missed


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("throughput: skipped, there is no C compiler for the floor")
            return 0
        for connections in CONNECTIONS:
            runs = [one_round(floor, connections, seconds) for _ in range(rounds)]
            missed += report(runs, connections, seconds)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
