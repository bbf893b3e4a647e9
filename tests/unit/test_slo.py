from __future__ import annotations

import msgspec
import pytest

import loadkit
from loadkit.errors import OptionError, RecordError
from loadkit.measure.names import TIMES
from loadkit.measure.samples import PhaseSamples
from loadkit.report.record import RunRecord, SloRecord, measured
from loadkit.report.slo import check, check_possible, parse_slo
from tests.golden.made_up import MS, US, S, exchanged, made_up_plan, made_up_record, made_up_samples, page, ramp, worker

_ERRORS = {("receive", "ECONNRESET"): 3}


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """10 s: 2,000 replies of 64 B after 1 ms, 20 after 5 ms; nothing is lost."""
    return _run(exchanged([MS] * 2_000 + [5 * MS] * 20, waited=7))


@pytest.fixture(scope="module")
def broken() -> RunRecord:
    """The same, and three connections that broke with a message each."""
    lost = {"intended": 5, "sent": 3, "failed": 3, "unsent": 2}
    return _run(exchanged([MS] * 2_000 + [5 * MS] * 20, errors=_ERRORS, waited=7, **lost))


def _run(hold: PhaseSamples, first: PhaseSamples | None = None, rate_hz: float | None = None) -> RunRecord:
    samples = made_up_samples(worker(0, first or ramp(100), page(), hold, page(), peak=100))
    return made_up_record(made_up_plan(rate_hz), samples)


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
        pytest.param("held.p97.5<1ms", "held.p97.5", "<", MS, id="any percentile"),
        pytest.param("latency.p0.01>1us", "latency.p0.01", ">", US, id="a low one"),
        pytest.param("error_ratio<1%", "error_ratio", "<", 0.01, id="a share in percent"),
        pytest.param("error_ratio==0", "error_ratio", "==", 0, id="no share at all"),
        pytest.param("phase=burst:held.max<1ms", "held.max", "<", MS, id="of a phase"),
    ],
)
def test_an_objective_is_read(text: str, figure: str, compare: str, bound: float) -> None:
    slo = parse_slo(text)
    assert (slo.figure.name, slo.compare, slo.bound) == (figure, compare, bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "FIGURE<VALUE", id="nothing"),
        pytest.param("latency.p99", "FIGURE<VALUE", id="no comparison"),
        pytest.param("latency.p99<", "FIGURE<VALUE", id="no value"),
        pytest.param("latency.p99=5ms", "FIGURE<VALUE", id="one equals sign"),
        pytest.param("latency.p100<5ms", "p99.9", id="p100 is the maximum"),
        pytest.param("latency.p0<5ms", "p99.9", id="p0 is the minimum"),
        pytest.param("latency.p00.0<5ms", "p99.9", id="p0 in other words"),
        pytest.param("latency.p9.9.9<5ms", "p99.9", id="a percentile that is no number"),
        pytest.param("latency.p<5ms", "p99.9", id="a percentile without its number"),
        pytest.param("latency.median<5ms", "p99.9", id="another part"),
        pytest.param("latency<5ms", "latency has .min, .mean, .max, or a percentile", id="a histogram without a part"),
        pytest.param("speed>3", "there are connect, handshake, first_byte, latency", id="nothing near it"),
        pytest.param("latncy.p99<5ms", "the nearest is latency.p99", id="a slip"),
        pytest.param("error_rate<1%", "the nearest is error_ratio", id="another tool's name"),
        pytest.param("p99<5ms", "the nearest are latency.p99, service.p99, connect.p99", id="a percentile alone"),
        pytest.param("error_ratio<1", "in percent such as 1%", id="a share without its sign"),
        pytest.param("error_ratio<5ms", "in percent such as 1%", id="a share in milliseconds"),
        pytest.param("phase=:latency.p99<5ms", "phase=NAME:NAME", id="a phase without a name"),
        pytest.param("target=x:latency.p99<5ms", "target=N:NAME", id="a target without a number"),
        pytest.param("rack=1:latency.p99<5ms", "LABEL:NAME", id="another key"),
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
        ("latency.p97.5<2ms", 1_000_447, True),
        ("latency.p1>=1ms", 1_000_447, True),
        ("intended==2020", 2_020, True),
        ("waited==7", 7, True),
        ("opened==100", 100, True),
        ("failed_connects==0", 0, True),
        ("replies_per_s>=202", 202, True),  # 2,020 in 10 s
        ("connects_per_s>100", 100, False),  # 100 in the 1 s of the ramp
        ("received_bytes_per_s>=12KiB", 12_928, True),  # 2,020 x 64 B in 10 s
    ],
)
def test_an_objective_is_held_against_the_record(expr: str, value: float, ok: bool, record: RunRecord) -> None:
    assert check([parse_slo(expr)], record) == (SloRecord(expr, value, ok),)


