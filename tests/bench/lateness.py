"""How late an open loop sends: half of the closed-loop rate, native against native, one core each end.

Beside it stands how late the machine lets anybody be: a loop on the same core that only looks at the clock, at that
rate, before and after each round. A round before or after which that loop was late itself was not on an idle machine:
it is counted, and left out of the median.

python tests/bench/lateness.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from markdown import Table
from pairs import compile_floor, figures_of, floor_lateness, loadkit_blast, loadkit_server

CONNECTIONS = (10, 50, 1000, 10_000)
# Asked at half of the closed-loop rate; for 10 and 10,000 connections it is to be stated.
ASKED = (50, 1000)
MOST_NS = 100_000
PERCENTILES = ("50", "99", "99.9")


# A virtual machine that has used its share of the host is stopped for milliseconds: let it rest before each round.
REST_S = 5.0
# A loop that does nothing is this late on an idle machine at most.
IDLE_NS = MOST_NS / 2

Late = dict[str, float]


def rounds_of(floor: Path, connections: int, rounds: int, seconds: float) -> tuple[float, list[tuple[Late, Late]]]:
    """Returns the rate, and of each round the lateness (ns) of the loop that does nothing and of blast."""
    options = ["-c", str(connections), "--connect-rate", "20k", "--warmup", "500ms", "--engine", "native"]
    pairs = []
    with loadkit_server("native") as ready:
        rate = figures_of(loadkit_blast(ready["port"], *options, "-d", "1s")).per_s / 2
        for _ in range(rounds):
            time.sleep(REST_S)
            before = floor_lateness(floor, rate, seconds / 2)
            record = loadkit_blast(ready["port"], *options, "-d", f"{seconds:g}s", "-R", f"{rate:.0f}")
            after = floor_lateness(floor, rate, seconds / 2)
            machine = {name: max(before[name], after[name]) for name in PERCENTILES}
            pairs.append((machine, record["histograms"]["lateness"]["percentiles"]))
    return rate, pairs


def row(runs: list[Late]) -> tuple[str, ...]:
    """Returns the cells of so many rounds, in us: the medians of the percentiles, and the spread of p99."""
    if not runs:
        return ("0", *[""] * (len(PERCENTILES) + 1))
    p99s = _known(runs, "99")
    known = [_known(runs, percentile) for percentile in PERCENTILES]
    values = (f"{statistics.median(those):.1f}" if those else "-" for those in known)
    return (str(len(runs)), *values, f"{min(p99s):.1f} to {max(p99s):.1f}" if p99s else "-")


def _known(runs: list[Late], percentile: str) -> list[float]:
    """Returns the rounds' values in us; a short round has too few messages for the upper ones."""
    return [late[percentile] / 1e3 for late in runs if late[percentile] is not None]


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("lateness: skipped, there is no C compiler for the floor")
            return 0
        of = f"{rounds} rounds of {seconds:g} s"
        caption = f"Lateness (us) in an open loop at half of the closed-loop rate, 64 B, {of}"
        titles = {f"p{name}": 8 for name in PERCENTILES}
        columns = {"connections, rate": 17, "": 19, "rounds": 6, **titles, "p99 of the rounds": 18, "asked": 12}
        table = Table(caption, columns)
        for connections in CONNECTIONS:
            rate, pairs = rounds_of(floor, connections, rounds, seconds)
            idle = [late for machine, late in pairs if machine["99"] < IDLE_NS]
            table.row(f"{connections:,}, {rate:,.0f}/s", "the machine itself", *row([machine for machine, _ in pairs]))
            table.row("", "blast", *row([late for _, late in pairs]))
            verdict = ""
            if connections in ASKED:
                verdict = "not known"  # the machine was never idle
                if idle:
                    reached = statistics.median(late["99"] for late in idle) < MOST_NS
                    verdict = "ok" if reached else "MISSED"
                    missed += not reached
                verdict = f"below {MOST_NS / 1e3:.0f}: {verdict}"
            table.row("", "blast, machine idle", *row(idle), verdict)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
