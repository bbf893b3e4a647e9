"""Charts: what they draw is what the record has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from xml.etree.ElementTree import Element

import msgspec
import numpy as np
import pytest

from loadkit.measure.series import IntervalLatency
from loadkit.report.charts.band import Band, band_of
from loadkit.report.charts.chart import Chart
from loadkit.report.charts.counted import counted, joined
from loadkit.report.charts.every import charts_of
from loadkit.report.charts.slices import MOST, series_of, slices_of
from loadkit.report.page import DEFAULT
from loadkit.report.record import Interval, RunRecord, SloRecord, measured
from loadkit.report.selector import shown
from tests.pictured import PICTURED

_NUMBERS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


@cache
def run(name: str) -> RunRecord:
    return PICTURED[name]()


@cache
def charts(name: str) -> dict[str, Chart]:
    return {chart.name: chart for chart in drawn(run(name))}


def drawn(record: RunRecord) -> list[Chart]:
    series = series_of(record)
    return charts_of(record, DEFAULT.percentiles, series, band_of(record, series))


def _chart_of(record: RunRecord, name: str) -> Chart:
    return next(chart for chart in drawn(record) if chart.name == name)


def _pictures() -> Iterator[tuple[str, Chart, Element]]:
    for name in PICTURED:
        for chart in charts(name).values():
            if chart.picture is not None:
                yield name, chart, chart.picture


def texts(chart: Chart) -> list[str]:
    assert chart.picture is not None
    return [element.text or "" for element in chart.picture.iter("text")]


def titles(chart: Chart) -> list[str]:
    """What a pointer that rests on a part is told."""
    assert chart.picture is not None
    return [found.text or "" for part in chart.picture if (found := part.find("title")) is not None]


def test_every_picture_is_named_and_described_and_has_a_table_of_its_numbers() -> None:
    for name, chart, picture in _pictures():
        title, desc = picture.find("title"), picture.find("desc")
        assert title is not None
        assert desc is not None
        assert title.text == chart.title, name
        assert desc.text, (name, chart.name)
        assert picture.get("role") == "img"
        assert picture.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
        assert chart.table is not None
        assert chart.table.rows, (name, chart.name)
        assert all(len(row) == len(chart.table.columns) for row in chart.table.rows if isinstance(row, tuple))


def test_what_is_drawn_is_inside_its_picture() -> None:
    for name, chart, picture in _pictures():
        _, _, width, height = map(float, (picture.get("viewBox") or "").split())
        for part in picture:
            if part.tag == "rect":
                x, y, wide, high = (float(part.get(key) or 0) for key in ("x", "y", "width", "height"))
                assert -0.1 <= x <= x + wide <= width + 0.1, (name, chart.name, part.attrib)
                assert -0.1 <= y <= y + high <= height + 0.1, (name, chart.name, part.attrib)
            elif part.tag == "text":
                assert 0 <= float(part.get("x") or 0) <= width, (name, chart.name, part.text)
                assert 0 <= float(part.get("y") or 0) <= height, (name, chart.name, part.text)
            elif part.tag == "path" and "transform" not in part.attrib:  # a cell of the heat map is scaled
                places = list(_places(part.get("d") or ""))
                assert places
                assert all(0 <= x <= width and 0 <= y <= height for x, y in places), (name, chart.name, part.attrib)


def _places(data: str) -> Iterator[tuple[float, float]]:
    """Where the pen of a path goes, as far as loadkit draws: M, L, H, V to a place, m, l, h, v by a way."""
    x = y = 0.0
    for order, text in re.findall(r"([MLHVmlhvz])([^MLHVmlhvz]*)", data):
        numbers = [float(one) for one in _NUMBERS.findall(text)]
        pairs = numbers if order in "HhVv" else list(zip(numbers[::2], numbers[1::2], strict=True))
        for to in pairs:
            is_way = order.islower()
            if order in "Hh":
                x = x * is_way + to
            elif order in "Vv":
                y = y * is_way + to
            else:
                x, y = x * is_way + to[0], y * is_way + to[1]
            yield round(x, 6), round(y, 6)


def test_a_chart_that_cannot_be_drawn_says_why() -> None:
    without = {(name, chart.name) for name in PICTURED for chart in charts(name).values() if chart.picture is None}
    assert ("interrupted", "spectrum") in without
    assert ("no reply", "heat") in without
    for name, chart in without:
        assert charts(name)[chart].says.endswith(".")
        assert charts(name)[chart].table is None


# -- the series


@pytest.mark.parametrize("name", ["minute", "hour", "million"])
def test_an_hour_is_no_more_columns_than_a_picture_is_wide_and_nothing_is_left_out(name: str) -> None:
    rows, slices = run(name).intervals, slices_of(series_of(run(name)))
    assert len(slices) <= MOST
    assert sum(one.replied for one in slices) == sum(row.replied for row in rows)
    assert sum(one.opened for one in slices) == sum(row.opened for row in rows)
    whole = joined(one.latency for one in slices if one.latency)
    latency = measured(run(name).histograms, "latency")
    if whole:
        assert whole.count == latency.count
        assert whole.percentile("99") == latency.percentiles["99"]


def test_a_row_that_is_damaged_is_left_out_and_its_figures_stay() -> None:
    record = run("minute")
    rows = [
        msgspec.structs.replace(row, latency=msgspec.structs.replace(row.latency, hdr="x")) if row.latency.hdr else row
        for row in record.intervals
    ]
    slices = slices_of(series_of(msgspec.structs.replace(record, intervals=tuple(rows))))
    assert all(one.latency is None for one in slices)
    assert [one.p99_ns for one in slices] == [row.latency.p99 for row in rows]


def test_the_heat_map_has_every_column_and_its_lines_end_at_the_last_figures() -> None:
    heat = charts("minute")["heat"]
    assert heat.table is not None
    assert len(heat.table.rows) == 60
    assert {"p50", "p99", "max", "hold"} <= set(texts(heat))


# -- percentiles


def test_the_spectrum_marks_each_objective_on_a_percentile() -> None:
    spectrum = charts("minute")["spectrum"]
    assert {"latency.p99<5ms: met", "latency.p99.9<2ms: missed"} <= set(titles(spectrum))
    assert spectrum.table is not None
    rows = {row[0]: row[1] for row in spectrum.table.rows if isinstance(row, tuple)}
    assert rows["p99"] == shown(run("minute"), "latency.p99")


def test_the_spectrum_of_one_reply_is_a_line_up_to_the_median() -> None:
    """Which any number of values supports; what is rarer is not drawn as if it were known."""
    spectrum = charts("one reply")["spectrum"]
    assert "latency" in titles(spectrum)
    assert "latency: too few samples" not in titles(spectrum)


def test_connections_are_whole_and_those_that_were_closed_at_once_are_seen() -> None:
    quick = Interval(0.0, 1.0, "ramp", 1, 1, 64, 0, IntervalLatency(None, None, None), open=0)
    chart = _chart_of(msgspec.structs.replace(run("one reply"), intervals=(quick,)), "connections")
    assert "opened" in texts(chart)
    assert not [text for text in texts(chart) if re.fullmatch(r"0\.[0-9]+", text)]
    held = msgspec.structs.replace(quick, open=1)
    assert "open" in texts(_chart_of(msgspec.structs.replace(run("one reply"), intervals=(held,)), "connections"))


def test_the_distributions_say_what_stands_at_the_edge_only_if_there_is_something() -> None:
    assert "left edge" not in charts("idle")["densities"].says
    assert "What is below 10 ns stands at the left edge." in charts("saturated")["densities"].says


def test_what_never_came_back_is_later_than_everything_and_drawn_as_never() -> None:
    lost = charts("saturated")["spectrum"]
    assert "never" in texts(lost)
    assert "never" not in texts(charts("minute")["spectrum"])


def test_an_objective_of_a_later_loadkit_is_not_drawn() -> None:
    later = msgspec.structs.replace(run("minute"), slo=(SloRecord("jitter.p95<5ms", 1.0, True),))
    [spectrum, *_] = drawn(later)
    assert "jitter.p95<5ms: met" not in titles(spectrum)


# -- the band


def _share_between(band: Band, low: float, high: float) -> float:
    """The width of the band between two percentiles, divided by its middle."""
    pairs = band.at(np.linspace(low, high, 20).tolist())
    return float(np.mean([(top - floor) / (top + floor) for floor, top in pairs]))


@pytest.mark.parametrize("name", ["minute", "hour"])
def test_the_band_has_the_percentiles_of_the_run_in_it_and_is_wider_where_few_seconds_decide(name: str) -> None:
    band = band_of(run(name), series_of(run(name)))
    assert band is not None
    latency = measured(run(name).histograms, "latency")
    for percentile in ("50", "90", "99", "99.9"):
        [(low, high)] = band.at([float(percentile) / 100])
        value = latency.percentiles[percentile]
        assert value is not None
        assert low <= value <= high, percentile
    assert _share_between(band, 0.999, 0.9995) > 5 * _share_between(band, 0.4, 0.6)


def test_a_band_of_seconds_that_are_all_alike_has_no_width() -> None:
    record = run("minute")
    second = next(row for row in record.intervals if row.phase == "hold")
    rows = tuple(msgspec.structs.replace(second, from_s=float(at), t_s=at + 1.0) for at in range(60))
    band = band_of(_with_rows(record, rows), series_of(_with_rows(record, rows)))
    assert band is not None
    assert all(low == high for low, high in band.at([0.5, 0.9, 0.99, 0.999]))


def _with_rows(record: RunRecord, rows: tuple[Interval, ...]) -> RunRecord:
    whole = joined(found for row in rows if (found := counted(row.latency.hdr)))
    assert whole is not None
    latency = msgspec.structs.replace(measured(record.histograms, "latency"), count=whole.count)
    return msgspec.structs.replace(record, intervals=rows, histograms={**record.histograms, "latency": latency})


def test_a_short_run_and_one_whose_series_lacks_messages_have_no_band() -> None:
    record = run("minute")
    short = record.intervals[:9]
    assert band_of(_with_rows(record, short), series_of(_with_rows(record, short))) is None
    lacking = msgspec.structs.replace(record, intervals=record.intervals[:-1])
    assert band_of(lacking, series_of(lacking)) is None


def test_a_page_of_the_same_run_has_the_same_band() -> None:
    one, other = (band_of(run("hour"), series_of(run("hour"))) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.at([0.5, 0.99]) == other.at([0.5, 0.99])


# -- stolen time


def test_seconds_of_which_the_host_took_much_are_marked_below_the_heat_map() -> None:
    record = run("minute")
    rows = [
        msgspec.structs.replace(row, cpu_ticks=200, stolen=0.25 if at == 7 else 0.01)
        for at, row in enumerate(record.intervals)
    ]
    heat = next(one for one in drawn(msgspec.structs.replace(record, intervals=tuple(rows))) if one.name == "heat")
    assert [text for text in titles(heat) if "stolen" in text] == ["25% stolen"]
    assert heat.says.endswith("the host took more than 2% of this machine's CPU time (steal).")
    assert heat.table is not None
    assert heat.table.columns[-1].title == "stolen"
    assert "steal" not in charts("minute")["heat"].says


# -- counters


def test_counters_have_the_percentiles_of_their_histogram() -> None:
    latency = measured(run("minute").histograms, "latency")
    found = counted(latency.hdr)
    assert found is not None
    assert found.count == latency.count
    assert {name: found.percentile(name) for name in latency.percentiles} == latency.percentiles


def test_bins_have_every_value_once() -> None:
    found = counted(measured(run("minute").histograms, "latency").hdr)
    assert found is not None
    edges = np.geomspace(100_000, 1_000_000, 9)
    assert found.binned(edges).sum() == found.count


@pytest.mark.parametrize("hdr", [None, "", "x", "AAAA"])
def test_what_is_no_histogram_has_no_counters(hdr: str | None) -> None:
    assert counted(hdr) is None


# -- both ends


def test_the_waterfall_has_the_stages_of_the_table_and_their_shares() -> None:
    journey = charts("journey")["journey"]
    assert journey.table is not None
    stages = [row[0] for row in journey.table.rows if isinstance(row, tuple)][:-1]
    assert [text for text in texts(journey) if text in stages] == stages
    assert journey.says.startswith(run("journey").journey.diagnosis or "?")  # type: ignore[union-attr]


def test_the_balance_has_a_bar_for_each_worker_and_the_luck_of_a_hash() -> None:
    balance = charts("million")["balance"]
    assert len(titles(balance)) == 40
    assert {"mean", "usual"} <= set(texts(balance))
    assert "balance" not in charts("open_loop")  # no serve end of ours


def test_of_many_workers_the_busiest_are_shown() -> None:
    record = run("native")
    many = tuple(msgspec.structs.replace(record.workers[0], index=at) for at in range(100))
    found = drawn(msgspec.structs.replace(record, workers=many))
    [workers] = [chart for chart in found if chart.name == "workers"]
    assert "Of 102 workers the 24 busiest are shown." in workers.says