@pytest.mark.parametrize(
    ("expr", "value", "ok"),
    [
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
        ("error_ratio<1%", 5 / 2_025, True),  # 3 failed and 2 unsent of 2,025 due
        ("error_ratio<=0.2%", 5 / 2_025, False),
    ],
)
def test_counts_of_what_broke_are_held_against_the_record(expr: str, value: float, ok: bool, broken: RunRecord) -> None:
    assert check([parse_slo(expr)], broken) == (SloRecord(expr, value, ok),)


# -- what never came back


@pytest.fixture(scope="module")
def dropped() -> RunRecord:
    """10,000 messages: 2 % are sent and lost, the others are replied to after 1 ms."""
    return _run(exchanged([MS] * 9_800, intended=200, sent=200, failed=150, unanswered=50), rate_hz=1_000.0)


_NEVER = "never: 2.0 % of 10,000 did not come back"


@pytest.mark.parametrize(
    ("expr", "ok", "reason"),
    [
        pytest.param("latency.p99<5ms", False, _NEVER, id="p99 falls among the lost"),
        pytest.param("service.p99<1h", False, _NEVER, id="whatever the bound"),
        pytest.param("latency.p99>5ms", False, _NEVER, id="whichever way it is compared"),
        pytest.param("latency.p98.01<5ms", False, _NEVER, id="the first rank of the lost"),
        pytest.param("latency.p98<5ms", True, None, id="the last rank of those that came back"),
        pytest.param("latency.p90<5ms", True, None, id="p90"),
        pytest.param("latency.p50<5ms", True, None, id="p50"),
        pytest.param("latency.min<5ms", True, None, id="the lost are later than the first"),
        pytest.param("latency.max<1h", False, _NEVER, id="the lost are later than the last"),
        pytest.param("latency.mean<1h", False, _NEVER, id="a mean of what never came"),
        pytest.param("lateness.p99<5ms", True, None, id="all of them were sent"),
        pytest.param("lateness.max<5ms", True, None, id="none was sent late"),
        pytest.param("connect.max<5ms", True, None, id="all of the connections opened"),
    ],
)
def test_a_time_counts_what_never_came_back_as_late(
    expr: str, ok: bool, reason: str | None, dropped: RunRecord
) -> None:
    (row,) = check([parse_slo(expr)], dropped)
    assert (row.ok, row.reason, row.value is None) == (ok, reason, reason is not None)


def test_the_record_s_own_percentiles_are_of_what_came_back(dropped: RunRecord) -> None:
    latency = dropped.histograms["latency"]
    assert latency is not None
    assert latency.count == 9_800
    assert latency.percentiles["99"] == MS


