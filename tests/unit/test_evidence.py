"""The facts that the rules of the verdict go by, each from figures that are worked out here by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadkit.measure.histogram import Histogram
from loadkit.report.evidence import Evidence
from loadkit.report.evidence.connections import Missing
from loadkit.report.evidence.cores import RunDelay, SharedCore
from loadkit.report.evidence.messages import OurCause
from loadkit.report.evidence.ramp import RampRate
from loadkit.report.evidence.workers import Busiest
from loadkit.report.histograms import histogram_record
from loadkit.report.record import Connecting, RunRecord, Standstills
from tests.golden.made_up import HIGHEST_NS, MS, RUNS, US, S

# 100 connections, 2 workers on cores 0 and 1, 400/s for 10 s: 4,000 messages.
_OPEN, _CLOSED = RUNS["open_loop"](), RUNS["closed_loop"]()


def of(record: RunRecord = _OPEN, **changes: Any) -> Evidence:
    return Evidence(msgspec.structs.replace(record, **changes))


def with_workers(*each: dict[str, Any], record: RunRecord = _OPEN) -> RunRecord:
    """The record with these figures of its two workers."""
    nothing = {"cpu_share": 0.0, "run_delay_share": 0.0, "busy_share": None}
    workers = [msgspec.structs.replace(one, **nothing | more) for one, more in zip(record.workers, each, strict=True)]
    return msgspec.structs.replace(record, workers=tuple(workers))


def with_messages(
    record: RunRecord = _OPEN, held: list[int] | None = None, late: list[int] | None = None, **counts: int
) -> RunRecord:
    times = {"held": held, "lateness": late}
    found = {
        name: histogram_record(Histogram.of(values, HIGHEST_NS), 0)
        for name, values in times.items()
        if values is not None
    }
    return msgspec.structs.replace(
        record,
        messages=msgspec.structs.replace(record.messages, **counts),
        histograms=record.histograms | found,
    )


def stood(sum_ns: int, longest_ns: int) -> Standstills:
    return Standstills(1, sum_ns, longest_ns, 5 * S, 0)


# -- asked


def test_what_was_asked_of_one_run_and_of_two_pairs_that_followed_one_another() -> None:
    asked = of().asked
    assert (asked.connections, asked.planned_ns, asked.planned_messages, asked.at_once) == (100, 10 * S, 4_000, 1)
    pairs = of(merged=4, in_a_row=2).asked
    assert (pairs.connections, pairs.planned_ns, pairs.planned_messages, pairs.at_once) == (400, 20 * S, 16_000, 2)


def test_kinds_of_runs_are_told_apart() -> None:
    assert of().asked.is_open_loop
    assert not of(_CLOSED).asked.is_open_loop
    assert not of().asked.is_churn
    assert of(load=msgspec.structs.replace(_OPEN.load, lifetime_ns=0)).asked.is_churn
    assert not of().asked.is_cut
    assert of(partial=True).asked.is_cut
    assert of(load=msgspec.structs.replace(_OPEN.load, messages=9)).asked.is_cut
    assert of(window=None).asked.span_ns == 0


# -- connections


@pytest.mark.parametrize(
    ("changes", "missing", "is_smaller"),
    [
        pytest.param({"at_start": 97, "lost": 2}, Missing(100, 3, 2), True, id="not there, and lost later"),
        pytest.param({"at_start": 99}, Missing(100, 1, 0), False, id="1 % is not more than 1 %"),
        pytest.param({"at_start": 100, "lost": 2}, Missing(100, 0, 2), True, id="lost"),
        pytest.param({"at_start": None, "peak": 90}, Missing(100, 10, 0), True, id="known by its peak alone"),
    ],
)
def test_connections_that_the_load_lacked(changes: dict[str, int], missing: Missing, is_smaller: bool) -> None:
    found = of(connections=msgspec.structs.replace(_OPEN.connections, **changes)).connections
    assert (found.missing, found.is_smaller) == (missing, is_smaller)


def test_a_churn_opens_its_connections_again_and_lacks_none() -> None:
    connections = msgspec.structs.replace(_OPEN.connections, at_start=10, lost=80)
    churn = msgspec.structs.replace(_OPEN.load, lifetime_ns=0)
    assert of(connections=connections, load=churn).connections.missing == Missing(100, 0, 0)


# -- workers


@pytest.mark.parametrize(
    ("shares", "busiest"),
    [
        pytest.param([{"busy_share": 0.2}, {"busy_share": 0.96}], Busiest(1, 0.96), id="as it counted"),
        pytest.param([{"cpu_share": 0.5, "run_delay_share": 0.3}, {}], Busiest(0, 0.8), id="ran, or wanted to run"),
        pytest.param([{"cpu_share": 0.9, "run_delay_share": 0.9}, {}], Busiest(0, 1.0), id="no more than all of it"),
        pytest.param([{"busy_share": 0.1, "cpu_share": 0.99}, {}], Busiest(0, 0.1), id="awake is not busy"),
    ],
)
def test_the_busiest_worker(shares: list[dict[str, float]], busiest: Busiest) -> None:
    workers = Evidence(with_workers(*shares)).workers
    assert workers.busiest.index == busiest.index
    assert workers.busiest.share == pytest.approx(busiest.share)
    assert workers.is_busy is (busiest.share >= 0.95)


def test_standstills_are_a_share_of_the_time_of_all_workers() -> None:
    assert of(standstills=stood(3 * S, S)).workers.standstill_share == pytest.approx(3 / (10 * 2))
    # Two runs that followed one another have four workers, each there for half of the time.
    twice = msgspec.structs.replace(_OPEN.window, measured_ns=20 * S)
    both = of(standstills=stood(3 * S, S), workers=_OPEN.workers * 2, in_a_row=2, merged=2, window=twice)
    assert both.workers.standstill_share == pytest.approx(3 / (20 * 2))
    assert of(standstills=None).workers.standstill_share == 0


def test_turns_of_a_closed_loop_that_ran_all_of_the_time_are_no_standstills() -> None:
    turns = {"cpu_share": 0.99, "busy_share": 0.99, "standstill_ns": 4 * S}
    record = msgspec.structs.replace(_CLOSED, standstills=stood(4 * S, S))
    assert Evidence(with_workers(turns, {}, record=record)).workers.has_long_turns
    # Stopped for 40 % of the time, it cannot have run for more than the rest.
    assert not Evidence(with_workers({**turns, "cpu_share": 0.6}, {}, record=record)).workers.has_long_turns
    open_loop = msgspec.structs.replace(_OPEN, standstills=stood(4 * S, S))
    assert not Evidence(with_workers(turns, {}, record=open_loop)).workers.has_long_turns


# -- cores


def test_a_wait_for_a_core_is_that_of_others_less_what_our_own_workers_had_of_it() -> None:
    both_on_0 = with_workers({"run_delay_share": 0.5, "core": 0, "cpu_share": 0.4}, {"core": 0, "cpu_share": 0.3})
    found = Evidence(both_on_0).cores
    assert found.own_run_delay == RunDelay(0.5, "blast worker 0", pytest.approx(0.3))
    assert found.own_run_delay.by_others == pytest.approx(0.2)
    assert found.is_crowded_out
    alone = Evidence(with_workers({"run_delay_share": 0.09, "core": 0}, {"core": 1, "cpu_share": 0.9})).cores
    assert (alone.own_run_delay.by_own, alone.is_crowded_out) == (0, False)


def test_time_to_spare_is_neither_work_nor_a_wait_for_a_core() -> None:
    assert Evidence(with_workers({"busy_share": 0.9}, {})).cores.has_time
    assert not Evidence(with_workers({"busy_share": 0.95}, {})).cores.has_time
    waits = with_workers({"busy_share": 0.6, "run_delay_share": 0.4}, {})
    assert not Evidence(waits).cores.has_time


def test_a_core_of_both_ends_is_disturbing_from_a_tenth_of_its_time_on() -> None:
    assert Evidence(_CLOSED).cores.shared is None  # its serve end has cores 2 and 3
    assert _CLOSED.server is not None
    for share, is_disturbing in ((0.3, True), (0.1, False)):
        first, second = _CLOSED.server.workers
        workers = (msgspec.structs.replace(first, core=1, cpu_share=share), second)
        shared = of(_CLOSED, server=msgspec.structs.replace(_CLOSED.server, workers=workers)).cores.shared
        assert shared == SharedCore(1, share)
        assert shared.is_disturbing is is_disturbing


# -- messages


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        pytest.param(with_messages(held=[S] * 2_000, unsent=2_000, waited=3_900), None, id="the target left no room"),
        pytest.param(with_messages(held=[S] * 2_000, unsent=2_000, waited=999), OurCause.FEW_WAITED, id="few waited"),
        pytest.param(with_messages(held=[S] * 2_000, unsent=2_000, waited=1_000), None, id="half of them waited"),
        pytest.param(
            with_messages(held=[S] * 2_000, late=[2 * S] * 2_000, unsent=2_000, waited=3_900), OurCause.LATE, id="late"
        ),
        pytest.param(
            with_messages(held=[0] * 2_000, late=[9 * MS] * 2_000, unsent=2_000, waited=3_900), None, id="late by 9 ms"
        ),
        pytest.param(
            msgspec.structs.replace(
                with_messages(held=[S] * 2_000, unsent=2_000, waited=3_900), standstills=stood(5 * S, 2 * S)
            ),
            OurCause.STOOD,
            id="a quarter of the time for half of the messages",
        ),
        pytest.param(
            with_workers({"busy_share": 0.96}, {}, record=with_messages(held=[S] * 2_000, unsent=2_000, waited=3_900)),
            OurCause.BUSY,
            id="busy",
        ),
    ],
)
def test_what_shows_that_this_end_left_messages_unsent(record: RunRecord, cause: OurCause | None) -> None:
    assert Evidence(record).messages.unsent_by_us is cause


def test_messages_are_missing_from_more_than_a_percent_on() -> None:
    for unsent, misses in ((40, False), (41, True)):
        messages = Evidence(with_messages(unsent=unsent, waited=unsent)).messages
        assert (messages.unsent_share, messages.misses_rate) == (unsent / 4_000, misses)
    assert of(with_messages(_CLOSED, unsent=4_000)).messages.unsent_share == 0


def test_messages_that_waited_behind_a_standstill_were_not_held_up_by_the_target() -> None:
    # The longest wait is 200 ms, twice the mean of 100 ms; a standstill of 1 s makes 100 x 1 / (1 - 0.2) wait.
    record = with_messages(held=[100 * MS] * 400, waited=400)
    record = msgspec.structs.replace(record, standstills=stood(S, S), stood=100)
    assert Evidence(record).messages.waited_for_target == pytest.approx(400 - 125)
    # Held for longer than any standstill: all of them are the target's.
    longer = msgspec.structs.replace(with_messages(held=[2 * S] * 400, waited=400), standstills=stood(S, S), stood=100)
    assert Evidence(longer).messages.waited_for_target == 400


# -- the ramp


def test_a_connect_rate_is_missed_from_a_twentieth_on_without_the_last_connections_own_time() -> None:
    # 99 connections at 100/s take 990 ms, and 50 ms more than that show nothing.
    own_ns = sum(one.min or 0 for one in (_OPEN.histograms["connect"], _OPEN.histograms["first_byte"]) if one)
    for duration_ns, rate in ((1_040 * MS + own_ns, None), (1_980 * MS + own_ns, RampRate(100.0, 50.0, None))):
        assert of(connecting=Connecting(99, duration_ns)).missed_rate == rate
    assert own_ns > 100 * US
