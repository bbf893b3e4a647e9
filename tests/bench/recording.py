"""What recording costs: the tally's three histograms a message, against one record_value of hdrhistogram.

python tests/bench/recording.py
"""

from __future__ import annotations

import random
import statistics
import time

from hdrh.histogram import HdrHistogram

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.tally import FOLD_EVERY, Tally

MESSAGES = 100_000
ROUNDS = 7
HIGHEST_NS = 60 * 10**9


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


def main() -> None:
    draw = random.Random(1)
    latencies = [int(draw.lognormvariate(11, 1)) + 5 for _ in range(MESSAGES)]
    tally = Tally(Board(BoardLayout(1, 1, HIGHEST_NS)).slots[0], 64, due_is_sent=True)
    pairs = [(tally_ns(tally, latencies), record_value_ns(latencies)) for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = [one / 3 / other for one, other in pairs]
    print(f"tally: {ours:.0f} ns a message for three histograms and two counters, {ours / 3:.0f} ns a sample")
    print(f"record_value: {theirs:.0f} ns a sample")
    print(f"ratio a sample: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
