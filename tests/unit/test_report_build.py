from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.measure.run_samples import WorkerEnd
from loadkit.measure.series import IntervalLatency, IntervalSample
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.report.as_text import as_text
from loadkit.report.build import build_record
from loadkit.report.rates import UNMEASURED_PHASES
from loadkit.report.record import Advised, Bytes, Messages, RunRecord, Standstills, Window, measured
from tests.golden.made_up import (
    HIGHEST_NS,
    HOLD_NS,
    MS,
    REMOTE,
    START_NS,
    US,
    S,
    exchanged,
    made_up_plan,
    made_up_samples,
    page,
    ramp,
    serve_end,
    steady,
    worker,
)
from tests.unit.made_up import made_up_host


def _build(plan: Any = None, *workers: Any, **changes: Any) -> RunRecord:
    return build_record(plan or made_up_plan(), made_up_host(), made_up_samples(*workers, **changes))


def test_the_top_level_is_the_measured_window_alone() -> None:
    one = worker(0, ramp(), exchanged([9 * MS] * 7), exchanged([MS] * 100), exchanged([8 * MS] * 3))
    record = _build(made_up_plan(10.0), one)
    assert record.messages == Messages(100, 100, 100, 0, 0, 0, 0)
    assert (record.bytes.sent, record.bytes.received) == (6_400, 6_400)
    names = ("latency", "service", "lateness", "held")
    assert [measured(record.histograms, name).count for name in names] == [100, 100, 100, 100]
    assert measured(record.histograms, "latency").max == MS
    assert record.window == Window(2 * S, 12 * S, 10 * S, 0, 100, 100, 6_400, 6_400)
    assert record.rates.replies_per_s == 10  # 100 in 10 s
    assert [phase.messages.replied for phase in record.phases] == [50, 7, 100, 3]


def test_rates_and_shares_are_of_what_happened_between_the_edges_whatever_phase_it_is_of() -> None:
    # Of the 100 that the hold was due, 40 came back in the drain; 20 of the warm-up came in the hold.
    moved: dict[str, Any] = {"sent_bytes": 90 * 64 - 100 * 64, "received_bytes": 80 * 64 - 100 * 64}
    hold = exchanged([MS] * 100, window_sent=-10, window_replied=-20, cpu_user_ns=160 * MS, **moved)
    record = _build(None, worker(0, ramp(), page(), hold, page()))
    assert record.messages.replied == record.messages.sent == 100
    assert record.window == Window(2 * S, 12 * S, 10 * S, 0, 90, 80, 5_760, 5_120)
    assert record.bytes == Bytes(5_760, 5_120)
    rates = record.rates
    assert (rates.replies_per_s, rates.sent_bytes_per_s, rates.received_bytes_per_s) == (8, 576, 512)
    blast = record.cpu_per_reply_ns["blast"]
    assert blast is not None
    assert blast.user_ns == 2 * MS  # 160 ms divided by 80
    assert record.workers[0].replied == 80


def test_a_closed_loop_has_no_lateness_and_no_held_and_says_why() -> None:
    record = _build(None, worker(0, ramp(), page(), exchanged([MS] * 100), page()))
    assert (record.histograms["lateness"], record.histograms["held"]) == (None, None)
    missing = dict(record.histograms_missing)
    assert "no --first" in missing.pop("handshake")
    assert {*missing} == {"lateness", "held"}
    assert all("closed loop" in reason for reason in missing.values())
    assert [(phase.histograms["lateness"], phase.histograms["held"]) for phase in record.phases] == [(None, None)] * 4
    open_loop = _build(made_up_plan(10.0), worker(0, ramp(), page(), page(), page()))
    assert {*open_loop.histograms_missing} == {"handshake"}


def test_disturbances_are_those_of_the_measured_phases_and_the_longest_names_its_worker() -> None:
    def stood(*lengths: int, disturbed: tuple[int, ...] = (), count: int = 0) -> Any:
        return page({"standstill": lengths, "disturbed": disturbed}, stood=count)

    one = worker(0, ramp(), stood(9 * S), stood(20 * MS, disturbed=(30 * MS,), count=1), page(), standstill_ns=20 * MS)
    two = worker(
        1,
        ramp(),
        page(),
        stood(30 * MS, 40 * MS, disturbed=(50 * MS, 60 * MS), count=1),
        stood(9 * S),
        standstill_ns=40 * MS,
        standstill_at_ns=START_NS + 3 * S,
    )
    record = _build(made_up_plan(10.0), one, two)
    assert record.standstills == Standstills(3, 90 * MS, 40 * MS, 3 * S, 1)
    assert record.disturbed is not None
    assert (record.disturbed.count, record.disturbed.sum, record.stood) == (3, 140 * MS, 2)
    assert [(worker.standstills, worker.standstill_ns) for worker in record.workers] == [(1, 20 * MS), (2, 70 * MS)]
    none = _build(None, worker(0, ramp(), stood(9 * S), page(), page())).standstills
    assert none == Standstills(0, 0, None, None, None)


