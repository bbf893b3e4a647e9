"""The percentile spectrum as HdrHistogram prints it."""

from __future__ import annotations

import io
import re

import pytest
from hdrh.histogram import HdrHistogram

from loadkit.report.as_hgrm import as_hgrm
from loadkit.report.record import RunRecord
from tests.golden.made_up import US, made_up_plan, made_up_record, steady
from tests.unit.odd_runs import ODD_RUNS


def points_of(text: str) -> list[list[float]]:
    """The rows as plotters read them: lines that are numbers."""
    lines = [line.split() for line in text.splitlines()]
    return [list(map(float, line)) for line in lines if line and re.fullmatch(r"[0-9.]+", line[0])]


def run_of(*latencies: int) -> RunRecord:
    """A run of these latencies, of each worker."""
    return made_up_record(made_up_plan(), steady(list(latencies)))


def test_ten_values_have_the_lines_that_can_be_worked_out_by_hand() -> None:
    # Of each value there are two. Five ticks for each half of what is left to 100 %: steps of 10, from 50 % on of 5,
    # from 75 % on of 2.5, from 87.5 % on of 1.25. A value has a line for each level that it reaches.
    assert as_hgrm(run_of(*(100 * k for k in range(1, 6)))).splitlines() == [
        "       Value     Percentile TotalCount 1/(1-Percentile)",
        "",
        "     100.000 0.000000000000          2           1.00",
        "     100.000 0.100000000000          2           1.11",
        "     100.000 0.200000000000          2           1.25",
        "     200.000 0.300000000000          4           1.43",
        "     200.000 0.400000000000          4           1.67",
        "     300.000 0.500000000000          6           2.00",
        "     300.000 0.550000000000          6           2.22",
        "     300.000 0.600000000000          6           2.50",
        "     400.000 0.650000000000          8           2.86",
        "     400.000 0.700000000000          8           3.33",
        "     400.000 0.750000000000          8           4.00",
        "     400.000 0.775000000000          8           4.44",
        "     400.000 0.800000000000          8           5.00",
        "     500.000 0.825000000000         10           5.71",
        "     500.000 1.000000000000         10",
        "#[Mean    =      300.000, StdDeviation   =      141.421]",
        "#[Max     =      500.000, Total count    =           10]",
        "#[Buckets =           26, SubBuckets     =         2048]",
        "# values in ns: latency of what came back; 0 messages did not, and are not in it",
    ]


@pytest.mark.parametrize("name", ODD_RUNS)
def test_each_line_says_how_many_values_are_no_larger(name: str) -> None:
    record = ODD_RUNS[name]()
    latency = record.histograms["latency"]
    assert latency is not None
    points = points_of(as_hgrm(record))
    if not latency.count:
        assert points == []
        return
    known = HdrHistogram.decode(latency.hdr)
    for value, level, count, *_rest in points:
        assert count == sum(
            one.count_at_value_iterated_to for one in known.get_recorded_iterator() if one.value_iterated_from < value
        )
        assert count >= level * latency.count - 1e-6
    assert points[-1][:3] == [latency.max, 1, latency.count]
    assert [point[1] for point in points] == sorted({point[1] for point in points})


def test_its_values_and_its_end_are_those_that_hdrh_prints() -> None:
    """Its levels are others: HdrHistogram takes the whole part of the logarithm, hdrh all of it."""
    record = run_of(*((50 + k) * US for k in range(1_000)))
    latency = record.histograms["latency"]
    assert latency is not None
    out = io.BytesIO()
    HdrHistogram.decode(latency.hdr).output_percentile_distribution(out, 1)
    hdrh = out.getvalue().decode()
    assert as_hgrm(record).splitlines()[:3] == hdrh.splitlines()[:3]
    assert points_of(as_hgrm(record))[-1] == [latency.max, 1, latency.count]
    lines = [line for line in as_hgrm(record).splitlines() if "StdDeviation" in line]
    mine, other = (float(text.rpartition("=")[2].strip("] ")) for text in (*lines, *re.findall(r"#\[Mean.*", hdrh)))
    assert mine == pytest.approx(other, rel=1e-3)


def test_what_did_not_come_back_is_said() -> None:
    assert "latency of what came back; 1 messages did not" not in as_hgrm(ODD_RUNS["open_loop"]())
    record = ODD_RUNS["saturated"]()
    lost = record.messages.intended - record.messages.replied
    assert as_hgrm(record).splitlines()[-1].endswith(f"; {lost} messages did not, and are not in it")
