from __future__ import annotations

import itertools
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadkit.errors import RecordError
from loadkit.measure.histogram import Histogram
from loadkit.profile.blast import Arrivals
from loadkit.report.merge import merge_records
from loadkit.report.reading import load
from loadkit.report.record import (
    Bytes,
    Finding,
    Kernel,
    Reason,
    RunRecord,
    ServerRecord,
    SloRecord,
    Standstills,
    Throttling,
    Verdict,
    Window,
    measured,
)
from loadkit.report.verdict import judged
from loadkit.report.writing import encode
from tests.golden.made_up import (
    HIGHEST_NS,
    HOLD_NS,
    MS,
    RUNS,
    START_NS,
    US,
    S,
    again,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    serve_end,
    worker,
)

_MINUTES = itertools.count()


def _drawn(record: RunRecord, arrivals: str, seed: int | None) -> RunRecord:
    load = msgspec.structs.replace(record.load, arrivals=Arrivals(arrivals), seed=seed)
    return msgspec.structs.replace(record, load=load)


@pytest.mark.parametrize(("seeds", "merged"), [((1, 2), None), ((1, 1), 1), ((1, None), None)])
def test_runs_with_different_seeds_are_added_up(seeds: tuple[int, int | None], merged: int | None) -> None:
    one, other = (_drawn(_record([MS]), "exp", seed) for seed in seeds)
    both = merge_records([one, other])
    assert both.messages.replied == 2
    assert both.load.seed == merged


def test_runs_with_different_arrivals_are_not_added_up() -> None:
    with pytest.raises(RecordError, match=r'load\.arrivals is "exp" in run 1, "even" in run 2'):
        merge_records([_drawn(_record([MS]), "exp", 1), _drawn(_record([MS]), "even", None)])


def _record(latencies: list[int], seconds: int = 10, opened: int = 100, **more: Any) -> RunRecord:
    """A run of one worker with an embedded server, `seconds` long, later than the last; `more` goes to its hold."""
    hold = exchanged(latencies, cpu_user_ns=seconds * MS, cpu_system_ns=len(latencies) * US, **more)
    one = worker(0, ramp(opened), page(), hold, page(), peak=opened, settled_ns=START_NS + seconds * S)
    serve, end_ns = serve_end((seconds * MS, MS)), HOLD_NS + seconds * S
    samples = made_up_samples(one, window_end_ns=end_ns, serve=serve, answered=opened)
    made = made_up_record(made_up_plan(400.0), samples)
    return again(made, next(_MINUTES))


def _figures(record: RunRecord) -> dict[str, Any]:
    """A record without what has an order: series, workers, reasons; and histograms as their counts."""
    fields: dict[str, Any] = msgspec.to_builtins(record)
    for key in ("intervals", "host"):
        del fields[key]
    for part in (fields, fields["server"]):
        part["workers"] = sorted(part["workers"], key=repr)
    fields["verdict"]["reasons"] = sorted(fields["verdict"]["reasons"], key=repr)
    for part in (fields, *fields["phases"]):
        for histogram in (
            *filter(None, part["histograms"].values()),
            *([part["disturbed"]] if "disturbed" in part else []),
        ):
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
    for name in ("latency", "service", "lateness", "held"):
        one, other = (measured(record.histograms, name) for record in (merged, together))
        assert (one.percentiles, one.count, one.sum, one.min, one.max, one.mean) == (
            (other.percentiles, other.count, other.sum, other.min, other.max, other.mean)
        )
    assert merged.messages == together.messages
    assert merged.bytes == together.bytes


def test_percentiles_are_not_averaged() -> None:
    merged = merge_records([_record([MS] * 9_900), _record([100 * MS] * 100)])
    p50, p99 = (measured(merged.histograms, "latency").percentiles[name] for name in ("50", "99"))
    assert p50 is not None
    assert p99 is not None
    assert abs(p50 - MS) < 0.001 * MS  # the average of both medians were 50 ms
    assert abs(p99 - MS) < 0.001 * MS


