"""The latency of a record as HdrHistogram's percentile spectrum: the text that plotters of such files read.

It is outputPercentileDistribution of its AbstractHistogram with five ticks for each half of the distance to 100 %, of
what came back in the measured phases. Values are in ns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from loadkit.errors import RecordError
from loadkit.measure.buckets import DIGITS, SUB_BUCKETS, buckets_of, highest_of, lowest_of
from loadkit.measure.histogram import Histogram
from loadkit.report.histograms import decoded
from loadkit.report.record import RunRecord, measured
from loadkit.units import format_count

__all__ = ["as_hgrm"]

_TICKS = 5


def as_hgrm(record: RunRecord) -> str:
    """Returns the spectrum. Raises RecordError if the histogram is damaged."""
    try:
        latency = decoded(measured(record.histograms, "latency"))
    except ValueError as error:
        raise RecordError(f"histograms.latency cannot be read: {error}") from None
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    lines += [_line(*point) for point in _spectrum(latency)]
    lost = max(0, record.messages.intended - latency.count)
    lines += (
        f"#[Mean    = {latency.mean_ns:12.3f}, StdDeviation   = {_deviation(latency):12.3f}]",
        f"#[Max     = {latency.max_ns:12.3f}, Total count    = {latency.count:12d}]",
        f"#[Buckets = {buckets_of(latency.highest_ns):12d}, SubBuckets     = {SUB_BUCKETS:12d}]",
        f"# values in ns: latency of what came back; {format_count(lost)} messages did not, and are not in it",
    )
    return "\n".join(lines) + "\n"


def _line(value_ns: int, level: float, total: int) -> str:
    start = f"{value_ns:12.{DIGITS}f} {level:2.12f} {total:10d}"
    return start if level == 1.0 else f"{start} {1 / (1 - level):14.2f}"


def _spectrum(histogram: Histogram) -> Iterator[tuple[int, float, int]]:
    """Yields (value, percentile as a part of 1, count up to it), the last one at 1; nothing of an empty histogram."""
    (used,) = np.nonzero(histogram.counts)
    running, level = np.cumsum(histogram.counts[used]).tolist(), 0.0
    for index, so_far in zip(used.tolist(), running, strict=True):
        value = min(highest_of(index), histogram.max_ns)
        # A counter that several percentiles fall into has a line for each, and the last counter only one.
        while level < 100.0 and 100.0 * so_far / running[-1] >= level:
            yield value, level / 100, so_far
            half = 2 ** (math.floor(math.log2(100.0 / (100.0 - level))) + 1)
            level += 100.0 / (_TICKS * half)
            if so_far == running[-1]:
                break
    if running:
        yield histogram.max_ns, 1.0, running[-1]


def _deviation(histogram: Histogram) -> float:
    """Returns the standard deviation of the counters' middles, in ns; 0 without values."""
    (used,) = np.nonzero(histogram.counts)
    if not used.size:
        return 0.0
    middles = [(lowest_of(index) + highest_of(index)) / 2 - histogram.mean_ns for index in used.tolist()]
    weights = histogram.counts[used].tolist()
    return math.sqrt(math.fsum(count * off * off for count, off in zip(weights, middles, strict=True)) / sum(weights))
