"""How long it took: histograms."""

from __future__ import annotations

import msgspec

__all__ = ["OF_A_SCHEDULE", "OF_A_SETUP", "PERCENTILES", "HistogramRecord", "Histograms", "measured"]

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999)
# What a closed loop has no histogram of: a message is due when the reply before it was read.
OF_A_SCHEDULE = ("lateness", "held")
# What a run has no histogram of unless something is said before the first message. Records of minor 2 do not have it.
OF_A_SETUP = ("handshake",)


class HistogramRecord(msgspec.Struct, frozen=True):
    """A histogram: exact count, sum, min and max; percentiles, null if too few values support one; and all counts.

    `hdr` has the counts in HdrHistogram's base64 V2 encoding. `dropped` counts values outside its range.
    """

    unit: str
    count: int
    sum: int
    min: int | None
    mean: float | None
    max: int | None
    percentiles: dict[str, int | None]
    dropped: int
    hdr: str


# By name; None if it was not measured, and RunRecord.histograms_missing says why.
Histograms = dict[str, HistogramRecord | None]


def measured(histograms: Histograms, name: str) -> HistogramRecord:
    """Returns a histogram that every run has: any but those of OF_A_SCHEDULE and OF_A_SETUP.

    Raises ValueError for one that was not measured.
    """
    found = histograms[name]
    if found is None:
        raise ValueError(f"{name} was not measured")
    return found