def test_a_percentile_that_no_run_supports_can_be_supported_by_all() -> None:
    runs = [_record([MS] * 500), _record([MS] * 500)]
    assert [measured(run.histograms, "latency").percentiles["99"] for run in runs] == [None, None]
    assert measured(merge_records(runs).histograms, "latency").percentiles["99"] is not None


def test_rates_are_totals_by_the_whole_time_and_not_their_average() -> None:
    merged = merge_records([_record([MS] * 1_000, seconds=1), _record([MS] * 1_000, seconds=9)])
    assert merged.rates.replies_per_s == 200  # 2,000 in 10 s; the average of 1,000/s and 111/s were 556/s
    # 99 after the first one in each: 198 by the sum of both times, and not the mean of two rates.
    assert merged.connecting
    assert merged.rates.connects_per_s == 198 * S / merged.connecting.duration_ns
    assert merged.window == Window(2 * S, 12 * S, 10 * S, 0, 2_000, 2_000, 128_000, 128_000)


def _beside(record: RunRecord, other: RunRecord) -> RunRecord:
    """The other run, at the time of this one."""
    return msgspec.structs.replace(other, started=record.started)


def test_two_generators_at_once_are_twice_the_rate_and_one_after_another_are_not() -> None:
    one, other = _record([MS] * 1_000, seconds=1), _record([MS] * 1_000, seconds=1)
    assert merge_records([one, other]).rates.replies_per_s == 1_000
    merged = merge_records([one, _beside(one, other)])
    assert (merged.merged, merged.in_a_row) == (2, 1)
    assert merged.rates.replies_per_s == 2_000
    # Each opened 99 after its first one in the same time, and had 100 open at once.
    assert merged.connecting
    assert one.connecting
    assert (merged.connecting.opened, merged.connecting.duration_ns) == (198, one.connecting.duration_ns)
    assert (merged.connections.peak, merged.connections.opened) == (200, 200)
    assert merged.window == Window(2 * S, 3 * S, 1 * S, 0, 2_000, 2_000, 128_000, 128_000)
    assert measured(merged.histograms, "latency").count == 2_000


def test_runs_side_by_side_are_judged_as_one_larger_load() -> None:
    one, other = _whole([]), _whole([])
    assert merge_records([one, _beside(one, other)]).verdict == one.verdict == Verdict("valid")
    fewer = _beside(one, _whole([], opened=97))  # of 200 connections 3 are missing
    assert [reason.code for reason in merge_records([one, fewer]).verdict.reasons] == ["incomplete"]


@pytest.mark.slow
@settings(max_examples=3)
@given(_RECORDS, _RECORDS, _RECORDS)
def test_merging_side_by_side_is_commutative_and_associative(one: RunRecord, two: RunRecord, three: RunRecord) -> None:
    window = msgspec.structs.replace(one.window or Window(0, 0, 0, 0, 0, 0, 0, 0), start_ns=0, end_ns=S)
    runs = [msgspec.structs.replace(run, started=one.started, window=window) for run in (one, two, three)]
    together = _figures(merge_records(runs))
    assert together == _figures(merge_records([merge_records(runs[:2]), runs[2]]))
    assert together == _figures(merge_records([merge_records(runs[1:]), runs[0]]))


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
    other = msgspec.structs.replace(again(one), server=msgspec.structs.replace(_server(one), bytes=None))
    assert _server(merge_records([one, again(one)])).bytes == Bytes(400, 400)
    for runs in ([one, other], [other, one], [other, again(other, 2)]):
        assert _server(merge_records(runs)).bytes is None


def _whole(slow: list[int], **more: Any) -> RunRecord:
    """A run of all the 4,000 messages that its schedule has; these are the slow ones, the others took 1 ms."""
    return _record([MS] * (4_000 - len(slow)) + slow, **more)


def test_what_the_runs_show_together_is_judged_and_not_the_verdicts_that_stand_in_them() -> None:
    one = _whole([])
    codes = [finding.code for finding in one.findings]
    assert (one.verdict, codes) == (Verdict("valid"), ["connect-rate-missed"])
    verdict = Verdict("suspect", (Reason("late", "of an older rule"),))
    other = msgspec.structs.replace(again(one), verdict=verdict, findings=(Finding("odd", ""),))
    for runs in ([one, other], [other, one]):
        merged = merge_records(runs)
        assert (merged.verdict, [finding.code for finding in merged.findings]) == (Verdict("valid"), codes)


