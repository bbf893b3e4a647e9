"""How late an open loop sends: half of the closed-loop rate, native against native, one core each end.

Beside it stands how late the machine lets anybody be: a loop on the same core that only looks at the clock, at the same
rate, just before. Where that is late itself, the machine is not idle and the run says nothing.

python tests/bench/lateness.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from pairs import compile_floor, figures_of, floor_lateness, loadkit_blast, loadkit_server

CONNECTIONS = (10, 50, 1000, 10_000)
# Asked at half of the closed-loop rate; for 10 and 10,000 connections it is to be stated.
ASKED = (50, 1000)
MOST_NS = 100_000
PERCENTILES = ("50", "99", "99.9")


def one_run(floor: Path, connections: int, seconds: float) -> tuple[float, dict[str, float], dict[str, float]]:
    """Returns the rate asked for, and the lateness (ns) by percentile of the loop that does nothing, and of blast."""
    options = ["-c", str(connections), "--connect-rate", "20k", "--warmup", "500ms", "--engine", "native"]
    with loadkit_server("native") as ready:
        rate = figures_of(loadkit_blast(ready["port"], *options, "-d", f"{seconds / 2:g}s")).per_s / 2
        machine = floor_lateness(floor, rate, seconds)
        record = loadkit_blast(ready["port"], *options, "-d", f"{seconds:g}s", "-R", f"{rate:.0f}")
    return rate, machine, record["histograms"]["lateness"]["percentiles"]


def row(name: str, rate: float, runs: list[dict[str, float]]) -> str:
    medians = [statistics.median(late[percentile] for late in runs) for percentile in PERCENTILES]
    spread = [late["99"] / 1e3 for late in runs]
    values = "".join(f"{value / 1e3:>8.1f} us" for value in medians)
    return f"{name:<26}{rate:>9,.0f}/s{values}  {min(spread):.1f} to {max(spread):.1f} us"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("lateness: skipped, there is no C compiler for the floor")
            return 0
        print(f"lateness in an open loop at half of the closed-loop rate, 64 B, {rounds} rounds of {seconds:g} s")
        titles = "".join(f"{'p' + name:>11}" for name in PERCENTILES)
        print(f"{'':<26}{'rate':>11}{titles}  p99 of the rounds")
        for connections in CONNECTIONS:
            runs = [one_run(floor, connections, seconds) for _ in range(rounds)]
            rate = statistics.median(rate for rate, _, _ in runs)
            verdict = ""
            if connections in ASKED:
                reached = statistics.median(late["99"] for _, _, late in runs) < MOST_NS
                verdict = f"  asked below {MOST_NS / 1e3:.0f} us: {'ok' if reached else 'MISSED'}"
                missed += not reached
            print(row("the machine itself", rate, [machine for _, machine, _ in runs]))
            print(row(f"blast, {connections:,} connections", rate, [late for _, _, late in runs]) + verdict)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
