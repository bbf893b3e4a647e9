"""Bulk transfer against iperf3: 64 KiB and 1 MiB messages, bytes per second on the same two cores.

An echo carries each byte twice over each core, once out and once back, so what is compared is sent + received of
loadkit with the sum of both directions of `iperf3 --bidir`; one direction alone (`iperf3`) is shown beside it.

python tests/bench/bulk.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from markdown import Table, asked
from pairs import BLAST_CORE, SERVE_CORE, loadkit_blast, loadkit_server

from tests.ports import free_port

STREAMS = 4
SIZES = ("64KiB", "1MiB")
LEAST = 0.9


@contextlib.contextmanager
def iperf_server() -> Iterator[int]:
    """Runs iperf3's server and yields its port."""
    port = free_port()
    command = ["taskset", "-c", SERVE_CORE, "iperf3", "-s", "-p", str(port), "-1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)  # it says nothing when it listens, and serves one test only, so it cannot be asked
        yield port
    finally:
        process.kill()
        process.wait()


def iperf_bytes_per_s(size: str, seconds: float, *more: str) -> float:
    """Returns the bytes per second received at both ends together."""
    with iperf_server() as port:
        command = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-P", str(STREAMS), "-l", size.removesuffix("iB")]
        command += ["-t", f"{seconds:g}", "-J", *more]
        done = subprocess.run(["taskset", "-c", BLAST_CORE, *command], capture_output=True, text=True, timeout=120)
        end = json.loads(done.stdout)["end"]
    sums = [end[name] for name in ("sum_received", "sum_received_bidir_reverse") if name in end]
    return float(sum(one["bytes"] / one["seconds"] for one in sums))


def echo_bytes_per_s(port: int, size: str, seconds: float) -> float:
    options = ["-c", str(STREAMS), "-s", size, "-d", f"{seconds:g}s", "--warmup", "500ms"]
    rates = loadkit_blast(port, *options, "--engine", "native")["rates"]
    return float(rates["sent_bytes_per_s"] + rates["received_bytes_per_s"])


def main() -> int:
    if not shutil.which("iperf3"):
        print("bulk: skipped, there is no iperf3 (Debian: apt-get install iperf3)")
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    of = f"{rounds} rounds of {seconds:g} s"
    caption = f"{STREAMS} connections, one core for each end, {of}, bytes of both directions; ratio to --bidir"
    columns = {"": 8, "loadkit": 10, "iperf3 --bidir": 14, "iperf3": 10, "ratio": 5, "least": 5, "most": 5, "asked": 12}
    table = Table(caption, columns)
    missed = 0
    for size in SIZES:
        runs = []
        for _ in range(rounds):
            with loadkit_server("native") as ready:
                echo = echo_bytes_per_s(ready["port"], size, seconds)
            runs.append((echo, iperf_bytes_per_s(size, seconds, "--bidir"), iperf_bytes_per_s(size, seconds)))
        echo, both, one = (statistics.median(column) / 2**30 for column in zip(*runs, strict=True))
        ratios = [run[0] / run[1] for run in runs]
        median = statistics.median(ratios)
        missed += median < LEAST
        table.row(size, *(f"{rate:.2f} GiB/s" for rate in (echo, both, one)), *asked(LEAST, ratios, median))
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