def test_a_rank_among_those_that_came_back_is_counted_from_all() -> None:
    # 1,000 messages: 500 after 1 ms, 490 after 7 ms, 10 lost; of the 990 alone the median were 1 ms as well, p51 not.
    run = _run(exchanged([MS] * 500 + [7 * MS] * 490, intended=10, sent=10, failed=10))
    rows = check([parse_slo(text) for text in ("latency.p50<2ms", "latency.p50.1<2ms", "latency.p99<8ms")], run)
    assert [row.ok for row in rows] == [True, False, True]
    assert rows[2].value == 7 * MS


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        pytest.param("latency.p90<1h", "never: 20.0 % of 1,000 did not come back", id="due, and never sent: latency"),
        pytest.param("held.p90<1h", "never: 20.0 % of 1,000 were not sent", id="held"),
        pytest.param("service.p90<1h", None, id="what was sent came back"),
        pytest.param("lateness.p90<1h", None, id="what was sent was on time"),
    ],
)
def test_what_was_never_sent_is_late_where_it_counts_from_when_it_was_due(expr: str, reason: str | None) -> None:
    run = _run(exchanged([MS] * 800, intended=200, unsent=200), rate_hz=100.0)
    (row,) = check([parse_slo(expr)], run)
    assert (row.ok, row.reason) == (reason is None, reason)


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("connect.p90<1h", "never: 50.0 % of 200 did not open"),
        ("first_byte.p90<1h", "never: 20.0 % of 100 had no first byte"),
        ("connect.p50<1h", None),
        ("first_byte.p50<1h", None),
    ],
)
def test_connects_that_failed_and_first_bytes_that_never_came_are_late(expr: str, reason: str | None) -> None:
    first = exchanged(
        [US] * 80,
        histograms={"connect": [300 * US] * 100, "first_byte": [US] * 80},
        asked=200,
        opened=100,
        failed_connects=100,
    )
    (row,) = check([parse_slo(expr)], _run(exchanged([MS] * 1_000), first))
    assert (row.ok, row.reason) == (reason is None, reason)


@pytest.mark.parametrize(
    ("replied", "lost", "says"),
    [
        pytest.param(0, 7, "never: 100.0 % of 7 did", id="all of few: no support is needed to say never"),
        pytest.param(1, 9_999, "never: more than 99.9 % of 10,000 did", id="nearly all is not all"),
        pytest.param(999, 1, "never: 0.1 % of 1,000 did", id="one of a thousand"),
        pytest.param(99_999, 1, "never: 0.001 % of 100,000 did", id="one of a hundred thousand"),
    ],
)
def test_the_share_of_the_lost_is_never_rounded_to_none_or_to_all(replied: int, lost: int, says: str) -> None:
    run = _run(exchanged([MS] * replied, intended=lost, sent=lost, failed=lost))
    (row,) = check([parse_slo("latency.max<1h")], run)
    assert row.reason is not None
    assert row.reason.startswith(says)


def test_ten_lie_above_a_percentile_lost_ones_among_them() -> None:
    run = _run(exchanged([MS] * 995, intended=5, sent=5, failed=5))
    (row,) = check([parse_slo("latency.p99<5ms")], run)
    assert row.ok
    (row,) = check([parse_slo("latency.p99.1<5ms")], run)
    assert row.reason == "1,000 values do not support a p99.1: ten must lie above it"


@pytest.mark.parametrize("expr", ["lateness.p99<1ms", "held.max<1ms"])
def test_a_closed_loop_has_neither_lateness_nor_held(expr: str) -> None:
    objectives = [parse_slo("latency.p99<1ms"), parse_slo(expr)]
    check_possible(objectives, ["hold"], TIMES)
    check_possible(objectives[:1], ["hold"], {"latency"})
    with pytest.raises(OptionError, match=rf"^--slo: {expr}: a closed loop .* a --rate or --think, or leave it out$"):
        check_possible(objectives, ["hold"], {"latency"})
    (row,) = check(objectives[1:], _run(exchanged([MS] * 1_000)))
    assert row == SloRecord(expr, None, False, "closed loop: a message is due when the reply before it was read")


def test_a_program_is_told_so_too() -> None:
    run = _run(exchanged([MS] * 1_000))
    assert loadkit.check(run, "latency.p99<5ms")[0].ok
    with pytest.raises(OptionError, match="a closed loop has no held"):
        loadkit.check(run, "held.p99<5ms")


def test_a_damaged_histogram_is_one_line_that_names_it(dropped: RunRecord) -> None:
    latency = msgspec.structs.replace(measured(dropped.histograms, "latency"), hdr="rubbish")
    spoilt = msgspec.structs.replace(dropped, histograms=dropped.histograms | {"latency": latency})
    with pytest.raises(RecordError, match=r"^histograms\.latency cannot be read: .*$"):
        check([parse_slo("latency.p90<5ms")], spoilt)


# -- what there is none of


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


# -- of a part of the run


