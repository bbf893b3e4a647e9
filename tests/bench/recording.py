"""What recording costs: three histograms a message, by the tally and by the native engine, against one record_value.

python tests/bench/recording.py
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

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.tally import FOLD_EVERY, Tally

MESSAGES = 100_000
ROUNDS = 7
HIGHEST_NS = 60 * 10**9
NATIVE_MOST_NS = 50
HERE = Path(__file__).parent


def tally_ns(tally: Tally, latencies: list[int]) -> float:
    """Notes and folds a message's latency, service and lateness, as a worker does."""
    begin = time.perf_counter_ns()
    for intended, latency in enumerate(latencies):
        sent = intended + 5
        tally.sent.extend((intended, sent))
        tally.replied.extend((intended, sent, intended + latency))
        if len(tally.replied) >= 3 * FOLD_EVERY:
            tally.fold(intended)
    tally.fold(0)
    return (time.perf_counter_ns() - begin) / len(latencies)


def record_value_ns(latencies: list[int]) -> float:
    """Records one value a message."""
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    begin = time.perf_counter_ns()
    for latency in latencies:
        histogram.record_value(latency)
    return (time.perf_counter_ns() - begin) / len(latencies)


def native_ns(folder: Path) -> list[float]:
    """Runs the native engine's recording, compiled as the engine is; empty without a C compiler."""
    binary = folder / "recording"
    sources = [HERE / "recording.c", HERE.parents[1] / "loadkit/engine/native/board.c"]
    try:
        subprocess.run(["cc", "-O2", "-o", binary, *sources], check=True)
    except FileNotFoundError:
        return []
    runs = (subprocess.run([binary], check=True, capture_output=True, text=True) for _ in range(ROUNDS))
    return [float(run.stdout) for run in runs]


def main() -> int:
    draw = random.Random(1)
    latencies = [int(draw.lognormvariate(11, 1)) + 5 for _ in range(MESSAGES)]
    tally = Tally(Board(BoardLayout(1, 1, HIGHEST_NS)).slots[0], 64, due_is_sent=True)
    pairs = [(tally_ns(tally, latencies), record_value_ns(latencies)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [one / 3 / other for one, other in pairs]
    print("recording: three histograms and the counters of a message")
    print(f"tally: {ours:.0f} ns a message, {ours / 3:.0f} ns a sample")
    print(f"record_value: {theirs:.0f} ns a sample")
    print(f"ratio a sample: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    with tempfile.TemporaryDirectory() as folder:
        native = native_ns(Path(folder))
    if not native:
        print("native: skipped, there is no C compiler")
        return 0
    least, median, most = min(native), statistics.median(native), max(native)
    verdict = "ok" if median < NATIVE_MOST_NS else "MISSED"
    print(
        f"native: {median:.0f} ns a message with its clock reading ({least:.0f} to {most:.0f})  asked below "
        f"{NATIVE_MOST_NS}: {verdict}"
    )
    return 0 if verdict == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
