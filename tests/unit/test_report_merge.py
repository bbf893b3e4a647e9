from __future__ import annotations

from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.plan.model import ServePlan, Target
from loadkit.profile.model import EngineName
from loadkit.report.merge import merge_records
from loadkit.report.record import Bytes, RunRecord, ServerRecord, SloRecord, Window
from tests.golden.made_up import (
    HIGHEST_NS,
    HOLD_NS,
    MS,
    REMOTE,
    RUNS,
    START_NS,
    US,
    S,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    serve_end,
    worker,
)


def _record(latencies: list[int], seconds: int = 10, opened: int = 100, **more: Any) -> RunRecord:
    """A run of one worker with an embedded server, `seconds` long; `more` goes to its hold."""
    hold = exchanged(latencies, cpu_user_ns=seconds * MS, cpu_system_ns=len(latencies) * US, **more)
    one = worker(0, ramp(opened), page(), hold, page(), peak=opened, settled_ns=START_NS + seconds * S)
    return made_up_record(
        made_up_plan(), made_up_samples(one, window_end_ns=HOLD_NS + seconds * S, serve=serve_end((seconds * MS, MS)))
    )


def _figures(record: RunRecord) -> dict[str, Any]:
    """A record without what has an order: series, workers, reasons; and histograms as their counts."""
    fields: dict[str, Any] = msgspec.to_builtins(record)
    for key in ("intervals", "host"):
        del fields[key]
    for part in (fields, fields["server"]):
        part["workers"] = sorted(part["workers"], key=repr)
    fields["verdict"]["reasons"] = sorted(fields["verdict"]["reasons"], key=repr)
    for part in (fields, *fields["phases"]):
        for histogram in part["histograms"].values():
            counts = Histogram.decode(histogram.pop("hdr"), histogram["sum"]).counts
            histogram["counts"] = counts.nonzero()[0].tolist(), counts[counts.nonzero()].tolist()
    return fields


