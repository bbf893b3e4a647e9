from __future__ import annotations

from typing import Any

import pytest

from loadkit.measure.samples import RunSamples, WorkerEnd
from loadkit.plan.model import Plan, ServePlan
from loadkit.profile.model import EngineName
from loadkit.report.record import Verdict
from tests.golden.made_up import (
    HOLD_NS,
    MS,
    REMOTE,
    US,
    S,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    serve_end,
    steady,
    worker,
)

_CLOSED = made_up_plan(target=REMOTE)
_OPEN = made_up_plan(400.0, REMOTE)
_LATENCIES = [MS] * 2_000  # a worker; both together are 400/s over 10 s
_ON_TIME = [20 * US] * 2_000
_LATE = [20 * MS] * 2_000


def _verdict(plan: Plan, samples: RunSamples) -> Verdict:
    return made_up_record(plan, samples).verdict


def _codes(plan: Plan, samples: RunSamples) -> tuple[str, list[str]]:
    verdict = _verdict(plan, samples)
    return verdict.state, [reason.code for reason in verdict.reasons]


def _run(hold: Any, **changes: Any) -> RunSamples:
    """One worker with this hold."""
    return made_up_samples(worker(0, ramp(100), page(), hold, page(), peak=100), **changes)


def _of(cpu: float = 0.3, delay: float = 0.0) -> dict[str, int]:
    """Counters of a worker that was on its core, and waited for it, these parts of the 10 s."""
    return {"cpu_user_ns": round(cpu * 10 * S), "run_delay_ns": round(delay * 10 * S)}


@pytest.mark.parametrize("plan", [_CLOSED, _OPEN], ids=["closed loop", "open loop"])
def test_a_run_with_nothing_against_it_is_valid(plan: Plan) -> None:
    assert _codes(plan, steady(_LATENCIES, _ON_TIME)) == ("valid", [])


_FAULTS = [
    pytest.param(_CLOSED, steady(_LATENCIES, cpu_user_ns=7 * S), ["valid"], id="90 % of a core is not all"),
    pytest.param(
        _OPEN,
        steady([30 * MS] * 2_000, _LATE, cpu_user_ns=8 * S),
        ["invalid", "saturated"],
        id="no time left, late",
    ),
    pytest.param(
        _OPEN,
        steady([30 * MS] * 2_000, _LATE, cpu_user_ns=0, run_delay_ns=8 * S),
        ["invalid", "saturated", "run-delay"],
        id="waiting for the core is no time left either",
    ),
    pytest.param(_OPEN, steady(_LATENCIES, _ON_TIME, cpu_user_ns=8 * S), ["valid"], id="busy, and on time"),
    pytest.param(_CLOSED, steady(_LATENCIES, cpu_user_ns=8 * S), ["suspect", "blast-bound"], id="our own ceiling"),
    pytest.param(
        _OPEN,
        steady([30 * MS] * 2_000, _LATE, held=1_000),
        ["suspect", "peer-behind"],
        id="late because the server held it up",
    ),
    pytest.param(_OPEN, steady([30 * MS] * 2_000, [12 * MS] * 2_000), ["suspect", "late"], id="late, with time left"),
    pytest.param(
        _OPEN, steady([30 * MS] * 2_000, [2 * MS] * 2_000), ["valid"], id="2 ms of 30 ms is nothing: below a tenth"
    ),
    pytest.param(_OPEN, steady([2 * MS] * 2_000, [900 * US] * 2_000), ["valid"], id="0.9 ms is a timer's noise"),
    pytest.param(
        _OPEN,
        steady([MS] * 1_800, _ON_TIME[:1_800]),
        ["invalid", "schedule-missed", "rate-missed"],
        id="90 % of the rate, with nothing to explain it",
    ),
    pytest.param(_OPEN, steady([MS] * 1_920, _ON_TIME[:1_920]), ["valid"], id="96 % of the rate will do"),
    pytest.param(
        _OPEN,
        steady([MS] * 1_000, _ON_TIME[:1_000], intended=1_000, unsent=1_000, held=1_000),
        ["suspect", "peer-behind", "rate-missed"],
        id="half the rate, for the server held it up",
    ),
    pytest.param(
        made_up_plan(90.0, REMOTE),
        _run(exchanged([MS] * 900)),
        ["suspect", "few-samples"],
        id="900 replies support no p99",
    ),
    pytest.param(
        _CLOSED,
        steady(_LATENCIES, run_delay_ns=S + 1),
        ["suspect", "run-delay"],
        id="more than a tenth of the window without a core",
    ),
    pytest.param(
        _CLOSED, steady(_LATENCIES, intended=3, sent=3, unanswered=3), ["suspect", "messages-lost"], id="0.15 % lost"
    ),
    pytest.param(_CLOSED, steady(_LATENCIES, intended=1, sent=1, failed=1), ["valid"], id="0.05 % lost"),
    pytest.param(
        _CLOSED, steady(_LATENCIES, dropped={"latency": 2}), ["invalid", "dropped-samples"], id="values out of range"
    ),
    pytest.param(_CLOSED, steady(_LATENCIES, sent=1), ["invalid", "does-not-add-up"], id="sent, nothing came of it"),
    pytest.param(_CLOSED, steady(_LATENCIES, intended=1), ["invalid", "does-not-add-up"], id="due, never seen again"),
    pytest.param(_CLOSED, steady([]), ["invalid", "no-replies"], id="not one reply"),
    pytest.param(
        _OPEN,
        steady([], intended=5, unsent=5),
        ["invalid", "no-replies", "schedule-missed", "rate-missed"],
        id="due, and nowhere to send it",
    ),
]