@pytest.fixture(scope="module")
def burst() -> RunRecord:
    """Two measured phases of 1,000 messages due: calm is answered in 1 ms, burst in 5 ms and loses 20."""
    calm, stormy = exchanged([MS] * 1_000), exchanged([5 * MS] * 980, intended=20, sent=20, failed=20)
    first, _, hold, drain = made_up_plan().load.phases
    phases = (first, *(msgspec.structs.replace(hold, name=name) for name in ("calm", "burst")), drain)
    samples = made_up_samples(worker(0, ramp(100), calm, stormy, page(), peak=100))
    return made_up_record(made_up_plan(phases=phases), samples)


@pytest.mark.parametrize(
    ("expr", "value", "reason"),
    [
        pytest.param("phase=calm:latency.p99<5ms", MS, None, id="a percentile of one phase"),
        pytest.param("phase=burst:latency.p90<1s", 5 * MS, None, id="and of another"),
        pytest.param(
            "phase=burst:latency.max<1s", None, "never: 2.0 % of 1,000 did not come back", id="its own losses"
        ),
        pytest.param("phase=calm:latency.max<1s", MS, None, id="not those of another phase"),
        pytest.param("phase=burst:error_ratio<1%", 0.02, None, id="a share"),
        pytest.param("error_ratio<2%", 0.01, None, id="of the whole run"),
        pytest.param("phase=calm:replied==1000", 1_000, None, id="a count"),
        pytest.param("phase=ramp:opened==100", 100, None, id="connections of the ramp"),
        pytest.param("phase=ramp:connect.max<1s", 300 * US + 99 * 10 * US, None, id="times of the ramp"),
        pytest.param(
            "phase=calm:latency.p99.9<1s", None, "1,000 values do not support a p99.9: ten must", id="too few"
        ),
        pytest.param("phase=drain:error_ratio<1%", None, "no message was due", id="nothing was due"),
        pytest.param("phase=lull:replied>0", None, "this run has no phase 'lull'; there are ramp,", id="no such phase"),
        pytest.param("get:latency.p99<1s", None, "this run has no labels; leave 'get:' out", id="no labels"),
        pytest.param("target=1:latency.p99<1s", None, "this run has no figures by target", id="no targets"),
        pytest.param("phase=calm:replies_per_s>1", None, "replies_per_s is of the measured time", id="not of a phase"),
    ],
)
def test_a_figure_of_a_phase_is_that_phases_own(
    expr: str, value: float | None, reason: str | None, burst: RunRecord
) -> None:
    (row,) = check([parse_slo(expr)], burst)
    assert row.value == value
    assert (row.reason is None) is (reason is None)
    assert (row.reason or "").startswith(reason or "")


def test_a_run_without_a_set_up_has_no_handshake(record: RunRecord) -> None:
    objectives = [parse_slo("handshake.p99<1s")]
    with pytest.raises(OptionError, match=r"^--slo: handshake.p99<1s: this run has no handshake, .* --first, "):
        check_possible(objectives, ["hold"], {"latency", "lateness", "held"})
    (row,) = check(objectives, record)
    assert (row.ok, row.reason) == (False, "no --first: nothing is said before the first message")


@pytest.mark.parametrize("expr", ["phase=lull:replied>0", "get:latency.p99<1s", "target=1:latency.p99<1s"])
def test_a_part_that_a_run_does_not_have_is_refused_before_it(expr: str) -> None:
    with pytest.raises(OptionError, match=rf"^--slo: {expr}: this run has no .*$"):
        check_possible([parse_slo(expr)], ["ramp", "hold"], TIMES)
    check_possible([parse_slo("phase=hold:replied>0")], ["ramp", "hold"], TIMES)


def test_objectives_keep_their_order(record: RunRecord) -> None:
    texts = ["errors==0", "latency.p99<5ms", "opened>=1"]
    assert [row.expr for row in check([parse_slo(text) for text in texts], record)] == texts


def test_the_plans_objectives_are_in_the_record() -> None:
    samples = made_up_samples(worker(0, ramp(), page(), exchanged([MS] * 1_000), page()))
    made = made_up_record(made_up_plan(slo=("latency.p50<1s",)), samples)
    assert [(row.expr, row.ok) for row in made.slo] == [("latency.p50<1s", True)]
    assert made.slo[0].value is not None
    assert made.slo[0].value < S
