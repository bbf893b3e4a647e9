"""How evenly the connections were served: least, most, and Jain's index over what each of them got."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadkit.measure.buckets import highest_of, lowest_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.samples import WorkerSamples, merge
from loadkit.report.histograms import decoded, histogram_record
from loadkit.report.record import Fairness, HistogramRecord
from loadkit.units import format_count, plural

__all__ = ["fairness_line", "fairness_missing", "fairness_of", "fairness_record"]


def fairness_record(workers: Sequence[WorkerSamples], unit: str) -> Fairness | None:
    """Returns what each connection of these workers got, in `unit`; if None, `fairness_missing` says why."""
    whole = _whole(workers)
    dropped = sum(worker.phases[0].dropped["per_connection"] for worker in workers)
    return None if dropped or not whole.count else fairness_of(histogram_record(whole, 0, unit))


def fairness_missing(workers: Sequence[WorkerSamples], is_counted: bool = True) -> str:
    """Returns why there is no fairness of these workers."""
    if not is_counted:
        return "the bytes of an app are not counted"
    if any(worker.phases[0].dropped["per_connection"] for worker in workers):
        return "a connection got more than a histogram here reaches"
    return "no connection of them was open at the end"


def fairness_of(each: HistogramRecord) -> Fairness:
    """Returns the fairness of a histogram with one value for each connection. Raises ValueError for a damaged one.

    Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination" (DEC TR-301, 1984): the square of the
    sum, divided by the number times the sum of the squares. It is 1 if all got the same, and 1/n if one of n got
    everything.
    """
    return Fairness(each.count, each.min, each.max, _jain(decoded(each)), each)


def _jain(histogram: Histogram) -> float | None:
    """Values above 2,047 are known to a thousandth: each counts as the middle of its counter, in the mean too."""
    (used,) = np.nonzero(histogram.counts)
    counts = histogram.counts[used].astype(np.float64)
    middles = np.array([(lowest_of(int(at)) + highest_of(int(at))) / 2 for at in used], np.float64)
    squares = float(counts.sum() * (counts * middles**2).sum())
    return float((counts * middles).sum()) ** 2 / squares if squares else None


def _whole(workers: Sequence[WorkerSamples]) -> Histogram:
    highest_ns = workers[0].phases[0].histograms["per_connection"].highest_ns
    return merge([worker.phases[0] for worker in workers], highest_ns).histograms["per_connection"]


def fairness_line(blast: Fairness | None, serve: Fairness | None) -> str | None:
    """Says how evenly several connections were served, by the replies that they got; None if it is not known."""
    ends = [("blast", blast, "replies"), ("serve", serve, "bytes")]
    parts = [f"{end} {_said(one, unit)}" for end, one, unit in ends if one and one.connections > 1]
    return "; ".join(parts) or None


def _said(fairness: Fairness, unit: str) -> str:
    least, most = (format_count(value or 0) for value in (fairness.least, fairness.most))
    if least == most:
        return f"{least} {unit} on each of {plural(fairness.connections, 'connection')}"
    jain = "" if fairness.jain is None else f", Jain's index {fairness.jain:.3f}"
    return f"{least} to {most} {unit} per connection{jain} ({plural(fairness.connections, 'connection')})"
