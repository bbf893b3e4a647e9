"""A histogram on its way into a record, and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadkit.errors import RecordError
from loadkit.measure.buckets import highest_of, lowest_of
from loadkit.measure.histogram import Histogram, percentiles_supported, rank_of
from loadkit.report.record import PERCENTILES, HistogramRecord

__all__ = ["decoded", "histogram_record", "percentiles_of"]


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


def percentiles_of(record: HistogramRecord, percentiles: Sequence[str]) -> list[int | None]:
    """Returns the values at these percentiles, None where the count supports none. Raises RecordError if damaged.

    Those that stand in the record are taken from it.
    """
    if all(percentile in record.percentiles for percentile in percentiles):
        return [record.percentiles[percentile] for percentile in percentiles]
    try:
        histogram = decoded(record)
    except ValueError as error:
        raise RecordError(f"a histogram cannot be read: {error}") from None
    return [
        record.percentiles[percentile]
        if percentile in record.percentiles
        else histogram.at_rank(rank_of(histogram.count, percentile))
        if percentiles_supported(histogram.count, percentile)
        else None
        for percentile in percentiles
    ]


def decoded(record: HistogramRecord) -> Histogram:
    """Reads the counts back, with the exact ends. Raises ValueError if count, min or max differ from the encoding's.

    The encoding has the ends to three digits only. So a record has the exact ones too, and in a record from elsewhere
    they may not fit the counts.
    """
    histogram = Histogram.decode(record.hdr, record.sum)
    if record.count != histogram.count:
        raise ValueError(f"its count, {record.count}, is not that of its encoding, {histogram.count}")
    used = histogram.counts.nonzero()[0].tolist()
    for name, value, counters in (("min", record.min, used[:1]), ("max", record.max, used[-1:])):
        if not (any(lowest_of(at) <= value <= highest_of(at) for at in counters) if value is not None else not used):
            raise ValueError(f"its {name}, {value}, is not that of its encoding")
    return replace(histogram, min_ns=record.min or 0, max_ns=record.max or 0)
