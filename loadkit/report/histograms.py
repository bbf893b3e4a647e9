"""A histogram on its way into a record."""

from __future__ import annotations

from loadkit.measure.histogram import Histogram
from loadkit.report.record import PERCENTILES, HistogramRecord

__all__ = ["histogram_record"]


def histogram_record(histogram: Histogram, dropped: int, unit: str = "ns") -> HistogramRecord:
    """Returns a histogram as it stands in a record."""
    some = histogram.count > 0
    return HistogramRecord(
        unit=unit,
        count=histogram.count,
        sum=histogram.sum_ns,
        min=histogram.min_ns if some else None,
        mean=histogram.mean_ns if some else None,
        max=histogram.max_ns if some else None,
        percentiles={f"{percentile:g}": value for percentile, value in histogram.percentiles(PERCENTILES).items()},
        dropped=dropped,
        hdr=histogram.encode(),
    )
