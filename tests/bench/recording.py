"""What recording costs: four histograms per message, by the tally and by the native engine, against one record_value.

python tests/bench/recording.py [ROUNDS] [MESSAGES]
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hdrh.histogram import HdrHistogram
from markdown import Table

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.tally import FOLD_EVERY, Tally

MESSAGES = 100_000
ROUNDS = 7
HIGHEST_NS = 60 * 10**9
NATIVE_MOST_NS = 50
HISTOGRAMS = 4
HERE = Path(__file__).parent


def tally_ns(tally: Tally, latencies: list[int]) -> float:
    """Notes and folds a message's latency, service, lateness and held, as a worker does."""
    begin = time.perf_counter_ns()
    for intended, latency in enumerate(latencies):
        sent = intended + 5
        tally.sent.extend((intended, intended, sent))
        tally.replied.extend((intended, intended, sent, intended + latency))
        if len(tally.replied) >= 4 * FOLD_EVERY:
            tally.fold()
    tally.fold()
    return (time.perf_counter_ns() - begin) / len(latencies)


def record_value_ns(latencies: list[int]) -> float:
    """Records one value a message."""
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    begin = time.perf_counter_ns()
    for latency in latencies:
        histogram.record_value(latency)
    return (time.perf_counter_ns() - begin) / len(latencies)


def native_ns(folder: Path, rounds: int) -> list[float]:
    """Runs the native engine's recording, compiled as the engine is; empty without a C compiler."""
    binary = folder / "recording"
    sources = [HERE / "recording.c", HERE.parents[1] / "loadkit/engine/native/board.c"]
    try:
        subprocess.run(["cc", "-O2", "-o", binary, *sources], check=True)
    except FileNotFoundError:
        return []
    runs = (subprocess.run([binary], check=True, capture_output=True, text=True) for _ in range(rounds))
    return [float(run.stdout) for run in runs]


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else MESSAGES
    draw = random.Random(1)
    latencies = [int(draw.lognormvariate(11, 1)) + 5 for _ in range(messages)]
    tally = Tally(Board(BoardLayout(1, 1, HIGHEST_NS)).slots[0], 64, due_is_sent=True)
    pairs = [(tally_ns(tally, latencies), record_value_ns(latencies)) for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [one / HISTOGRAMS / other for one, other in pairs]
    caption = "Recording a message: four histograms and the counters. `tally` is what uvloop and asyncio use."
    columns = {"": 25, "ns per message": 14, "ns per sample": 13, "ratio": 5, "least": 5, "most": 5, "asked": 16}
    table = Table(caption, columns)
    table.row("hdrhistogram record_value", "", f"{theirs:.0f}")
    spread = (f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}")
    table.row("tally", f"{ours:.0f}", f"{ours / HISTOGRAMS:.0f}", *spread)
    with tempfile.TemporaryDirectory() as folder:
        native = native_ns(Path(folder), rounds)
    if not native:
        print("native: skipped, there is no C compiler")
        return 0
    least, median, most = min(native), statistics.median(native), max(native)
    verdict = "ok" if median < NATIVE_MOST_NS else "MISSED"
    at_most = f"below {NATIVE_MOST_NS}: {verdict}"
    table.row("native, with its clock", f"{median:.0f}", "", "", f"{least:.0f}", f"{most:.0f}", at_most)
    return 0 if verdict == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