@pytest.mark.slow
def test_what_makes_one_run_invalid_makes_the_sum_so() -> None:
    good, bad = _whole([]), _whole([])
    workers = tuple(msgspec.structs.replace(worker, died="killed by SIGKILL") for worker in bad.workers)
    bad = msgspec.structs.replace(bad, workers=workers, partial=True)
    fewer = _whole([], opened=97)
    for runs in ([good, bad, fewer], [fewer, bad, good]):
        verdict = merge_records(runs).verdict
        assert (verdict.state, [reason.code for reason in verdict.reasons]) == ("invalid", ["worker-died"])
    # Of 200 connections 3 are missing, 1.5 %; of 400, 0.8 %.
    assert [reason.code for reason in merge_records([good, fewer]).verdict.reasons] == ["incomplete"]
    assert merge_records([good, fewer, _whole([]), _whole([])]).verdict == Verdict("valid")


def test_a_disturbance_counts_by_what_it_changes_in_the_sum() -> None:
    def disturbed() -> RunRecord:
        slow = [400 * MS] * 50  # of 4,000: p99 is theirs; of 12,000 they are 0.4 %
        made = _whole(slow, histograms={"disturbed": slow, "standstill": [400 * MS]}, stood=50)
        longest = Standstills(1, 400 * MS, 400 * MS, 4 * S, 0)
        return judged(msgspec.structs.replace(made, standstills=longest))

    assert [reason.code for reason in disturbed().verdict.reasons] == ["stood-still"]
    assert [reason.code for reason in merge_records([disturbed(), disturbed()]).verdict.reasons] == ["stood-still"]
    few = merge_records([_whole([]), disturbed(), _whole([])])
    assert measured(few.histograms, "latency").percentiles["99"] == pytest.approx(MS, rel=0.001)
    changed = [reason.text for reason in few.verdict.reasons]
    assert len(changed) == 1
    assert "p99 and" not in changed[0]
    assert "p99.9" in changed[0]


def test_a_partial_record_makes_the_sum_partial() -> None:
    part = RUNS["interrupted"]()
    assert merge_records([part, again(part)]).partial
    assert not merge_records([_record([MS]), _record([MS])]).partial


def test_objectives_are_held_against_the_sum() -> None:
    def run(latency: int) -> RunRecord:
        hold = exchanged([latency] * 600)
        plan = made_up_plan(slo=("latency.p99<5ms",))
        made = made_up_record(plan, made_up_samples(worker(0, ramp(), page(), hold, page())))
        return again(made, next(_MINUTES))

    assert [slo.ok for slo in run(MS).slo] == [False]  # 600 support no p99
    assert [slo.ok for slo in merge_records([run(MS), run(MS)]).slo] == [True]
    assert [slo.ok for slo in merge_records([run(MS), run(9 * MS)]).slo] == [False]


def test_the_sum_is_held_against_the_objectives_of_each_run_once() -> None:
    def run(*slo: str) -> RunRecord:
        hold = exchanged([MS] * 600)
        made = made_up_record(made_up_plan(slo=slo), made_up_samples(worker(0, ramp(), page(), hold, page())))
        return again(made, next(_MINUTES))

    merged = merge_records([run("latency.p99<5ms"), run("errors==0", "latency.p99<5ms"), run()])
    assert [(slo.expr, slo.ok) for slo in merged.slo] == [("latency.p99<5ms", True), ("errors==0", True)]


def test_the_series_are_put_end_to_end() -> None:
    once = RUNS["closed_loop"]()
    assert [row.t_s for row in merge_records([once, again(once)]).intervals] == [3.0, 4.0, 7.0, 8.0]