@pytest.mark.parametrize(("plan", "samples", "expected"), _FAULTS)
def test_what_speaks_against_a_run_is_found(plan: Plan, samples: RunSamples, expected: list[str]) -> None:
    state, codes = _codes(plan, samples)
    assert [state, *codes] == expected


def test_the_p99_of_lateness_0_is_0_and_not_the_worst() -> None:
    # 1 of 2,000 was 15 ms late: no p99
    samples = _run(exchanged([30 * MS] * 4_000, [0] * 3_999 + [15 * MS], **_of(0.97)))
    assert _codes(_OPEN, samples) == ("valid", [])


def test_a_killed_worker_makes_a_run_invalid_and_says_which() -> None:
    ends = (WorkerEnd(0, 4711, 0, "killed by SIGKILL", mid_fold=True),)
    verdict = _verdict(_CLOSED, _run(exchanged(_LATENCIES), ends=ends))
    assert (verdict.state, verdict.reasons[0].code) == ("invalid", "worker-died")
    for words in ("worker 0", "pid 4711", "killed by SIGKILL", "off by one batch"):
        assert words in verdict.reasons[0].text


def test_an_interrupted_run_is_invalid() -> None:
    samples = _run(exchanged(_LATENCIES), interrupted="SIGTERM", window_end_ns=HOLD_NS + 9 * S)
    verdict = _verdict(_CLOSED, samples)
    assert (verdict.state, [reason.code for reason in verdict.reasons]) == ("invalid", ["interrupted"])
    assert "SIGTERM" in verdict.reasons[0].text


def test_a_run_interrupted_in_its_ramp_is_not_blamed_for_what_it_never_began() -> None:
    samples = made_up_samples(
        worker(0, ramp(5), page(), page(), page(), peak=5),
        interrupted="SIGINT",
        window_start_ns=None,
        window_end_ns=None,
    )
    assert _codes(_CLOSED, samples)[1][:1] == ["interrupted"]
    assert not {"incomplete", "no-window"} & set(_codes(_CLOSED, samples)[1])


def test_a_run_without_a_window_that_nobody_interrupted_is_invalid() -> None:
    samples = _run(page(), window_start_ns=None, window_end_ns=None)
    assert _codes(_CLOSED, samples) == ("invalid", ["no-window"])


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        (100, ("valid", [])),
        (99, ("suspect", ["connections-missing"])),  # 1 % is missing
        (98, ("invalid", ["incomplete"])),
    ],
)
def test_missing_connections_are_counted_at_their_peak(peak: int, expected: object) -> None:
    samples = made_up_samples(worker(0, ramp(100), page(), exchanged(_LATENCIES), page(), peak=peak))
    assert _codes(_CLOSED, samples) == expected


def test_connections_that_break_outside_churn_make_a_run_invalid() -> None:
    hold = exchanged(_LATENCIES, errors={("receive", "ECONNRESET"): 2})
    assert _codes(_CLOSED, _run(hold)) == ("invalid", ["connections-lost"])
    churn = made_up_plan(target=REMOTE, lifetime_ns=S)
    assert "connections-lost" not in _codes(churn, _run(hold))[1]


def test_a_window_shorter_than_planned_makes_a_run_invalid() -> None:
    short = _run(exchanged(_LATENCIES), window_end_ns=HOLD_NS + 9 * S)
    assert _codes(_CLOSED, short) == ("invalid", ["cut-short"])
    # with -n the messages end it, not the time
    assert _codes(made_up_plan(target=REMOTE, messages=2_000), short) == ("valid", [])


