"""The interval log: hdrh's reader reads it, and its lines add up to the histograms of the record."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadkit.report.as_hlog import as_hlog
from loadkit.report.record import HistogramRecord, RunRecord
from tests.golden.made_up import RUNS
from tests.unit.odd_runs import ODD_RUNS, row_of, with_rows

Counts = dict[int, int]


def read_back(record: RunRecord, tmp_path: Path) -> dict[str, list[HdrHistogram]]:
    """The histograms of the log by their tags, as hdrh reads them."""
    path = tmp_path / "run.hlog"
    path.write_text(as_hlog(record))
    reader = HistogramLogReader(str(path), HdrHistogram(1, 10**9, 3))
    found = defaultdict(list)
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()].append(histogram)
    reader.close()
    return found


def counts_of(*histograms: HdrHistogram) -> Counts:
    total: Counts = defaultdict(int)
    for histogram in histograms:
        for one in histogram.get_recorded_iterator():
            total[one.value_iterated_to] += one.count_at_value_iterated_to
    return dict(total)


def ours(histogram: HistogramRecord | None) -> Counts:
    return {} if histogram is None else counts_of(HdrHistogram.decode(histogram.hdr))


@pytest.mark.parametrize("name", ODD_RUNS)
def test_the_lines_of_a_tag_add_up_to_the_histogram_of_the_phase(name: str, tmp_path: Path) -> None:
    record = ODD_RUNS[name]()
    found = read_back(record, tmp_path)
    known = {f"{phase.name}.{time}": one for phase in record.phases for time, one in phase.histograms.items()}
    assert {tag: counts_of(*lines) for tag, lines in found.items()} == {
        tag: ours(one) for tag, one in known.items() if one is not None and one.count
    }
    held = [phase.name for phase in record.phases if phase.kind == "hold"]
    lines = [line for phase in held for line in found[f"{phase}.latency"]]
    assert counts_of(*lines) == ours(record.histograms["latency"])


def test_there_is_a_line_for_each_interval_of_latency_and_one_for_each_other_histogram(tmp_path: Path) -> None:
    found = read_back(ODD_RUNS["rows that are all of it"](), tmp_path)
    assert {tag: len(lines) for tag, lines in found.items()} == {
        **dict.fromkeys(("ramp.connect", "ramp.first_byte", "ramp.latency", "ramp.service", "ramp.lateness"), 1),
        **dict.fromkeys(("hold.service", "hold.lateness", "ramp.held", "hold.held"), 1),
        "hold.latency": 3,
    }


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        pytest.param("rows that are some of it", 3, id="the rest has a line"),
        pytest.param("rows that are more than it", 1, id="rows of another run are left out"),
        pytest.param("no rows", 1, id="the phase is one line"),
    ],
)
def test_rows_that_are_not_all_of_a_phase(name: str, lines: int, tmp_path: Path) -> None:
    assert len(read_back(ODD_RUNS[name](), tmp_path)["hold.latency"]) == lines


def test_each_of_the_five_kinds_of_lines() -> None:
    text = as_hlog(with_rows([10**6] * 3, row_of(2, [10**6] * 4), row_of(3, [10**6, 1_234_567])))
    head, rows = text.splitlines()[:6], text.splitlines()[6:]
    assert head[:4] == [
        "#[Histogram log format version 1.3]",
        "#[BaseTime: 1767323045.678 (seconds since epoch)]",
        "#[StartTime: 1767323045.678 (seconds since epoch), 2026-01-02T03:04:05.678+00:00]",
        "#UNITS: values are in ns, Interval_Max in ms, of what came back",
    ]
    assert head[4].startswith("#loadkit ")
    assert head[5] == '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    assert all(re.fullmatch(r"Tag=[\w.-]+,\d+\.\d{3},\d+\.\d{3},\d+\.\d{3},HISTF[\w+/=]+", line) for line in rows)
    assert [line.partition(",")[2].rpartition(",")[0] for line in rows if line.startswith("Tag=hold.latency,")] == [
        "2.000,2.000,1.000"
    ]


def test_values_are_in_ns_and_the_maximum_is_in_ms(tmp_path: Path) -> None:
    record = with_rows([1_234_567] * 2, row_of(2, [1_234_567] * 4))
    [line] = [line for line in as_hlog(record).splitlines() if line.startswith("Tag=hold.latency,")]
    assert line.split(",")[1:4] == ["2.000", "1.000", "1.235"]
    [histogram] = read_back(record, tmp_path)["hold.latency"]
    assert histogram.get_min_value() <= 1_234_567 <= histogram.get_max_value()
    assert (histogram.get_start_time_stamp(), histogram.get_end_time_stamp()) == (1767323047678, 1767323048678)


def test_lines_are_in_the_order_of_their_beginnings() -> None:
    starts = [float(line.split(",")[1]) for line in as_hlog(ODD_RUNS["merged"]()).splitlines() if line[0] == "T"]
    assert starts == sorted(starts)
    assert len(starts) > 10


def test_names_of_phases_that_no_tag_can_have_stay_apart(tmp_path: Path) -> None:
    record = RUNS["open_loop"]()
    names = ["ho,ld", "ho ld", "ho\nld", "ho\x1b,ld"]
    phases = tuple(msgspec.structs.replace(record.phases[2], name=name) for name in names)
    found = read_back(msgspec.structs.replace(record, phases=phases), tmp_path)
    assert sorted(tag.removesuffix(".latency") for tag in found if tag.endswith(".latency")) == [
        "ho__ld",
        "ho_ld",
        "ho_ld-2",
        "ho_ld-3",
    ]


def test_a_run_before_1970_has_a_time_that_a_reader_knows(tmp_path: Path) -> None:
    record = msgspec.structs.replace(RUNS["open_loop"](), started="1901-01-01T00:00:00+00:00")
    assert read_back(record, tmp_path)["hold.latency"]