def test_a_damaged_histogram_is_refused_by_name() -> None:
    one = _record([MS])
    spoilt = one.histograms | {"latency": msgspec.structs.replace(measured(one.histograms, "latency"), hdr="rubbish")}
    with pytest.raises(RecordError, match="histogram latency cannot be merged"):
        merge_records([one, msgspec.structs.replace(again(one), histograms=spoilt)])


def test_one_record_alone_stays_as_it_is() -> None:
    one = _record([MS] * 3)
    assert reduce(lambda record, _: merge_records([record]), range(3), one) is one


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
    spoilt = one.histograms | {"latency": msgspec.structs.replace(measured(one.histograms, "latency"), **changes)}
    with pytest.raises(RecordError, match="histogram latency cannot be merged") as caught:
        merge_records([one, msgspec.structs.replace(again(one), histograms=spoilt)])
    assert says in str(caught.value)


def test_an_empty_histogram_with_a_max_is_refused() -> None:
    one = _record([])
    spoilt = one.histograms | {"latency": msgspec.structs.replace(measured(one.histograms, "latency"), max=MS)}
    with pytest.raises(RecordError, match="its max, 1000000, is not that of its encoding"):
        merge_records([one, msgspec.structs.replace(again(one), histograms=spoilt)])


def test_what_a_merged_histogram_counts_is_in_its_encoding() -> None:
    latency = measured(merge_records([_record([MS] * 3), _record([7 * MS] * 2)]).histograms, "latency")
    assert Histogram.decode(latency.hdr, latency.sum).count == latency.count == 5


def test_an_objective_of_a_later_loadkit_is_refused_as_the_records_fault() -> None:
    later = msgspec.structs.replace(_record([MS]), slo=(SloRecord("jitter_ratio<1%", 0.001, True),))
    with pytest.raises(RecordError, match=r"jitter_ratio<1%.*upgrade loadkit"):
        merge_records([later, again(later)])


def test_wake_ups_are_added_batch_by_batch() -> None:
    one = RUNS["native"]()
    both = merge_records([one, again(one)])
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
    both = merge_records([one, msgspec.structs.replace(again(one), wakeups=None, wakeups_missing="no counter")])
    assert (both.wakeups, both.wakeups_missing) == (None, "no counter")
    assert _server(both).wakeups is not None


# -- what a merged record has


def test_a_merged_record_has_the_runs_in_it_and_an_id_made_of_theirs() -> None:
    one, two, three = (_record([MS]) for _ in range(3))
    merged = merge_records([one, two, three])
    assert merged.run.of == tuple(sorted(record.run.id for record in (one, two, three)))
    assert merged.run.id not in merged.run.of
    assert merged.run == merge_records([three, merge_records([two, one])]).run
    assert merged.run.id != merge_records([one, two]).run.id
    begins = [span.start for span in merged.run.spans]
    assert begins == sorted(begins)
    assert len({*begins}) == 3


def test_the_start_of_a_merged_record_is_the_earliest_whatever_its_time_zone() -> None:
    early = msgspec.structs.replace(_record([MS]), started="2026-01-02T09:00:00.000+02:00")
    late = msgspec.structs.replace(_record([MS]), started="2026-01-02T08:00:00.000+00:00")
    for runs in ([early, late], [late, early]):
        assert merge_records(runs).started == early.started


def test_what_happened_between_the_edges_of_the_windows_is_added() -> None:
    window = Window(2 * S, 12 * S, 10 * S, 7, 11, 13, 17, 19)
    runs = [msgspec.structs.replace(_record([MS]), window=window) for _ in range(2)]
    merged = merge_records(runs).window
    assert merged == Window(2 * S, 22 * S, 20 * S, 14, 22, 26, 34, 38)


def test_connections_at_the_start_and_lost_ones_are_added() -> None:
    runs = []
    for at_start, lost in ((90, 3), (95, 4)):
        made = _record([MS])
        connections = msgspec.structs.replace(made.connections, at_start=at_start, lost=lost)
        runs.append(msgspec.structs.replace(made, connections=connections))
    merged = merge_records(runs).connections
    assert (merged.at_start, merged.lost) == (185, 7)
    unknown = msgspec.structs.replace(runs[1].connections, at_start=None)
    runs[1] = msgspec.structs.replace(runs[1], connections=unknown)
    # Of a run without a window it is the most that were ever open: 90 and the 100 of its peak.
    assert (merge_records(runs).connections.at_start, merge_records(runs).connections.lost) == (190, 7)


