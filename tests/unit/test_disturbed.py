"""Which percentiles of latency our own lateness and standstills changed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.report.disturbed import Change, find_changes, say_changes
from loadkit.report.histograms import histogram_record
from loadkit.report.record import HistogramRecord

MS = 10**6
_HIGHEST_NS = 60 * 10**9


def of(*values: int) -> HistogramRecord:
    return histogram_record(Histogram.of(values, _HIGHEST_NS), 0)


def names(latency: HistogramRecord, disturbed: HistogramRecord | None) -> list[str]:
    return [change.percentile for change in find_changes(latency, disturbed)]


@pytest.mark.parametrize(
    ("latency", "disturbed", "changed"),
    [
        # 1,000 values: p50 to p99 (the 990th, ten above it) are supported.
        pytest.param([MS] * 980 + [9 * MS] * 20, [9 * MS] * 20, ["99"], id="the tail is ours"),
        pytest.param([MS] * 980 + [9 * MS] * 20, [9 * MS] * 5, [], id="15 of 995 are left, and p99 is the 986th"),
        pytest.param([MS] * 1_000, [MS] * 999, [], id="what hits all alike changes nothing"),
        pytest.param([MS] * 1_000, [MS] * 1_000, ["50", "75", "90", "95", "99"], id="nothing is left"),
        pytest.param([MS] * 991 + [9 * MS] * 9, [9 * MS] * 9, [], id="the maximum is not tested"),
        # Without them p50 is the 400th of 800: 1 ms; with them the 500th, 1.09 ms or 1.12 ms.
        pytest.param([MS] * 490 + [109 * MS // 100] * 510, [109 * MS // 100] * 500, [], id="9 % is not more than 10 %"),
        pytest.param(
            [MS] * 490 + [112 * MS // 100] * 510, [112 * MS // 100] * 500, ["50", "75", "90", "95"], id="12 % is"
        ),
        pytest.param([MS] * 600 + [9 * MS] * 400, [MS] * 500, [], id="the fast ones were late: no message was slower"),
        pytest.param([MS] * 9, [MS] * 9, ["50"], id="of nine there is a median"),
        pytest.param([], [], [], id="nothing at all"),
    ],
)
def test_a_supported_percentile_that_differs_by_more_than_a_tenth_has_changed(
    latency: list[int], disturbed: list[int], changed: list[str]
) -> None:
    assert names(of(*latency), of(*disturbed)) == changed


def test_what_was_not_noted_changes_nothing() -> None:
    assert names(of(MS), None) == []


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60))
def test_messages_that_are_not_disturbed_change_nothing_and_all_of_them_everything(values: list[int]) -> None:
    latency = of(*values)
    supported = [name for name, value in latency.percentiles.items() if value is not None]
    assert names(latency, of()) == []
    assert names(latency, latency) == supported


def test_the_words_name_the_percentiles_and_the_last_one_s_figures() -> None:
    changes = (Change("99", 5 * MS, MS, 20), Change("99.9", 900 * MS, MS, 2))
    assert say_changes(changes) == ("latency p99 and p99.9 (p99.9 is 900 ms; 1 ms without the messages it hit)")
    assert say_changes((Change("50", MS, None, 9),)) == "latency p50: it hit every message"


def test_a_histogram_that_is_none_is_a_record_error() -> None:
    with pytest.raises(RecordError, match="histogram disturbed cannot be read"):
        find_changes(of(MS), msgspec.structs.replace(of(MS), hdr="no"))
    other = histogram_record(Histogram.of([MS], 10**9), 0)
    with pytest.raises(RecordError, match="different ranges"):
        find_changes(of(MS), other)
