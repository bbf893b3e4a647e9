"""How late an open loop sends: half of the closed-loop rate, native against native, one core each end.

python tests/bench/lateness.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import statistics
import sys

from pairs import figures_of, loadkit_blast, loadkit_server

CONNECTIONS = (10, 50, 1000, 10_000)
# Asked at half of the closed-loop rate; for 10 and 10,000 connections it is to be stated.
ASKED = (50, 1000)
MOST_NS = 100_000
PERCENTILES = ("50", "99", "99.9")


def one_run(connections: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Returns the rate asked for and the lateness (ns) by percentile."""
    options = ["-c", str(connections), "--connect-rate", "20k", "--warmup", "500ms", "--engine", "native"]
    with loadkit_server("native") as ready:
        fastest = figures_of(loadkit_blast(ready["port"], *options, "-d", f"{seconds / 2:g}s")).per_s
        record = loadkit_blast(ready["port"], *options, "-d", f"{seconds:g}s", "-R", f"{fastest / 2:.0f}")
    return fastest / 2, record["histograms"]["lateness"]["percentiles"]


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    print(f"lateness in an open loop at half of the closed-loop rate, 64 B, {rounds} rounds of {seconds:g} s")
    print(
        f"{'connections':>11}{'rate':>12}"
        + "".join(f"{'p' + name:>11}" for name in PERCENTILES)
        + "  p99 of the rounds"
    )
    missed = 0
    for connections in CONNECTIONS:
        runs = [one_run(connections, seconds) for _ in range(rounds)]
        rate = statistics.median(rate for rate, _ in runs)
        medians = [statistics.median(late[name] for _, late in runs) for name in PERCENTILES]
        spread = [late["99"] / 1e3 for _, late in runs]
        verdict = ""
        if connections in ASKED:
            verdict = f"  asked below {MOST_NS / 1e3:.0f} us: {'ok' if medians[1] < MOST_NS else 'MISSED'}"
            missed += "MISSED" in verdict
        values = "".join(f"{value / 1e3:>8.1f} us" for value in medians)
        print(f"{connections:>11,}{rate:>10,.0f}/s{values}  {min(spread):.1f} to {max(spread):.1f} us{verdict}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