def test_disturbances_are_added_and_the_longest_standstill_is_kept() -> None:
    short = Standstills(1, 30 * MS, 30 * MS, 4 * S, 1)
    long = Standstills(2, 90 * MS, 60 * MS, 3 * S, 0)
    one = msgspec.structs.replace(_record([MS]), standstills=short, stood=5, throttling=Throttling(100, 3, 40 * MS))
    two = msgspec.structs.replace(_record([MS]), standstills=long, stood=6, throttling=Throttling(50, 1, 10 * MS))
    none = msgspec.structs.replace(_record([MS]), standstills=Standstills(0, 0, None, None, None), stood=0)
    for runs in ([one, two, none], [none, two, one]):
        merged = merge_records(runs)
        assert merged.standstills == Standstills(3, 120 * MS, 60 * MS, 3 * S, 0)
        assert merged.stood == 11
        assert merged.throttling == Throttling(150, 4, 50 * MS)
        assert merged.disturbed is not None
        assert merged.disturbed.count == sum(run.disturbed.count for run in runs if run.disturbed)
    unknown = msgspec.structs.replace(one, stood=None, standstills=None, disturbed=None)
    merged = merge_records([two, unknown])
    assert (merged.stood, merged.standstills, merged.disturbed) == (None, None, None)


def test_disturbed_latencies_are_those_of_all_runs() -> None:
    runs = [_record([MS, 40 * MS], histograms={"disturbed": [40 * MS]}, stood=1) for _ in range(2)]
    merged = merge_records(runs)
    assert merged.disturbed is not None
    assert (merged.disturbed.count, merged.disturbed.max, merged.stood) == (2, 40 * MS, 2)


def test_a_closed_loop_has_no_lateness_and_keeps_the_reason() -> None:
    one = RUNS["closed_loop"]()
    merged = merge_records([one, again(one)])
    assert merged.histograms["lateness"] is None
    assert merged.histograms_missing == one.histograms_missing != {}


def test_what_is_of_one_run_alone_is_left_out_with_the_reason() -> None:
    one = RUNS["crowd"]()
    assert (one.opening is None, one.memory is None, one.closing_ns is None) == (False, False, False)
    merged = merge_records([one, again(one), again(one, 2)])
    for name in ("opening", "memory", "closing"):
        assert getattr(merged, f"{name}_missing") == "merged: each of the runs has its own"
    assert (merged.opening, merged.memory, merged.closing_ns) == (None, None, None)
    # Of neither run there was any, for a reason of its own.
    assert (merged.kernel_missing, merged.tcp_missing) == (one.kernel_missing, one.tcp_missing)
    assert merged.kernel_missing
    kernel = msgspec.structs.replace(one, kernel=Kernel({}, {}, {}, {}, ()), kernel_missing=None)
    for runs in ([kernel, again(one)], [again(one), kernel], [kernel, again(kernel)]):
        assert merge_records(runs).kernel_missing == "merged: each of the runs has its own"


def test_sums_beyond_64_bits_are_added_written_and_read(tmp_path: Path) -> None:
    made = _record([MS] * 2_000)
    latency = msgspec.structs.replace(measured(made.histograms, "latency"), sum=2**63 - 1)
    runs = [msgspec.structs.replace(made, histograms=made.histograms | {"latency": latency}) for _ in range(2)]
    merged = merge_records([runs[0], again(runs[1])])
    total = measured(merged.histograms, "latency")
    assert (total.sum, total.mean) == (2**64 - 2, (2**64 - 2) / 4_000)
    path = tmp_path / "run.json"
    path.write_text(encode(merged))
    assert load(str(path)).histograms == merged.histograms


def _server(record: RunRecord) -> ServerRecord:
    assert record.server is not None
    return record.server