def test_connections_at_the_start_and_lost_ones_are_told_apart() -> None:
    reset, wrong = ("receive", "ECONNRESET"), ("send", "EPIPE")
    pages = [
        ramp(errors={reset: 5}),
        page(errors={reset: 7}),
        page(errors={reset: 2, wrong: 1, ("connect", "ECONNREFUSED"): 9}),
        page(errors={reset: 11}),
    ]
    record = _build(None, worker(0, *pages), answered=88)
    # Those that broke before the window are missing from its start, those after it are missed by no message.
    assert (record.connections.at_start, record.connections.lost) == (88, 3)
    churn = _build(made_up_plan(lifetime_ns=S), worker(0, *pages), answered=88)
    assert (churn.connections.at_start, churn.connections.lost) == (88, 0)


def test_connects_of_ramp_and_hold_are_in_the_histograms_of_the_run_and_those_of_the_warm_up_are_not() -> None:
    opening = {"connect": [4 * MS], "first_byte": [5 * MS]}
    pages = [page(opening, opened=1), page(opening, opened=1), page(opening, opened=1), page(opening, opened=1)]
    record = _build(None, worker(0, *pages))
    assert measured(record.histograms, "connect").count == measured(record.histograms, "first_byte").count == 2
    assert record.connections.opened == 4  # of the whole run


def test_workers_are_added_up() -> None:
    record = build_record(made_up_plan(), made_up_host(), steady([MS] * 50 + [3 * MS] * 50))
    assert record.messages.replied == 200
    assert measured(record.histograms, "latency").mean == 2 * MS
    assert measured(record.histograms, "latency").sum == 200 * 2 * MS
    assert (record.connections.asked, record.connections.opened, record.connections.peak) == (100, 100, 100)


def test_what_was_asked_is_the_plan_when_the_ramp_was_cut_short() -> None:
    assert _build(None, worker(0, ramp(30), page(), page(), page())).connections.asked == 100


def test_what_was_asked_in_churn_is_every_connect() -> None:
    churned = page(asked=900, opened=890, window_opened=880)  # ten of them opened in the drain
    record = _build(made_up_plan(lifetime_ns=S), worker(0, ramp(100), page(), churned, page()))
    assert (record.connections.asked, record.connections.opened) == (1_000, 990)
    assert record.rates.connects_per_s == 88  # 880 in the 10 s of the window


def test_without_churn_the_connect_rate_is_that_of_the_ramp() -> None:
    grown = page(asked=400, opened=400)
    workers = worker(0, ramp(101), page(), grown, page(), settled_ns=START_NS + 3 * S)
    record = _build(None, workers, ramp_ns=START_NS + S)
    assert record.rates.connects_per_s == 50  # 100 in the 2 s after the first


@pytest.mark.parametrize("opened", [2, 3, 11])
def test_the_run_s_first_connection_is_not_in_the_connect_rate(opened: int) -> None:
    # 4/s: the last is due (opened - 1) / 4 s after the ramp began, and the first was open then.
    settled_ns = START_NS + S + (opened - 1) * S // 4
    record = _build(None, worker(0, ramp(opened), page(), page(), page(), settled_ns=settled_ns), ramp_ns=START_NS + S)
    assert record.rates.connects_per_s == 4


def test_a_run_of_one_connection_has_no_connect_rate() -> None:
    one = worker(0, ramp(1), page(), page(), page(), settled_ns=START_NS + MS)
    record = _build(None, one, ramp_ns=START_NS + 2 * MS)
    assert (record.connecting, record.rates.connects_per_s) == (None, None)
    assert record.opening is not None
    assert (record.opening.opened, record.opening.deciles_per_s) == (1, None)


def test_a_percentile_that_the_count_does_not_support_is_null() -> None:
    latency = measured(build_record(made_up_plan(), made_up_host(), steady([MS] * 500)).histograms, "latency")
    supported = {name for name, value in latency.percentiles.items() if value is not None}
    assert supported == {"50", "75", "90", "95", "99"}  # of 1,000: ten lie above p99, one above p99.9