_RECORDS = st.builds(
    _record,
    st.lists(st.integers(1, HIGHEST_NS // 2), max_size=30),
    st.integers(1, 10),
    st.integers(1, 100),
    errors=st.dictionaries(
        st.sampled_from([("receive", "ECONNRESET"), ("receive", "WRONG_BYTES"), ("send", "EPIPE")]), st.integers(1, 9)
    ),
)


@pytest.mark.slow
@settings(max_examples=10)
@given(_RECORDS, _RECORDS)
def test_merging_is_commutative(left: RunRecord, right: RunRecord) -> None:
    assert _figures(merge_records([left, right])) == _figures(merge_records([right, left]))


@pytest.mark.slow
@settings(max_examples=10)
@given(_RECORDS, _RECORDS, _RECORDS)
def test_merging_is_associative(one: RunRecord, two: RunRecord, three: RunRecord) -> None:
    to_the_left = merge_records([merge_records([one, two]), three])
    to_the_right = merge_records([one, merge_records([two, three])])
    assert _figures(to_the_left) == _figures(to_the_right) == _figures(merge_records([one, two, three]))


@pytest.mark.slow
@settings(max_examples=10)
@given(st.lists(st.lists(st.integers(1, HIGHEST_NS // 2), max_size=300), min_size=1, max_size=4))
def test_merged_percentiles_are_those_of_all_values_together(runs: list[list[int]]) -> None:
    merged = merge_records([_record(latencies) for latencies in runs])
    together = _record([value for latencies in runs for value in latencies])
    for name in ("latency", "service", "lateness"):
        one, other = merged.histograms[name], together.histograms[name]
        assert (one.percentiles, one.count, one.sum, one.min, one.max, one.mean) == (
            (other.percentiles, other.count, other.sum, other.min, other.max, other.mean)
        )
    assert merged.messages == together.messages
    assert merged.bytes == together.bytes


def test_percentiles_are_not_averaged() -> None:
    merged = merge_records([_record([MS] * 9_900), _record([100 * MS] * 100)])
    p50, p99 = (merged.histograms["latency"].percentiles[name] for name in ("50", "99"))
    assert p50 is not None
    assert p99 is not None
    assert abs(p50 - MS) < 0.001 * MS  # the average of both medians were 50 ms
    assert abs(p99 - MS) < 0.001 * MS


def test_a_percentile_that_no_run_supports_can_be_supported_by_all() -> None:
    runs = [_record([MS] * 500), _record([MS] * 500)]
    assert [run.histograms["latency"].percentiles["99"] for run in runs] == [None, None]
    assert merge_records(runs).histograms["latency"].percentiles["99"] is not None


def test_rates_are_totals_by_the_whole_time_and_not_their_average() -> None:
    merged = merge_records([_record([MS] * 1_000, seconds=1), _record([MS] * 1_000, seconds=9)])
    assert merged.rates.replies_per_s == 200  # 2,000 in 10 s; the average of 1,000/s and 111/s were 556/s
    assert merged.rates.connects_per_s == 20  # 200 in 10 s
    assert merged.window == Window(2 * S, 12 * S, 10 * S)


def test_cpu_per_reply_weighs_each_run_by_its_replies() -> None:
    merged = merge_records([_record([MS] * 1_000, seconds=1), _record([MS] * 3_000, seconds=3)])
    blast, serve = merged.cpu_per_reply_ns["blast"], merged.cpu_per_reply_ns["serve"]
    assert blast is not None
    assert serve is not None
    assert (blast.user_ns, blast.system_ns) == (1_000, 1_000)  # 4 ms and 4 ms by 4,000
    assert (serve.user_ns, serve.system_ns) == (2_000, 1_000)  # 2 workers: 2 x 4 ms and 2 x 2 ms by 4,000


def test_counts_errors_and_both_ends_are_added_and_the_peak_is_the_higher_one() -> None:
    runs = [_record([MS], errors={("send", "EPIPE"): 2}), _record([MS], opened=90, errors={("send", "EPIPE"): 3})]
    merged = merge_records(runs)
    assert merged.merged == 2
    assert (merged.connections.opened, merged.connections.peak) == (190, 100)
    assert [(row.error, row.count) for row in merged.errors] == [("EPIPE", 5)]
    assert [sum(row.count for row in phase.errors) for phase in merged.phases] == [0, 0, 5, 0]
    assert len(merged.workers) == 2
    assert merged.server is not None
    assert (merged.server.accepted, len(merged.server.workers)) == (200, 4)


def test_bytes_that_one_serve_end_did_not_count_are_unknown_of_both() -> None:
    one = _record([MS])
    other = msgspec.structs.replace(one, server=msgspec.structs.replace(_server(one), bytes=None))
    assert _server(merge_records([one, one])).bytes == Bytes(400, 400)
    for runs in ([one, other], [other, one], [other, other]):
        assert _server(merge_records(runs)).bytes is None


def test_the_worse_verdict_holds_with_the_reasons_of_all() -> None:
    good, bad = _record([MS] * 1_000), _record([MS] * 10)
    merged = merge_records([good, bad])
    assert (good.verdict.state, bad.verdict.state, merged.verdict.state) == ("valid", "suspect", "suspect")
    assert merged.verdict.reasons == bad.verdict.reasons


def test_a_partial_record_makes_the_sum_partial() -> None:
    part = RUNS["interrupted"]()
    assert merge_records([part, part]).partial
    assert not merge_records([_record([MS]), _record([MS])]).partial


def test_objectives_are_held_against_the_sum() -> None:
    def run(latency: int) -> RunRecord:
        hold = exchanged([latency] * 600)
        plan = made_up_plan(slo=("latency.p99<5ms",))
        return made_up_record(plan, made_up_samples(worker(0, ramp(), page(), hold, page())))

    assert [slo.ok for slo in run(MS).slo] == [False]  # 600 support no p99
    assert [slo.ok for slo in merge_records([run(MS), run(MS)]).slo] == [True]
    assert [slo.ok for slo in merge_records([run(MS), run(9 * MS)]).slo] == [False]


def test_the_series_are_put_end_to_end() -> None:
    once = RUNS["closed_loop"]()
    assert [row.t_s for row in merge_records([once, once]).intervals] == [3.0, 4.0, 7.0, 8.0]


def _run_of(plan: Any) -> RunRecord:
    return made_up_record(plan, made_up_samples(worker(0, ramp(), page(), exchanged([MS]), page())))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"depth": 4}, ["plan.depth", "1 in one", "4 in another"], id="depth"),
        pytest.param({"size_bytes": 128}, ["plan.size_bytes", "64", "128"], id="size"),
        pytest.param({"connections": 50}, ["plan.connections", "100", "50"], id="connections"),
        pytest.param({"workers": 3}, ["plan.workers", "2", "3"], id="workers"),
        pytest.param(
            {"target": Target("b", ("10.0.0.2",), 7000)}, ["plan.target", "10.0.0.1", "10.0.0.2"], id="target"
        ),
        pytest.param({"slo": ("errors==0",)}, ["plan.slo", "[]", "errors==0"], id="slo"),
    ],
)
def test_unlike_runs_are_refused_naming_the_key_and_both_values(changes: dict[str, Any], says: list[str]) -> None:
    plan = made_up_plan(target=REMOTE)
    with pytest.raises(RecordError) as caught:
        merge_records([_run_of(plan), _run_of(msgspec.structs.replace(plan, **changes))])
    assert "\n" not in str(caught.value)
    for words in says:
        assert words in str(caught.value)


def test_records_of_another_engine_are_refused() -> None:
    one = _record([MS])
    other = msgspec.structs.replace(one, tool=msgspec.structs.replace(one.tool, engine="asyncio"))
    with pytest.raises(RecordError, match=r'tool\.engine is "uvloop 0\.22\.1" in one, "asyncio" in another'):
        merge_records([one, other])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"target": Target("db.example", ("10.0.0.1",), 9999)}, id="the port"),
        pytest.param({"cores": (7,)}, id="the cores"),
        pytest.param(
            {"serve": ServePlan(("127.0.0.1",), 9, EngineName.UVLOOP, 2, (5,))}, id="the serve end's port and cores"
        ),
        pytest.param({"profile": "steady"}, id="the profile's name"),
    ],
)
def test_another_start_of_the_same_plan_merges(changes: dict[str, Any]) -> None:
    plan = made_up_plan(target=REMOTE, serve=ServePlan(("127.0.0.1",), 8, EngineName.UVLOOP, 2, (4,)))
    merged = merge_records([_run_of(plan), _run_of(msgspec.structs.replace(plan, **changes))])
    assert merged.messages.replied == 2


