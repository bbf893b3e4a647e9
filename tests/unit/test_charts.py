"""Charts: what they draw is what the record has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from xml.etree.ElementTree import Element

import msgspec
import numpy as np
import pytest

from loadkit.report.charts.chart import Chart
from loadkit.report.charts.counted import counted, joined
from loadkit.report.charts.every import charts_of
from loadkit.report.charts.slices import MOST, slices_of
from loadkit.report.figures import shown
from loadkit.report.page import DEFAULT
from loadkit.report.record import RunRecord, SloRecord, measured
from tests.pictured import PICTURED

_NUMBERS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


@cache
def run(name: str) -> RunRecord:
    return PICTURED[name]()


@cache
def charts(name: str) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts_of(run(name), DEFAULT.percentiles)}


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
            elif part.tag == "path":
                assert all(-60 <= float(one) <= max(width, height) for one in _NUMBERS.findall(part.get("d") or ""))


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
    rows, slices = run(name).intervals, slices_of(run(name))
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
    slices = slices_of(msgspec.structs.replace(record, intervals=tuple(rows)))
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


def test_what_never_came_back_is_later_than_everything_and_drawn_as_never() -> None:
    lost = charts("saturated")["spectrum"]
    assert "never" in texts(lost)
    assert "never" not in texts(charts("minute")["spectrum"])


def test_an_objective_of_a_later_loadkit_is_not_drawn() -> None:
    later = msgspec.structs.replace(run("minute"), slo=(SloRecord("jitter.p95<5ms", 1.0, True),))
    [spectrum, *_] = charts_of(later, DEFAULT.percentiles)
    assert "jitter.p95<5ms: met" not in titles(spectrum)


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
    found = charts_of(msgspec.structs.replace(record, workers=many), DEFAULT.percentiles)
    [workers] = [chart for chart in found if chart.name == "workers"]
    assert "Of 102 workers the 24 busiest are shown." in workers.says