def test_an_empty_histogram_has_null_and_not_0() -> None:
    latency = measured(_build(None, worker(0, page(), page(), page(), page())).histograms, "latency")
    assert (latency.count, latency.min, latency.mean, latency.max) == (0, None, None, None)
    assert set(latency.percentiles.values()) == {None}


def test_without_a_window_rates_and_shares_are_null_and_the_record_is_partial() -> None:
    record = _build(None, worker(0, ramp(), page(), page(), page()), window_start_ns=None, window_end_ns=None)
    assert record.window is None
    assert record.partial
    assert record.rates.replies_per_s is record.rates.sent_bytes_per_s is None
    assert record.cpu_per_reply_ns == {"blast": None, "serve": None}
    assert record.cpu_per_reply_missing == dict.fromkeys(("blast", "serve"), "no reply in the measured time")
    assert record.workers[0].cpu_share is None


def test_rates_are_over_the_time_that_was_measured_and_not_the_planned_one() -> None:
    changes = {"window_end_ns": HOLD_NS + 4 * S}
    assert _build(None, worker(0, ramp(), page(), exchanged([MS] * 100), page()), **changes).rates.replies_per_s == 25


def test_an_unmeasured_phase_between_two_measured_ones_is_not_in_the_rates() -> None:
    kinds = (PhaseKind.RAMP, PhaseKind.HOLD, PhaseKind.WARMUP, PhaseKind.HOLD, PhaseKind.DRAIN)
    plan = made_up_plan(phases=tuple(PhasePlan(f"p{at}", kind, 2 * S, 100) for at, kind in enumerate(kinds)))
    pages = [ramp(), exchanged([MS] * 100), exchanged([MS] * 900), exchanged([MS] * 100), page()]
    changes = {"window_start_ns": HOLD_NS, "window_end_ns": HOLD_NS + 6 * S, "serve": serve_end()}
    record = _build(plan, worker(0, *pages), **changes)
    assert record.window == Window(2 * S, 8 * S, 4 * S, 0, 200, 200, 12_800, 12_800)
    assert record.rates.replies_per_s == 50  # 200 in 2 s + 2 s
    assert record.cpu_per_reply_ns["serve"] is None  # its CPU time is known for all 6 s together only
    assert record.cpu_per_reply_missing == {"serve": UNMEASURED_PHASES}
    assert f"serve not measured ({UNMEASURED_PHASES})" in " ".join(as_text(record).split())


def test_cpu_times_are_of_the_window_by_its_replies() -> None:
    hold = exchanged([MS] * 1_000, cpu_user_ns=2 * S, cpu_system_ns=3 * S, run_delay_ns=S)
    busy = page(cpu_user_ns=9 * S)
    record = _build(None, worker(0, busy, busy, hold, busy), serve=serve_end((S, 2 * S)))
    blast, serve = record.cpu_per_reply_ns["blast"], record.cpu_per_reply_ns["serve"]
    assert blast is not None
    assert serve is not None
    assert (blast.user_ns, blast.system_ns) == (2 * MS, 3 * MS)  # 2 s and 3 s by 1,000
    assert (serve.user_ns, serve.system_ns) == (2 * MS, 4 * MS)  # two workers, 1 s and 2 s each
    one = record.workers[0]
    assert record.cpu_per_reply_missing == {}
    assert (one.cpu_ns, one.cpu_share, one.run_delay_share) == (5 * S, 0.5, 0.1)
    assert record.server is not None
    assert record.server.cpu_ns == 6 * S


def test_what_a_killed_worker_left_behind_is_counted_by_the_parent() -> None:
    left = exchanged([MS] * 10, intended=9, sent=5, failed=2)
    ends = (WorkerEnd(0, 1, None, "killed by SIGKILL"),)
    record = _build(None, worker(0, ramp(), page(), left, page()), ends=ends)
    # 19 intended, 15 sent; of those 10 replied and 2 failed
    assert record.messages == Messages(19, 15, 10, 2, 3, 4, 0)
    assert record.partial
    assert record.workers[0].died == "killed by SIGKILL"


def test_a_live_workers_counters_are_left_as_they_are() -> None:
    record = _build(None, worker(0, ramp(), page(), exchanged([MS] * 10, sent=5), page()))
    assert (record.messages.sent, record.messages.unanswered) == (15, 0)
    assert "does-not-add-up" in {reason.code for reason in record.verdict.reasons}