def test_a_damaged_histogram_is_refused_by_name() -> None:
    one = _record([MS])
    spoilt = one.histograms | {"latency": msgspec.structs.replace(one.histograms["latency"], hdr="rubbish")}
    with pytest.raises(RecordError, match="histogram latency cannot be merged"):
        merge_records([one, msgspec.structs.replace(one, histograms=spoilt)])


def test_one_record_alone_stays_as_it_is() -> None:
    one = _record([MS] * 3)
    assert reduce(lambda record, _: merge_records([record]), range(3), one) == one


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"max": 1}, "its max, 1, is not", id="a max below its values would drop them from the encoding"),
        pytest.param({"max": 2**36}, "its max, 68719476736, is not", id="a max out of range would end the process"),
        pytest.param({"max": None}, "its max, None, is not", id="values, and no max"),
        pytest.param({"min": 2 * MS}, "its min, 2000000, is not", id="a min above its values"),
        pytest.param({"count": 4}, "its count, 4, is not that of its encoding, 3", id="another count"),
    ],
)
def test_a_histogram_at_odds_with_its_encoding_is_refused(changes: dict[str, Any], says: str) -> None:
    one = _record([MS] * 3)
    spoilt = one.histograms | {"latency": msgspec.structs.replace(one.histograms["latency"], **changes)}
    with pytest.raises(RecordError, match="histogram latency cannot be merged") as caught:
        merge_records([one, msgspec.structs.replace(one, histograms=spoilt)])
    assert says in str(caught.value)


def test_an_empty_histogram_with_a_max_is_refused() -> None:
    one = _record([])
    spoilt = one.histograms | {"latency": msgspec.structs.replace(one.histograms["latency"], max=MS)}
    with pytest.raises(RecordError, match="its max, 1000000, is not that of its encoding"):
        merge_records([one, msgspec.structs.replace(one, histograms=spoilt)])


def test_what_a_merged_histogram_counts_is_in_its_encoding() -> None:
    latency = merge_records([_record([MS] * 3), _record([7 * MS] * 2)]).histograms["latency"]
    assert Histogram.decode(latency.hdr, latency.sum).count == latency.count == 5


def test_an_objective_of_a_later_loadkit_is_refused_as_the_records_fault() -> None:
    later = msgspec.structs.replace(_record([MS]), slo=(SloRecord("latency.p95<5ms", MS, True),))
    with pytest.raises(RecordError, match=r"latency\.p95<5ms.*upgrade loadkit"):
        merge_records([later, later])


def test_wake_ups_are_added_batch_by_batch() -> None:
    one = RUNS["native"]()
    both = merge_records([one, one])
    for single, merged in ((one.wakeups, both.wakeups), (_server(one).wakeups, _server(both).wakeups)):
        assert single is not None
        assert merged is not None
        assert (merged.waits, merged.events, merged.busy_ns) == (
            2 * single.waits,
            2 * single.events,
            2 * single.busy_ns,
        )
        assert merged.flags["IN"] == 2 * single.flags["IN"] > 0
        assert merged.batch.count == 2 * single.batch.count == merged.wakeups
        assert merged.batch.unit == "events"
        assert merged.batch.percentiles["50"] == single.batch.percentiles["50"]


def test_wake_ups_that_one_run_did_not_count_are_not_known_of_both() -> None:
    one = RUNS["native"]()
    both = merge_records([one, msgspec.structs.replace(one, wakeups=None)])
    assert both.wakeups is None
    assert _server(both).wakeups is not None


def _server(record: RunRecord) -> ServerRecord:
    assert record.server is not None
    return record.server