def test_ends_that_share_a_core_are_suspect() -> None:
    shared = ServePlan(("127.0.0.1",), 40_000, EngineName.UVLOOP, 2, (1, 2))
    verdict = _verdict(made_up_plan(serve=shared), steady(_LATENCIES))
    assert [reason.code for reason in verdict.reasons] == ["shared-core"]
    assert "core 1:" in verdict.reasons[0].text


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        pytest.param(serve_end(restarts=1), "server-restarted", id="a serve worker died"),
        pytest.param(serve_end(errors={("connect", "EMFILE"): 9}), "server-shed", id="no file descriptors left"),
        pytest.param(serve_end(accepted=(300, 100)), "uneven", id="three quarters went to one worker"),
    ],
)
def test_what_the_serve_end_suffered_is_suspect(serve: Any, code: str) -> None:
    samples = made_up_samples(*steady(_LATENCIES).workers, serve=serve)
    assert _codes(made_up_plan(), samples) == ("suspect", [code])


def test_few_connections_are_never_called_uneven() -> None:
    samples = made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(75, 25)))
    assert _codes(made_up_plan(), samples) == ("valid", [])


def test_an_invalid_run_says_what_is_suspect_too() -> None:
    samples = made_up_samples(*steady(_LATENCIES, dropped={"latency": 1}).workers, serve=serve_end(restarts=1))
    assert _codes(made_up_plan(), samples) == ("invalid", ["dropped-samples", "server-restarted"])


@pytest.mark.parametrize(("plan", "samples", "expected"), _FAULTS)
def test_every_reason_has_a_number_and_is_a_line(plan: Plan, samples: RunSamples, expected: list[str]) -> None:
    for reason in _verdict(plan, samples).reasons:
        assert any(letter.isdigit() for letter in reason.text)
        assert "\n" not in reason.text


def _text(plan: Plan, samples: RunSamples, code: str) -> str:
    (text,) = [reason.text for reason in _verdict(plan, samples).reasons if reason.code == code]
    return text


_HALF = steady([MS] * 1_000, _ON_TIME[:1_000], intended=1_000, unsent=1_000, held=900)
_REFUSED = {("connect", "EADDRNOTAVAIL"): 20, ("connect", "ECONNREFUSED"): 10, ("receive", "WRONG_BYTES"): 90}
_SHED = serve_end(errors={("connect", "EMFILE"): 9})


