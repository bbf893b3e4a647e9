from __future__ import annotations

import msgspec
import pytest

from loadkit.errors import OptionError
from loadkit.report.record import RunRecord, SloRecord
from loadkit.report.slo import check, parse_slo
from tests.golden.made_up import MS, US, S, exchanged, made_up_plan, made_up_record, made_up_samples, page, ramp, worker

_ERRORS = {("receive", "ECONNRESET"): 3}


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """10 s: 2,000 replies of 64 B after 1 ms, 20 after 5 ms, three connections that broke with a message each."""
    hold = exchanged([MS] * 2_000 + [5 * MS] * 20, errors=_ERRORS, intended=5, sent=3, failed=3, unsent=2, held=7)
    return made_up_record(made_up_plan(), made_up_samples(worker(0, ramp(100), page(), hold, page(), peak=100)))


@pytest.mark.parametrize(
    ("text", "figure", "compare", "bound"),
    [
        pytest.param("latency.p99<5ms", "latency.p99", "<", 5 * MS, id="a percentile"),
        pytest.param("connect.p99.9<100ms", "connect.p99.9", "<", 100 * MS, id="a percentile with a decimal"),
        pytest.param("errors==0", "errors", "==", 0, id="a count"),
        pytest.param("replies_per_s>=10k", "replies_per_s", ">=", 10_000, id="a rate"),
        pytest.param("received_bytes_per_s > 1MiB", "received_bytes_per_s", ">", 2**20, id="a size per second, spaced"),
        pytest.param(" service.mean <= 250us ", "service.mean", "<=", 250 * US, id="a mean"),
        pytest.param("failed!=1", "failed", "!=", 1, id="not equal"),
        pytest.param("lateness.max<0", "lateness.max", "<", 0, id="zero needs no unit"),
    ],
)
def test_an_objective_is_read(text: str, figure: str, compare: str, bound: float) -> None:
    slo = parse_slo(text)
    assert (slo.figure, slo.compare, slo.bound) == (figure, compare, bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "FIGURE<VALUE", id="nothing"),
        pytest.param("latency.p99", "FIGURE<VALUE", id="no comparison"),
        pytest.param("latency.p99<", "FIGURE<VALUE", id="no value"),
        pytest.param("latency.p99=5ms", "FIGURE<VALUE", id="one equals sign"),
        pytest.param("latency.p98<5ms", "p99.9", id="a percentile that is not recorded"),
        pytest.param("latency<5ms", "latency, ", id="a histogram without a part"),
        pytest.param("speed>3", "replies_per_s", id="a figure that there is not"),
        pytest.param("latency.p99<5", "unit", id="a duration without its unit"),
        pytest.param("errors==half", "whole number", id="a count that is none"),
        pytest.param("errors==0.5", "whole number", id="half an error"),
        pytest.param("replies_per_s>=10ms", "rate per second", id="a rate in milliseconds"),
    ],
)
def test_a_wrong_objective_is_refused_in_one_line_saying_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_slo(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--slo: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("expr", "value", "ok"),
    [
        ("latency.p50<2ms", 1_000_447, True),  # 1 ms, to three digits
        ("latency.p50<1ms", 1_000_447, False),
        ("latency.max<=5ms", 5 * MS, True),
        ("latency.max<5ms", 5 * MS, False),
        ("latency.min>=1ms", MS, True),
        ("latency.mean>2ms", 2_100 * MS / 2_020, False),  # (2,000 x 1 ms + 20 x 5 ms) / 2,020
        ("connect.max<1s", 300 * US + 99 * 10 * US, True),
        ("errors==0", 3, False),
        ("errors!=0", 3, True),
        ("errors<=3", 3, True),
        ("errors>3", 3, False),
        ("intended==2025", 2_025, True),
        ("sent==2023", 2_023, True),
        ("replied>=2020", 2_020, True),
        ("failed==3", 3, True),
        ("unanswered==0", 0, True),
        ("unsent<2", 2, False),
        ("held==7", 7, True),
        ("opened==100", 100, True),
        ("failed_connects==0", 0, True),
        ("replies_per_s>=202", 202, True),  # 2,020 in 10 s
        ("connects_per_s>100", 100, False),  # 100 in the 1 s of the ramp
        ("received_bytes_per_s>=12KiB", 12_928, True),  # 2,020 x 64 B in 10 s
    ],
)
def test_an_objective_is_held_against_the_record(expr: str, value: float, ok: bool, record: RunRecord) -> None:
    assert check([parse_slo(expr)], record) == (SloRecord(expr, value, ok),)


def test_a_percentile_that_the_count_does_not_support_is_not_met_and_says_so(record: RunRecord) -> None:
    (row,) = check([parse_slo("latency.p99.9<1s")], record)
    assert row == SloRecord(
        "latency.p99.9<1s", None, False, "2,020 values do not support a p99.9: ten must lie above it"
    )


@pytest.mark.parametrize("expr", ["latency.p50<1h", "latency.max<1h", "replies_per_s>=0"])
def test_what_was_not_measured_is_not_met(expr: str, record: RunRecord) -> None:
    samples = made_up_samples(worker(0, ramp(), page(), page(), page()), window_start_ns=None, window_end_ns=None)
    unmeasured = made_up_record(made_up_plan(), samples)
    (row,) = check([parse_slo(expr)], unmeasured)
    assert row == SloRecord(expr, None, False, "not measured")


def test_objectives_keep_their_order(record: RunRecord) -> None:
    texts = ["errors==0", "latency.p99<5ms", "opened>=1"]
    assert [row.expr for row in check([parse_slo(text) for text in texts], record)] == texts


def test_the_plans_objectives_are_in_the_record() -> None:
    samples = made_up_samples(worker(0, ramp(), page(), exchanged([MS] * 1_000), page()))
    made = made_up_record(msgspec.structs.replace(made_up_plan(), slo=("latency.p50<1s",)), samples)
    assert [(row.expr, row.ok) for row in made.slo] == [("latency.p50<1s", True)]
    assert made.slo[0].value is not None
    assert made.slo[0].value < S