def test_errors_are_by_phase_step_and_name_with_advice_the_most_frequent_first() -> None:
    refused, reset = ("connect", "ECONNREFUSED"), ("receive", "ECONNRESET")
    workers = [
        worker(index, ramp(errors={refused: 2}), page(), page(errors={reset: 5, refused: 1}), page())
        for index in (0, 1)
    ]
    record = _build(None, *workers)
    assert [(row.phase, row.step, row.error, row.count) for row in record.errors] == [
        ("hold", "receive", "ECONNRESET", 10),
        ("ramp", "connect", "ECONNREFUSED", 4),
        ("hold", "connect", "ECONNREFUSED", 2),
    ]
    assert all(row.advice for row in record.errors)
    assert [sum(row.count for row in phase.errors) for phase in record.phases] == [4, 0, 12, 0]


def test_the_serve_end_has_its_own_figures() -> None:
    errors = {("connect", "EMFILE"): 3, ("receive", "ETIMEDOUT"): 1}
    record = _build(None, worker(0, ramp(), page(), page(), page()), serve=serve_end(accepted=(75, 25), errors=errors))
    server = record.server
    assert server is not None
    assert (server.accepted, server.connections.peak, server.connections.closed) == (100, 100, 100)
    assert server.balance is not None
    assert server.balance.max_over_mean == 1.5  # 75 by (75 + 25) / 2
    assert server.bytes == Bytes(200, 200)
    assert server.shed == 3
    assert [(row.error, row.count) for row in server.errors] == [("EMFILE", 3), ("ETIMEDOUT", 1)]
    assert isinstance(server.errors[0], Advised)
    assert [(one.index, one.core, one.pid, one.opened) for one in server.workers] == [(0, 2, 200, 75), (1, 3, 201, 25)]


def test_bytes_that_an_app_does_not_have_counted_are_null_and_not_0() -> None:
    serve = replace(serve_end(), counts_bytes=False)
    server = _build(None, worker(0, ramp(), page(), page(), page()), serve=serve).server
    assert server is not None
    assert server.bytes is None
    assert {(one.sent_bytes, one.received_bytes) for one in server.workers} == {(None, None)}
    assert server.accepted == 100


def test_same_errors_of_several_serve_workers_are_one_row() -> None:
    both = [worker(index, page(errors={("connect", "EMFILE"): 2})) for index in (0, 1)]
    serve = serve_end()
    changed = type(serve)(serve.at_start, serve.at_end, tuple(both), serve.ends, 0, serve.engine)
    server = _build(None, worker(0, ramp(), page(), page(), page()), serve=changed).server
    assert server is not None
    assert [(row.error, row.count) for row in server.errors] == [("EMFILE", 4)]


def test_a_series_has_the_name_of_its_phase_and_null_for_what_no_reply_supports() -> None:
    empty, full = (IntervalLatency.of(one.histograms["latency"]) for one in (page(), exchanged([MS] * 1_000)))
    rows = (IntervalSample(0, S, 0, 9, 0, 0, 1, empty), IntervalSample(2 * S, 3 * S, 2, 0, 1_000, 64_000, 0, full))
    first, second = _build(None, worker(0, ramp(), page(), page(), page()), intervals=rows).intervals
    assert (first.t_s, first.phase, first.opened, first.errors) == (1.0, "ramp", 9, 1)
    assert (first.latency.p50, first.latency.p99, first.latency.max) == (None, None, None)
    assert (second.t_s, second.phase, second.replied, second.bytes) == (3.0, "hold", 1_000, 64_000)
    assert (second.latency.p50, second.latency.p99, second.latency.max) == (MS, MS, MS)


def test_the_record_has_the_load_the_placements_and_their_origins_as_they_were_planned() -> None:
    plan = made_up_plan(100.0, REMOTE)
    record = _build(plan, worker(0, ramp(), page(), page(), page()))
    assert (record.target, record.load, record.placements) == (plan.target, plan.load, plan.placements)
    assert (record.origins, record.given) == (plan.origins, plan.given)


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(1, HIGHEST_NS // 2), max_size=20), min_size=4, max_size=4))
def test_the_phases_add_up_to_the_run(latencies: list[list[int]]) -> None:
    record = _build(None, worker(0, *map(exchanged, latencies)))
    assert sum(phase.messages.replied for phase in record.phases) == sum(map(len, latencies))
    assert record.messages.replied == len(latencies[2]) == measured(record.histograms, "latency").count
    assert measured(record.histograms, "latency").sum == sum(latencies[2])
    assert measured(record.histograms, "latency").max == (max(latencies[2]) if latencies[2] else None)


def test_the_median_of_a_connect_is_known_from_a_few() -> None:
    record = _build(None, worker(0, ramp(3), page(), page(), page()))
    p50 = measured(record.histograms, "connect").percentiles["50"]
    assert p50 is not None
    assert abs(p50 - 310 * US) < US  # of 300, 310, 320 us
