"""All charts of a run, in the order in which a reader looks at them."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.report.charts.balance import balance_of_workers
from loadkit.report.charts.band import Band
from loadkit.report.charts.chart import Chart
from loadkit.report.charts.density import densities
from loadkit.report.charts.latency_over_time import latency_over_time
from loadkit.report.charts.loops import batches, busy_workers
from loadkit.report.charts.opening import connection_ramp
from loadkit.report.charts.rates import connections_over_time, errors_over_time, replies_over_time
from loadkit.report.charts.slices import SeriesRow, slices_of
from loadkit.report.charts.spectrum import spectrum
from loadkit.report.charts.waterfall import waterfall
from loadkit.report.record import RunRecord

__all__ = ["charts_of"]


def charts_of(
    record: RunRecord, percentiles: Sequence[str], series: Sequence[SeriesRow], band: Band | None
) -> list[Chart]:
    """Returns every chart that this kind of run has; those that could not be drawn say why."""
    slices = slices_of(series)
    found = (
        spectrum(record, percentiles, band),
        latency_over_time(record, slices),
        replies_over_time(record, slices),
        errors_over_time(record, slices),
        connections_over_time(record, slices),
        connection_ramp(record),
        waterfall(record),
        batches(record),
        busy_workers(record),
        balance_of_workers(record),
        densities(record),
    )
    return [chart for chart in found if chart]