@pytest.mark.parametrize(
    ("plan", "samples", "code", "figures"),
    [
        pytest.param(
            _OPEN,
            _run(exchanged([30 * MS] * 4_000, [20 * MS] * 4_000, **_of(0.97), intended=8, unsent=8)),
            "saturated",
            ["worker 0", "97%", "20 ms", "8 never sent"],
            id="saturated",
        ),
        pytest.param(_CLOSED, _run(exchanged(_LATENCIES, **_of(0.97))), "blast-bound", ["worker 0", "97%"], id="bound"),
        # 2 x 1,000 sent and 2 x 1,000 unsent, over 10 s
        pytest.param(_OPEN, _HALF, "peer-behind", ["4,000 messages", "1,800 times", "2,000 were never"], id="behind"),
        pytest.param(_OPEN, _HALF, "rate-missed", ["200/s were sent of 400/s"], id="rate"),
        pytest.param(
            _OPEN,
            steady([MS] * 1_800, _ON_TIME[:1_800]),
            "schedule-missed",
            ["360/s were sent of 400/s"],
            id="schedule",
        ),
        pytest.param(
            _OPEN, steady([30 * MS] * 2_000, [12 * MS] * 2_000), "late", ["12 ms late", "p50 is 30 ms"], id="late"
        ),
        pytest.param(
            _CLOSED,
            made_up_samples(
                worker(0, ramp(), page(), exchanged(_LATENCIES, **_of(delay=0.1)), page()),
                worker(1, ramp(), page(), exchanged(_LATENCIES, **_of(delay=0.4)), page()),
            ),
            "run-delay",
            ["blast worker 1", "40%"],
            id="the worker that waited the longest",
        ),
        pytest.param(_CLOSED, steady([MS] * 300), "few-samples", ["600 replies"], id="few samples"),
        pytest.param(
            _CLOSED,
            steady(_LATENCIES, intended=5, sent=5, failed=2, unanswered=3),
            "messages-lost",
            ["10 of 4,010"],
            id="lost messages",
        ),
        pytest.param(
            _CLOSED,
            steady(_LATENCIES, dropped={"service": 2}),
            "dropped-samples",
            ["4 values of service"],
            id="dropped",
        ),
        pytest.param(
            _CLOSED,
            steady(_LATENCIES, intended=7, sent=5, failed=2, unanswered=1, unsent=1),
            "does-not-add-up",
            ["hold:", "intended 4014", "sent 4010", "unsent 2", "replied 4000", "failed 4", "unanswered 2"],
            id="sums",
        ),
        pytest.param(
            _CLOSED, _run(exchanged(_LATENCIES), window_end_ns=HOLD_NS + 9 * S), "cut-short", ["9 s of 10 s"], id="cut"
        ),
        pytest.param(
            _CLOSED,
            made_up_samples(worker(0, ramp(100), page(), exchanged(_LATENCIES), page(), peak=70)),
            "incomplete",
            ["stalled at 70 of 100", "ramp was over before they were begun", "doctor -c 100"],
            id="incomplete",
        ),
        pytest.param(
            _CLOSED,
            made_up_samples(
                worker(0, ramp(70, errors=_REFUSED), page(), exchanged(_LATENCIES), page(), peak=70),
            ),
            "incomplete",
            ["stalled at 70 of 100: ports", "(EADDRNOTAVAIL)"],
            id="incomplete for want of ports",
        ),
        pytest.param(
            _CLOSED,
            made_up_samples(
                worker(0, ramp(70, errors=_REFUSED), page(), exchanged(_LATENCIES), page(), peak=70),
                stopped_opening="memory: 1 GiB of 24 GiB were left",
            ),
            "incomplete",
            ["stalled at 70 of 100: memory: 1 GiB of 24 GiB were left."],
            id="incomplete for want of memory",
        ),
        pytest.param(
            made_up_plan(),
            made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(260, 140))),
            "uneven",
            ["1.30 x the mean", "no bad luck", "1.13 x at most"],
            id="uneven beyond luck",
        ),
        pytest.param(
            made_up_plan(),
            made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(130, 108, *[99] * 38))),
            "uneven",
            ["1.30 x the mean", "a fair hash does that"],
            id="uneven by luck",
        ),
        pytest.param(
            made_up_plan(),
            made_up_samples(*steady(_LATENCIES).workers, serve=_SHED),
            "server-shed",
            ["9 connections"],
            id="shed",
        ),
        pytest.param(
            made_up_plan(),
            made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(restarts=3)),
            "server-restarted",
            ["3 serve workers"],
            id="restarted",
        ),
    ],
)
def test_a_reason_names_what_was_seen(plan: Plan, samples: RunSamples, code: str, figures: list[str]) -> None:
    text = _text(plan, samples, code)
    assert [figure for figure in figures if figure not in text] == []


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(exchanged(_LATENCIES, sent=1, intended=1), id="sent, and nothing came of it"),
        pytest.param(exchanged(_LATENCIES, intended=1), id="due, and never seen again"),
        pytest.param(exchanged(_LATENCIES, unsent=1), id="unsent, and never due"),
        pytest.param(exchanged(_LATENCIES, unanswered=1), id="unanswered, and never sent"),
    ],
)
def test_each_sum_that_does_not_hold_is_found(hold: Any) -> None:
    assert _codes(_CLOSED, _run(hold)) == ("invalid", ["does-not-add-up"])


def test_a_rate_missed_for_another_reason_is_not_blamed_on_the_schedule() -> None:
    slow = exchanged([MS] * 3_000, [20 * US] * 3_000)
    broke = exchanged([MS] * 3_000, [20 * US] * 3_000, errors={("receive", "ECONNRESET"): 1})
    fewer = made_up_samples(worker(0, ramp(99), page(), slow, page(), peak=99))
    assert "schedule-missed" in _codes(_OPEN, _run(slow))[1]
    assert _codes(_OPEN, _run(broke)) == ("suspect", ["rate-missed"])
    assert _codes(_OPEN, fewer) == ("suspect", ["connections-missing", "rate-missed"])


def test_a_run_that_ends_by_its_messages_has_no_rate_to_miss() -> None:
    counted = made_up_plan(400.0, REMOTE, messages=3_000)
    assert _codes(counted, _run(exchanged([MS] * 3_000, [20 * US] * 3_000))) == ("valid", [])


def test_a_worker_killed_between_batches_is_not_said_to_be_off_by_one() -> None:
    ends = (WorkerEnd(0, 4711, 0, "killed by SIGKILL"),)
    assert "off by one batch" not in _verdict(_CLOSED, _run(exchanged(_LATENCIES), ends=ends)).reasons[0].text


@pytest.mark.parametrize(
    ("busy", "codes"),
    [
        pytest.param(0.4, ["valid"], id="asked again and again for want of work"),
        pytest.param(0.98, ["suspect", "blast-bound"], id="had work all the time"),
    ],
)
def test_an_engine_that_counts_its_busy_time_is_judged_by_that_and_not_by_its_cpu(
    busy: float, codes: list[str]
) -> None:
    hold = exchanged(_LATENCIES, **_of(cpu=0.99), waits=5, busy_ns=round(busy * 10 * S))
    state, reasons = _codes(_CLOSED, _run(hold))
    assert [state, *reasons] == codes
