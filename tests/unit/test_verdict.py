"""The verdict and the findings of made-up runs: each rule speaks where it should, and names the right party."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadkit.measure.kernel import KernelSamples
from loadkit.measure.run_samples import RunSamples, ServeSamples, WorkerEnd
from loadkit.measure.samples import WorkerSamples
from loadkit.measure.throttling import ThrottlingSamples
from loadkit.plan.build import Plan
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.serve import ServePlan
from loadkit.profile.engines import EngineName
from loadkit.report.kernel import KERNEL_RULES
from loadkit.report.reading import load
from loadkit.report.record import Reason, RunRecord, Verdict
from loadkit.report.tcp import TCP_RULES
from loadkit.report.verdict import FINDINGS, RULES, judge, judged
from loadkit.report.writing import encode
from tests.golden.made_up import (
    HOLD_NS,
    MS,
    REMOTE,
    START_NS,
    US,
    S,
    changed,
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
from tests.pages import chapter

_CLOSED = made_up_plan(target=REMOTE)
_OPEN = made_up_plan(400.0, REMOTE)
_EMBEDDED = made_up_plan()
_CHURN = made_up_plan(target=REMOTE, lifetime_ns=0)
_BESIDE = msgspec.structs.replace(REMOTE, is_local=True)
_LATENCIES = [MS] * 2_000  # of a worker; both together are 400/s over 10 s
_ON_TIME = [20 * US] * 2_000
_WAITED = {"histograms": {"held": [30 * MS] * 2_000}}


def _codes(record: RunRecord) -> tuple[str, list[str], list[str]]:
    return (
        record.verdict.state,
        [reason.code for reason in record.verdict.reasons],
        [finding.code for finding in record.findings],
    )


def _run(hold: Any, **changes: Any) -> RunSamples:
    """One worker with this hold."""
    return made_up_samples(worker(0, ramp(100), page(), hold, page(), peak=100), **changes)


def _opened(count: int, errors: dict[tuple[str, str], int] | None = None, **changes: Any) -> RunSamples:
    """A ramp that brought so many connections of 100 to their first reply, and a hold that goes on with them."""
    opened = changes.pop("opened", count)
    first = ramp(opened, errors=errors, asked=100, failed_connects=100 - opened)
    one = worker(0, first, page(), exchanged([MS] * 4_000), page(), peak=opened)
    return made_up_samples(one, **{"answered": count, **changes})


def _of(cpu: float = 0.3, delay: float = 0.0) -> dict[str, int]:
    """Counters of a worker that was on its core, and waited for it, these parts of the 10 s."""
    return {"cpu_user_ns": round(cpu * 10 * S), "run_delay_ns": round(delay * 10 * S)}


def _taking_turns(cpu: float, delay: float) -> RunSamples:
    """Two workers on one core, each of which had it, and waited for it, these parts of the window."""
    hold = exchanged(_LATENCIES, **_of(cpu, delay))
    return made_up_samples(*(worker(index, ramp(), page(), hold, page(), core=0) for index in (0, 1)))


def _busy(share: float) -> dict[str, int]:
    """Counters of a worker that counted its busy time: this part of the 10 s."""
    return {"waits": 5, "busy_ns": round(share * 10 * S)}


def _disturbed(disturbed: list[int], stood: int = 0, **more: Any) -> dict[str, Any]:
    """What a hold has of messages that a standstill or lateness of ours is in."""
    return {"histograms": {"disturbed": disturbed, **more.pop("histograms", {})}, "stood": stood, **more}


def _standing(
    latencies: list[int],
    disturbed: list[int],
    stood: int,
    stops: list[int],
    counters: dict[str, int] | None = None,
    **changes: Any,
) -> RunSamples:
    """Worker 1 of two stood still so often, the longest from 3 s after the start on."""
    hold = exchanged(latencies, **(counters or {}), **_disturbed(disturbed, stood, histograms={"standstill": stops}))
    state = {"standstill_ns": max(stops), "standstill_at_ns": START_NS + 3 * S}
    workers = (
        worker(0, ramp(), page(), exchanged([MS] * 2_000), page()),
        worker(1, ramp(), page(), hold, page(), **state),
    )
    return made_up_samples(*workers, **changes)


# Other processes had its core for the rest of the time that it had no work for.
_CROWDED_OUT = {**_of(delay=0.4), **_busy(0.7)}
_STALLED = [MS] * 1_900 + [700 * MS] * 100
_SERVE_BUSY = serve_end(cpu_ns=(S, S))


_AT = 3 * S  # after the start of the hold


def _queue(replies_hz: int, ours_ns: int = 0, theirs_ns: int = 0, theirs_at: int = _AT) -> RunSamples:
    """One message per 2.5 ms at a target with room for one, which makes room so often, and pauses once.

    The worker stands still for `ours_ns` from _AT on.
    """
    held, stood, free_ns = [], 0, 0
    for due_ns in range(0, 10 * S, S // 400):
        taken_ns = _AT + ours_ns if _AT <= due_ns < _AT + ours_ns else due_ns
        sent_ns = max(taken_ns, free_ns)
        if theirs_at <= sent_ns < theirs_at + theirs_ns:
            sent_ns = theirs_at + theirs_ns
        free_ns = sent_ns + S // replies_hz
        held.append(sent_ns - taken_ns)
        stood += due_ns < _AT + ours_ns and free_ns > _AT
    return _held(held, stood, ours_ns)


def _held(held: list[int], stood: int, standstill_ns: int) -> RunSamples:
    """One worker whose messages waited so long for room, and which stood still once."""
    times = {"held": held, "standstill": [standstill_ns]}
    hold = exchanged([50 * MS] * len(held), waited=sum(map(bool, held)), stood=stood, histograms=times)
    state = {"standstill_ns": standstill_ns, "standstill_at_ns": START_NS + _AT}
    return made_up_samples(worker(0, ramp(100), page(), hold, page(), peak=100, **state))


def _on_core(serve: ServeSamples, core: int) -> ServeSamples:
    def moved(looks: tuple[WorkerSamples, ...]) -> tuple[WorkerSamples, ...]:
        return tuple(WorkerSamples(one.index, {**one.state, "core": core}, one.phases) for one in looks)

    return replace(serve, at_start=moved(serve.at_start), at_end=moved(serve.at_end), final=moved(serve.final))


_SHARED = made_up_plan(serve=ServePlan(("127.0.0.1",), 40_000, EngineName.UVLOOP, 2, (1, 2)))


def _waiting_for_serve(delay_ns: int) -> RunSamples:
    """The serve end has core 1 for 4 s of the 10, and the blast worker there waits for so long."""
    workers = (
        worker(0, ramp(), page(), exchanged(_LATENCIES), page()),
        worker(1, ramp(), page(), exchanged(_LATENCIES, run_delay_ns=delay_ns), page()),
    )
    return made_up_samples(*workers, serve=_on_core(serve_end(cpu_ns=(S, S)), 1))


def test_a_serve_end_without_its_core_does_not_make_the_machine_late_for_us() -> None:
    late = exchanged([30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000))
    samples = made_up_samples(*_run(late).workers, serve=serve_end())
    record = made_up_record(made_up_plan(400.0), samples)
    assert record.server
    waiting = tuple(msgspec.structs.replace(one, run_delay_share=0.4) for one in record.server.workers)
    record = judged(msgspec.structs.replace(record, server=msgspec.structs.replace(record.server, workers=waiting)))
    named = {reason.code: reason.party for reason in record.verdict.reasons}
    assert named == {"late": "loadkit", "run-delay": "machine"}


@pytest.mark.parametrize(("share", "code"), [(0.4, "run-delay"), (0.05, "peer-behind")])
def test_what_waits_for_an_embedded_server_without_its_core_is_not_its_doing(share: float, code: str) -> None:
    held = exchanged([50 * MS] * 4_000, waited=400, **_WAITED)
    record = made_up_record(made_up_plan(400.0), made_up_samples(*_run(held).workers, serve=serve_end()))
    assert record.server
    waiting = tuple(msgspec.structs.replace(one, run_delay_share=share) for one in record.server.workers)
    record = judged(msgspec.structs.replace(record, server=msgspec.structs.replace(record.server, workers=waiting)))
    assert [one.code for one in (*record.verdict.reasons, *record.findings)] == [code]


@pytest.mark.parametrize("plan", [_CLOSED, _OPEN], ids=["closed loop", "open loop"])
def test_a_run_with_nothing_against_it_is_valid(plan: Plan) -> None:
    assert _codes(made_up_record(plan, steady(_LATENCIES, _ON_TIME))) == ("valid", [], [])


# -- invalid: the load that was asked for was not offered

_INVALID = [
    # connections: of 100, 1 % may be missing
    pytest.param(_CLOSED, _opened(99), "valid", [], ["connections-missing"], id="1 % of the connections missing"),
    pytest.param(_CLOSED, _opened(98), "invalid", ["incomplete"], [], id="2 % missing"),
    pytest.param(
        _CLOSED,
        _opened(98, opened=100, errors={("receive", "CLOSED_BY_PEER"): 2}),
        "invalid",
        ["incomplete"],
        [],
        id="2 % opened and broke before the window",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, errors={("receive", "ECONNRESET"): 1}), answered=100),
        "valid",
        [],
        ["connections-missing"],
        id="1 % lost",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, errors={("receive", "ECONNRESET"): 2}), answered=100),
        "invalid",
        ["connections-lost"],
        [],
        id="2 % lost",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, errors={("receive", "ECONNRESET"): 1}), answered=99),
        "invalid",
        ["connections-lost"],
        [],
        id="1 % missing and 1 % lost",
    ),
    pytest.param(
        _CHURN,
        _run(
            exchanged(
                [MS] * 4_000,
                asked=71_000,
                opened=3_447,
                failed_connects=67_553,
                errors={("connect", "ECONNREFUSED"): 67_553},
            )
        ),
        "invalid",
        ["connects-failed"],
        [],
        id="churn whose connects were refused",
    ),
    pytest.param(
        made_up_plan(400.0, REMOTE, lifetime_ns=0),
        _run(
            exchanged(
                [MS] * 1_000,
                intended=3_000,
                unsent=3_000,
                waited=3_000,
                **_WAITED,
                asked=173,
                opened=83,
                failed_connects=90,
                errors={("connect", "ECONNREFUSED"): 90},
            )
        ),
        "invalid",
        ["connects-failed"],
        [],
        id="churn whose connects were refused, with no connection for most messages",
    ),
    pytest.param(
        made_up_plan(target=REMOTE, lifetime_ns=0, messages=1_000_000),
        _run(
            exchanged(
                [MS] * 4_000,
                asked=4_500,
                opened=4_000,
                failed_connects=500,
                errors={("connect", "ECONNREFUSED"): 500},
            ),
            stranded_ns=HOLD_NS + 8 * S,
        ),
        "invalid",
        ["stranded"],
        [],
        id="churn until the messages are sent, and no connection to send them",
    ),
    pytest.param(
        made_up_plan(400.0, REMOTE, lifetime_ns=20 * MS, messages=1_000_000),
        _run(
            exchanged(
                [MS] * 4_000,
                intended=996_000,
                unsent=996_000,
                asked=60_000,
                opened=59_500,
                failed_connects=500,
                errors={("connect", "ECONNREFUSED"): 500},
            ),
            stranded_ns=HOLD_NS + 8 * S,
        ),
        "invalid",
        ["stranded"],
        [],
        id="the same by a schedule, of which the rest was never sent",
    ),
    pytest.param(
        made_up_plan(target=REMOTE, lifetime_ns=0, messages=1_000_000),
        _run(
            page(asked=1_000, failed_connects=1_000, errors={("connect", "ECONNREFUSED"): 1_000}),
            stranded_ns=HOLD_NS + 8 * S,
        ),
        "invalid",
        ["stranded"],
        [],
        id="the same, gone before the first of the messages",
    ),
    pytest.param(
        _CHURN,
        _run(exchanged([MS] * 4_000, asked=4_000, opened=3_990, failed_connects=10)),
        "valid",
        [],
        [],
        id="churn of which 0.25 % failed",
    ),
    pytest.param(
        _CHURN,
        _run(
            exchanged(
                [MS] * 4_000,
                asked=9_000,
                opened=4_000,
                failed_connects=5_000,
                errors={("connect", "EADDRNOTAVAIL"): 5_000},
            )
        ),
        "invalid",
        ["exhausted"],
        [],
        id="churn that ran out of ports",
    ),
    pytest.param(
        _CLOSED, _opened(70, errors={("connect", "EMFILE"): 30}), "invalid", ["exhausted"], [], id="no file descriptors"
    ),
    pytest.param(
        _CLOSED,
        _opened(70, stopped_opening="memory: 1 GiB of 24 GiB were left"),
        "invalid",
        ["exhausted"],
        [],
        id="no memory for more",
    ),
    # nothing to read
    pytest.param(
        _CLOSED, _run(page(), window_start_ns=None, window_end_ns=None), "invalid", ["no-window"], [], id="no window"
    ),
    pytest.param(_OPEN, _run(page()), "invalid", ["nothing-due"], [], id="no message due"),
    pytest.param(
        _CLOSED,
        _run(page(intended=100, sent=100, unanswered=100)),
        "invalid",
        ["no-replies"],
        [],
        id="the target fell silent",
    ),
    pytest.param(
        _OPEN,
        made_up_samples(
            worker(
                0,
                page(
                    asked=100,
                    opened=100,
                    intended=100,
                    sent=100,
                    failed=100,
                    errors={("receive", "REPLY_TIMEOUT"): 100},
                ),
                page(),
                page(intended=4_000, unsent=4_000),
                page(),
                peak=100,
            ),
            answered=0,
        ),
        "invalid",
        ["no-replies"],
        [],
        id="the target never replied",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(
            worker(
                0,
                page(
                    asked=100,
                    opened=5,
                    failed_connects=95,
                    intended=5,
                    sent=5,
                    failed=5,
                    errors={("connect", "ECONNREFUSED"): 95, ("receive", "ECONNRESET"): 5},
                ),
                page(),
                page(),
                page(),
                peak=5,
            ),
            answered=0,
        ),
        "invalid",
        ["incomplete"],
        [],
        id="most were refused, and the others had no reply",
    ),
    # messages: of 4,000, 1 % may be unsent
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 3_960, intended=40, unsent=40, waited=40)),
        "valid",
        [],
        [],
        id="1 % of the messages unsent",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED)),
        "invalid",
        ["rate-missed"],
        [],
        id="half the rate, for the target left no room",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED, **_busy(0.97))),
        "invalid",
        ["saturated"],
        [],
        id="half the rate, and our worker had no time left",
    ),
    pytest.param(
        _OPEN,
        _run(
            exchanged(
                [90 * MS] * 2_000,
                [40 * MS] * 2_000,
                **_disturbed([90 * MS] * 2_000, histograms={"held": [30 * MS] * 2_000}),
                **_busy(0.97),
                intended=2_000,
                unsent=2_000,
                waited=3_900,
            )
        ),
        "invalid",
        ["saturated"],
        [],
        id="half the rate, and late because our worker had no time left",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([90 * MS] * 2_000, [40 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED)),
        "invalid",
        ["schedule-missed"],
        [],
        id="half the rate, later at our end than held",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 2_000, intended=2_000, unsent=2_000)),
        "invalid",
        ["schedule-missed"],
        [],
        id="half the rate, and nothing waited",
    ),
    pytest.param(
        _OPEN,
        made_up_samples(
            *(
                worker(
                    index,
                    ramp(),
                    page(),
                    exchanged(
                        [50 * MS] * 1_000,
                        intended=1_000,
                        unsent=1_000,
                        waited=1_900,
                        histograms={"held": [30 * MS] * 1_000, "standstill": [3 * S]},
                    ),
                    page(),
                    standstill_ns=3 * S,
                    standstill_at_ns=START_NS + 3 * S,
                )
                for index in (0, 1)
            )
        ),
        "invalid",
        ["schedule-missed"],
        [],
        id="half the rate, for we stood still 30 % of the time",
    ),
    pytest.param(
        _OPEN, _run(exchanged([MS] * 3_900)), "invalid", ["schedule-missed"], [], id="2.5 % never came to be due"
    ),
    pytest.param(
        _OPEN,
        _run(
            exchanged([MS] * 2_000, intended=2_000, unsent=2_000, errors={("receive", "ECONNRESET"): 100}),
            answered=100,
        ),
        "invalid",
        ["connections-lost"],
        [],
        id="unsent for want of connections",
    ),
    # ours
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000), window_end_ns=HOLD_NS + 9 * S),
        "invalid",
        ["cut-short"],
        [],
        id="a shorter window than planned",
    ),
    pytest.param(
        made_up_plan(target=REMOTE, messages=4_000),
        _run(exchanged([MS] * 4_000), window_end_ns=HOLD_NS + 9 * S),
        "valid",
        [],
        [],
        id="a run that its messages end",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000), ends=(WorkerEnd(0, 4711, 0, "killed by SIGKILL", mid_fold=True),)),
        "invalid",
        ["worker-died"],
        [],
        id="a worker died",
    ),
    pytest.param(_CLOSED, steady(_LATENCIES, sent=1), "invalid", ["does-not-add-up"], [], id="sent, without a fate"),
    pytest.param(_CLOSED, steady(_LATENCIES, intended=1), "invalid", ["does-not-add-up"], [], id="due, without a fate"),
    pytest.param(_CLOSED, steady(_LATENCIES, unsent=1), "invalid", ["does-not-add-up"], [], id="unsent, never due"),
]

# -- suspect: a disturbance of our own changes a printed figure by more than a tenth

_SUSPECT = [
    pytest.param(
        _OPEN,
        _standing([MS] * 1_900 + [800 * MS] * 100, [800 * MS] * 100, 100, [S, 200 * MS]),
        "suspect",
        ["stood-still"],
        [],
        id="a standstill is the upper percentiles",
    ),
    pytest.param(
        _OPEN,
        _standing([MS] * 2_000, [MS] * 20, 20, [15 * MS]),
        "valid",
        [],
        [],
        id="a standstill that changes nothing",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000))),
        "suspect",
        ["late"],
        [],
        id="late by a third, all of them: nothing is left",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 3_900 + [9 * MS] * 100, [0] * 3_900 + [8 * MS] * 100, **_disturbed([9 * MS] * 100, 49))),
        "suspect",
        ["late"],
        [],
        id="late, and less than half of them by standstills",
    ),
    pytest.param(
        _OPEN,
        _run(
            exchanged(
                [60 * US] * 3_900 + [900 * US] * 100, [0] * 3_900 + [800 * US] * 100, **_disturbed([900 * US] * 100)
            )
        ),
        "valid",
        [],
        ["slightly-late"],
        id="late by a timer's noise",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([60 * US] * 4_000, [20 * US] * 4_000, **_disturbed([60 * US] * 4_000))),
        "valid",
        [],
        ["slightly-late"],
        id="late by a timer's noise, all of them",
    ),
    pytest.param(
        _OPEN,
        _run(
            exchanged(
                [60 * US] * 3_900 + [1200 * US] * 100, [0] * 3_900 + [1150 * US] * 100, **_disturbed([1200 * US] * 100)
            )
        ),
        "suspect",
        ["late"],
        [],
        id="late by more than a timer's noise",
    ),
    # A target that takes 2 s: each message overlaps a standstill of 12 ms, which is no tenth of it.
    pytest.param(
        _OPEN,
        _standing([2 * S] * 2_000, [2 * S] * 2_000, 2_000, [12 * MS]),
        "valid",
        [],
        ["target-stalled"],  # half of the replies took 1 ms
        id="too short a standstill",
    ),
    # of 1,000: p99 is the 990th, 1 ms with and without; only the maximum changes
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 3_991 + [2 * S] * 9, **_disturbed([2 * S] * 9))),
        "valid",
        [],
        [],
        id="the maximum alone",
    ),
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [2 * S, S // 5]),
        "suspect",
        ["stood-still"],
        [],
        id="11 % of a closed loop",
    ),
    pytest.param(_CLOSED, _standing([MS] * 2_000, [], 0, [2 * S]), "valid", [], [], id="10 % of a closed loop"),
    # 200 turns of 15 ms each, and the worker was on its core for 98 % of the window: they were work.
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [15 * MS] * 200, {**_of(0.98), **_busy(0.99)}),
        "suspect",
        ["blast-bound"],
        [],
        id="long turns of a closed loop at this end's limit",
    ),
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [15 * MS] * 200, {**_of(0.7), **_busy(0.99)}),
        "suspect",
        ["stood-still", "blast-bound"],
        [],
        id="a closed loop that was stopped for longer than its turns were long",
    ),
    pytest.param(_OPEN, _standing([MS] * 2_000, [], 0, [9 * S]), "valid", [], [], id="no rate of an open loop"),
    pytest.param(_CLOSED, steady(_LATENCIES, cpu_user_ns=7 * S), "valid", [], [], id="90 % of a core is not all"),
    pytest.param(_CLOSED, steady(_LATENCIES, cpu_user_ns=8 * S), "suspect", ["blast-bound"], [], id="our own ceiling"),
    pytest.param(_OPEN, steady(_LATENCIES, _ON_TIME, cpu_user_ns=8 * S), "valid", [], [], id="busy, and on time"),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 4_000, waited=400, **_WAITED, **_busy(0.97))),
        "suspect",
        ["blast-bound"],
        [],
        id="held while we had no time left",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, **_of(cpu=0.99), **_busy(0.4))),
        "valid",
        [],
        [],
        id="asked again and again for want of work",
    ),
    pytest.param(
        _CLOSED,
        steady(_LATENCIES, run_delay_ns=S + 1),
        "suspect",
        ["run-delay"],
        [],
        id="10 % without a core",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end()),
        "valid",
        [],
        [],
        id="both ends here, each on its core",
    ),
    pytest.param(
        _SHARED,
        made_up_samples(*steady(_LATENCIES).workers, serve=_on_core(_SERVE_BUSY, 1)),
        "suspect",
        ["shared-core"],
        [],
        id="both ends on a core",
    ),
    pytest.param(
        _SHARED,
        # Worker 1 waits for 4 s of 10, in which the serve end has its core.
        _waiting_for_serve(4 * S),
        "suspect",
        ["shared-core"],
        [],
        id="both ends on a core, and one waits for the other",
    ),
    pytest.param(
        _SHARED,
        _waiting_for_serve(7 * S),
        "suspect",
        ["run-delay", "shared-core"],
        [],
        id="both ends on a core, and one waits for more than the other",
    ),
    pytest.param(
        _SHARED,
        made_up_samples(*steady(_LATENCIES).workers, serve=_on_core(serve_end(cpu_ns=(S // 4, S // 4)), 1)),
        "valid",
        [],
        [],
        id="both ends on a core that the serve end hardly uses",
    ),
    pytest.param(
        _CLOSED,
        steady(_LATENCIES, dropped={"latency": 2}),
        "suspect",
        ["dropped-samples"],
        [],
        id="values out of range",
    ),
    # 10 s of two workers; cut off for 1.5 s
    pytest.param(
        _CLOSED,
        replace(steady(_LATENCIES), throttling=ThrottlingSamples(100, 40, 3 * S // 2)),
        "suspect",
        ["throttled"],
        [],
        id="a quota",
    ),
    pytest.param(
        _CLOSED,
        replace(steady(_LATENCIES), throttling=ThrottlingSamples(100, 4, S // 10)),
        "valid",
        [],
        [],
        id="a quota that hardly bites",
    ),
    pytest.param(
        _OPEN,
        _standing(
            [MS] * 1_900 + [80 * MS] * 100,
            [80 * MS] * 100,
            100,
            [80 * MS],
            throttling=ThrottlingSamples(100, 1, 80 * MS),
        ),
        "suspect",
        ["throttled"],
        [],
        id="a standstill that the quota made",
    ),
    pytest.param(
        _OPEN,
        _standing(
            [MS] * 1_900 + [800 * MS] * 100, [800 * MS] * 100, 100, [S], throttling=ThrottlingSamples(100, 1, 80 * MS)
        ),
        "suspect",
        ["stood-still"],
        [],
        id="a standstill that the quota did not make",
    ),
    pytest.param(
        _CLOSED,
        replace(steady(_LATENCIES, run_delay_ns=3 * S // 2), throttling=ThrottlingSamples(100, 30, 9 * S // 10)),
        "suspect",
        ["throttled"],
        [],
        id="a wait for the core that the quota made",
    ),
]

# -- findings: what the target, the network or the machine does with what it was offered

_FOUND = [
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 4_000, waited=400, **_WAITED)),
        "valid",
        [],
        ["peer-behind"],
        id="held, while we had time to spare",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 4_000, waited=400, histograms={"held": [4 * MS] * 4_000})),
        "valid",
        [],
        [],
        id="held for less than a tenth of the latency",
    ),
    # 400 messages are due in a standstill of 1 s. 44 more wait behind them at 4,000 replies/s, 800 more at 600.
    *(
        pytest.param(_OPEN, _queue(hz, S), "valid", [], [], id=f"held behind a standstill of ours, {hz} replies/s")
        for hz in (4_000, 1_000, 600, 500)
    ),
    pytest.param(
        _OPEN, _queue(4_000, S, S // 2, 7 * S), "valid", [], ["peer-behind"], id="held, and behind a standstill"
    ),
    # All that waited were under way in a standstill of 15 ms, which holds nothing up for 700 ms.
    pytest.param(
        _OPEN, _queue(4_000, 15 * MS, 700 * MS), "valid", [], ["peer-behind"], id="held for longer than we stood"
    ),
    # 5 messages are due in 12 ms: with those behind them, 60 wait until the last of these has waited for 11 ms.
    pytest.param(
        _OPEN,
        _held([0] * 2_400 + [11 * MS * k // 1_600 for k in range(1, 1_601)], 5, 12 * MS),
        "valid",
        [],
        ["peer-behind"],
        id="held all the time, and stood once",
    ),
    pytest.param(
        _OPEN, _run(exchanged(_STALLED + [MS] * 2_000)), "valid", [], ["target-stalled"], id="the target paused"
    ),
    pytest.param(
        _CLOSED, steady(_LATENCIES, intended=3, sent=3, unanswered=3), "valid", [], ["messages-lost"], id="0.15 % lost"
    ),
    pytest.param(_CLOSED, steady(_LATENCIES, intended=1, sent=1, failed=1), "valid", [], [], id="0.05 % lost"),
    pytest.param(
        _CLOSED,
        replace(steady(_LATENCIES, intended=3, sent=3, unanswered=3), interrupted="SIGINT"),
        "valid",
        [],
        [],
        id="under way when a signal ended the run",
    ),
    pytest.param(
        _CLOSED,
        _run(
            exchanged([MS] * 4_000, intended=100, sent=100, unanswered=100),
            ends=(WorkerEnd(0, 4711, 0, "killed by SIGKILL"),),
        ),
        "invalid",
        ["worker-died"],
        [],
        id="under way when their worker died",
    ),
    pytest.param(
        _OPEN,
        replace(_run(exchanged(_STALLED + [MS] * 2_000)), throttling=ThrottlingSamples(100, 90, 7 * S)),
        "suspect",
        ["throttled"],
        [],
        id="slow replies, and a quota of ours",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged(_STALLED + [MS] * 2_000, **_of(delay=0.2))),
        "suspect",
        ["run-delay"],
        [],
        id="slow replies, and a core that we waited for",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 4_000, waited=400, **_WAITED, **_of(delay=0.7), **_busy(0.3))),
        "suspect",
        ["run-delay"],
        [],
        id="held, and no time to spare because of others",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 4_000, waited=400, **_WAITED, **_of(delay=0.2), **_busy(0.1))),
        "suspect",
        ["run-delay"],
        [],
        id="held, while others had our core",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([5 * S] * 4_000, waited=400, histograms={"held": [4 * S] * 2_000}, **_of(delay=0.2))),
        "suspect",
        ["run-delay"],
        ["peer-behind"],
        id="held for longer than others had our core",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([600 * MS] * 4_000, waited=400, histograms={"held": [500 * MS] * 2_000}, **_of(delay=0.2))),
        "suspect",
        ["run-delay"],
        ["peer-behind"],
        id="held for longer than a wait for a core is",
    ),
    pytest.param(_CLOSED, steady([MS] * 400), "valid", [], ["few-samples"], id="800 replies support no p99"),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(restarts=1)),
        "valid",
        [],
        ["server-restarted"],
        id="a serve worker died",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(errors={("connect", "EMFILE"): 9})),
        "valid",
        [],
        ["server-shed"],
        id="the serve end has no file descriptors left",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(300, 100))),
        "valid",
        [],
        ["uneven"],
        id="three quarters went to one serve worker",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(75, 25))),
        "valid",
        [],
        [],
        id="few connections are never uneven",
    ),
    pytest.param(
        _CLOSED,
        replace(
            steady(_LATENCIES),
            kernel=KernelSamples({}, {}, {}, {"steal": 0.05}),
            kernel_of_ramp=KernelSamples({"TcpExt.ListenOverflows": 135}, {}, {}, {}),
        ),
        "valid",
        [],
        ["accept-queue", "stolen"],
        id="what the kernel counted",
    ),
]


@pytest.mark.parametrize(("plan", "samples", "state", "reasons", "findings"), [*_INVALID, *_SUSPECT, *_FOUND])
def test_what_a_run_shows_is_found_and_nothing_else(
    plan: Plan, samples: RunSamples, state: str, reasons: list[str], findings: list[str]
) -> None:
    record = made_up_record(plan, samples)
    assert _codes(record) == (state, reasons, findings)
    for said in (*record.verdict.reasons, *record.findings):
        assert "\n" not in said.text
        assert any(letter.isdigit() for letter in said.text) or said.code == "late"
    # The record alone says it, as another process reads it.
    again = msgspec.json.decode(encode(record), type=RunRecord)
    bare = msgspec.structs.replace(again, verdict=Verdict("invalid", (Reason("made-up", ""),)), findings=())
    assert judge(bare) == (record.verdict, record.findings)
    assert judged(bare) == again


# -- whom a reason names, and with what


def _said(plan: Plan, samples: RunSamples, code: str) -> tuple[str, str]:
    record = made_up_record(plan, samples)
    [(text, party)] = [(one.text, one.party) for one in (*record.verdict.reasons, *record.findings) if one.code == code]
    return text, party


_SLOW_RAMP = {
    "settled_ns": START_NS + 2 * S
}  # 99 connections after the first one in 2 s less its own 10 ms: 49.7/s of 100/s


_NAMED = [
    pytest.param(
        _CLOSED,
        _opened(70, errors={("connect", "ECONNREFUSED"): 30}),
        "incomplete",
        "target",
        ["stalled at 70 of 100: the target refused", "(ECONNREFUSED)"],
        id="refused",
    ),
    pytest.param(
        _CLOSED,
        _opened(45, opened=100, errors={("receive", "NOT_ACCEPTED"): 55}),
        "incomplete",
        "target",
        ["stalled at 45 of 100: the target's accept queue is full (NOT_ACCEPTED)"],
        id="open for this kernel alone",
    ),
    pytest.param(
        _CLOSED,
        _opened(60, opened=100, errors={("receive", "CLOSED_BY_PEER"): 40}),
        "incomplete",
        "target",
        ["60 of 100 connections were open, with a first reply", "the target closed them", "CLOSED_BY_PEER"],
        id="opened and broke is not stalled",
    ),
    pytest.param(
        _CLOSED,
        _opened(70),
        "incomplete",
        "request",
        ["stalled at 70 of 100: the ramp ended before the others were started"],
        id="never begun",
    ),
    pytest.param(
        _CLOSED,
        _opened(70, errors={("connect", "EHOSTUNREACH"): 30}),
        "incomplete",
        "network",
        ["stalled at 70 of 100: a router or this machine's kernel reports no answer from that host"],
        id="no way there",
    ),
    pytest.param(
        _CLOSED,
        _opened(70, errors={("connect", "EADDRNOTAVAIL"): 30}),
        "exhausted",
        "machine",
        ["30 of 100 connects failed on this machine: all local ports", "(EADDRNOTAVAIL)", "--source CIDR"],
        id="ports",
    ),
    pytest.param(
        _CLOSED,
        _opened(70, stopped_opening="memory: 1 GiB of 24 GiB were left"),
        "exhausted",
        "machine",
        ["stalled at 70 of 100: memory: 1 GiB of 24 GiB were left.", "doctor -c 100"],
        id="memory",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, errors={("receive", "ECONNRESET"): 2, ("send", "EPIPE"): 1}), answered=100),
        "connections-lost",
        "target",
        ["3 of 100 connections broke during the measured time: the target reset them (ECONNRESET)"],
        id="lost",
    ),
    pytest.param(
        _OPEN,
        made_up_samples(
            worker(
                0,
                # In an open loop the opening messages are none of the schedule's.
                page({"first_byte": [MS] * 100}, {("receive", "WRONG_BYTES"): 100}, asked=100, opened=100),
                page(),
                page(),
                page(),
                peak=100,
            ),
            answered=0,
        ),
        "no-replies",
        "target",
        ["100 messages got no correct reply", "not what was sent (WRONG_BYTES)"],
        id="wrong replies",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED)),
        "rate-missed",
        "target",
        ["2,000 of 4,000 messages were never sent", "held p99 30 ms", "target is slower than the rate"],
        id="a slow target",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([90 * MS] * 2_000, [40 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED)),
        "schedule-missed",
        "loadkit",
        ["never sent, and messages were late (lateness p99 40 ms) for longer than they waited for room (p99 30 ms)"],
        id="unsent, later at our end than held",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 2_000, intended=2_000, unsent=2_000, waited=1)),
        "schedule-missed",
        "loadkit",
        ["were never sent, and the target did not hold them up: 1 message waited for room: this end fell behind"],
        id="unsent, and hardly any waited",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 2_000, intended=2_000, unsent=2_000, **_of(0.97))),
        "saturated",
        "loadkit",
        ["2,000 of 4,000", "worker 0", "97%"],
        id="a full core of ours",
    ),
    pytest.param(
        _OPEN,
        _standing([MS] * 1_000, [], 0, [6 * S], throttling=ThrottlingSamples(100, 70, 6 * S)),
        "schedule-missed",
        "machine",
        ["only 3,000 of the 4,000 scheduled messages became due", "CPU quota stopped it for 6 s"],
        id="a schedule that the quota did not let us keep",
    ),
    pytest.param(
        _OPEN,
        _standing([MS] * 1_900 + [800 * MS] * 100, [800 * MS] * 100, 100, [S, 200 * MS]),
        "stood-still",
        "loadkit",
        [
            "blast worker 1 stood still 2 times, for 1.20 s, the longest 1 s at 3 s after the start",
            "changes latency p99 (p99 is 800 ms; 1.00 ms without the messages it hit)",
        ],
        id="a standstill",
    ),
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [2 * S, S // 5]),
        "stood-still",
        "loadkit",
        ["worker 1 stood still 2 times", "11% of the workers' time is missing in the replies/s"],
        id="standstills of a closed loop",
    ),
    pytest.param(
        _CLOSED,
        replace(
            _standing([MS] * 2_000, [], 0, [3 * S]),
            kernel=KernelSamples({}, {}, {}, {"steal": 0.14}),
        ),
        "stood-still",
        "machine",
        ["worker 1 stood still once, for 3 s, at 3 s after the start", "The host took 14.0%"],
        id="standstills that the host made",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000), **_busy(0.97))),
        "late",
        "loadkit",
        ["4,000 messages went out late", "lateness p99 12 ms", "worker 0 was busy for 97%", "it hit every message"],
        id="late",
    ),
    pytest.param(_CLOSED, _run(exchanged([MS] * 4_000, **_of(1.51))), "blast-bound", "loadkit", ["100%"], id="bound"),
    # other processes had its core
    pytest.param(
        _OPEN,
        _run(exchanged([50 * MS] * 2_000, intended=2_000, unsent=2_000, waited=3_900, **_WAITED, **_CROWDED_OUT)),
        "schedule-missed",
        "machine",
        ["2,000 of 4,000", "no time to spare", "because blast worker 0 waited for a core for 40% of the window"],
        id="unsent, without a core",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([MS] * 2_000, intended=2_000, unsent=2_000, **_of(0.6, 0.4))),
        "saturated",
        "machine",
        ["2,000 of 4,000", "100% of its core and blast worker 0 waited for a core for 40% of the window"],
        id="a full core, most of it others'",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged([30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000), **_CROWDED_OUT)),
        "run-delay",
        "machine",
        [
            "blast worker 0 waited for a core for 40% of the window: latency includes that wait, which changes latency",
            "it hit every message. Other processes ran there",
        ],
        id="late, without a core",
    ),
    pytest.param(
        _OPEN,
        _run(
            exchanged(
                [30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000), **_busy(0.97), **_of(delay=0.2)
            )
        ),
        "late",
        "machine",
        ["4,000 messages went out late", "because blast worker 0 was busy for 97% of its core"],
        id="late, with no time to spare on a core that others had as well",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000, **_of(0.6, 0.4))),
        "blast-bound",
        "machine",
        ["100% of its core and blast worker 0 waited for a core for 40%"],
        id="bound by others",
    ),
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [2 * S, S // 5], _of(0.0, 0.3)),
        "stood-still",
        "machine",
        ["worker 1 stood still 2 times", "It waited 3 s for its core while other processes ran there"],
        id="standstills that other processes made",
    ),
    pytest.param(
        _CLOSED,
        _standing([MS] * 2_000, [], 0, [2 * S, S // 5], _of(0.0, 0.2)),
        "stood-still",
        "loadkit",
        ["worker 1 stood still 2 times"],
        id="standstills that are longer than the wait for a core",
    ),
    pytest.param(
        _CLOSED,
        replace(steady(_LATENCIES), throttling=ThrottlingSamples(100, 40, 3 * S // 2)),
        "throttled",
        "machine",
        ["in 40 of 100 periods, for 1.50 s of the 10 s measured"],
        id="throttled",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(
            worker(0, ramp(), page(), exchanged(_LATENCIES, **_of(delay=0.1)), page()),
            worker(1, ramp(), page(), exchanged(_LATENCIES, **_of(delay=0.4)), page()),
        ),
        "run-delay",
        "machine",
        ["blast worker 1", "40%", "Other processes ran there"],
        id="the worker that waited the longest",
    ),
    pytest.param(
        changed(_CLOSED, workers=2, cores=(0,)),
        _taking_turns(0.5, 0.5),
        "run-delay",
        "loadkit",
        ["2 workers share 1 core"],
        id="more workers than cores",
    ),
    pytest.param(
        changed(_CLOSED, workers=2, cores=(0,)),
        _taking_turns(0.2, 0.6),
        "run-delay",
        "machine",
        ["60%", "Other processes ran there: stop them"],
        id="more workers than cores, and other processes",
    ),
    pytest.param(
        made_up_plan(target=_BESIDE),
        steady(_LATENCIES, run_delay_ns=3 * S),
        "run-delay",
        "machine",
        ["30%", "the target on this machine may be one of them", "give each end cores of its own"],
        id="a target of which nothing is known, on this machine",
    ),
    pytest.param(
        _SHARED,
        made_up_samples(*steady(_LATENCIES).workers, serve=_on_core(_SERVE_BUSY, 1)),
        "shared-core",
        "loadkit",
        ["core 1", "40%"],
        id="a shared core",
    ),
    pytest.param(
        _CLOSED,
        steady(_LATENCIES, dropped={"service": 2}),
        "dropped-samples",
        "loadkit",
        ["4 values of service"],
        id="dropped",
    ),
    pytest.param(
        _CLOSED,
        steady(_LATENCIES, intended=7, sent=5, failed=2, unanswered=1, unsent=1),
        "does-not-add-up",
        "loadkit",
        [
            "phase hold do not add up",
            "intended 4014",
            "sent 4010",
            "unsent 2",
            "replied 4000",
            "failed 4",
            "unanswered 2",
        ],
        id="sums",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000), window_end_ns=HOLD_NS + 9 * S),
        "cut-short",
        "loadkit",
        ["9 s of 10 s"],
        id="cut",
    ),
    pytest.param(
        _CLOSED,
        _run(
            exchanged(
                [MS] * 4_000, intended=9, sent=9, failed=6, unanswered=3, errors={("receive", "REPLY_TIMEOUT"): 1}
            )
        ),
        "messages-lost",
        "target",
        ["9 of 4,009 messages got no reply", "Connections ended with an error: 1 by REPLY_TIMEOUT; the errors"],
        id="lost messages",
    ),
    pytest.param(
        _CLOSED,
        # An idle connection that broke lost no message.
        _run(
            exchanged([MS] * 4_000, intended=9, sent=9, unanswered=9, errors={("receive", "ECONNRESET"): 1}),
            answered=100,
        ),
        "messages-lost",
        "target",
        ["9 of 4,009", "They were still unanswered when the run ended"],
        id="unanswered messages",
    ),
    pytest.param(
        _OPEN,
        _run(exchanged(_STALLED + [MS] * 2_000)),
        "target-stalled",
        "target",
        ["p99 is 700 ms", "p50 is 1.00 ms"],
        id="a pause of the target",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(worker(0, ramp(100), page(), exchanged([MS] * 4_000), page(), peak=100, **_SLOW_RAMP)),
        "connect-rate-missed",
        "target",
        ["opened at 49.7", "/s of the requested 100/s", "waited for the target"],
        id="a slow ramp, and we had time",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(
            worker(
                0,
                ramp(100, waits=9, busy_ns=19 * S // 10),
                page(),
                exchanged([MS] * 4_000),
                page(),
                peak=100,
                **_SLOW_RAMP,
            )
        ),
        "connect-rate-missed",
        "loadkit",
        ["opened at 49.7", "/s of the requested 100/s", "95% of that time"],
        id="a slow ramp at a default rate, and we had none",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(260, 140))),
        "uneven",
        "target",
        ["1.30 x the mean", "Chance does not explain it", "stays below 1.13 x"],
        id="uneven beyond luck",
    ),
    pytest.param(
        _EMBEDDED,
        made_up_samples(*steady(_LATENCIES).workers, serve=serve_end(accepted=(130, 108, *[99] * 38))),
        "uneven",
        "target",
        ["1.30 x the mean", "A fair hash does that"],
        id="uneven by luck",
    ),
    pytest.param(
        _CLOSED,
        _run(exchanged([MS] * 4_000), ends=(WorkerEnd(0, 4711, 0, "exit status 1"),)),
        "worker-died",
        "loadkit",
        ["blast worker 0 (pid 4711) ended early: exit status 1"],
        id="a worker that failed",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(
            worker(0, ramp(100), page(errors={("receive", "ECONNRESET"): 100}), page(), page(), peak=100),
            stranded_ns=START_NS + S,
            window_start_ns=None,
            window_end_ns=None,
        ),
        "no-window",
        "target",
        ["every connection had ended before the measured time began: the target reset them (ECONNRESET)"],
        id="all connections gone before the measured time",
    ),
    pytest.param(
        changed(_CLOSED, sources={"connect_rate": "option"}),
        made_up_samples(
            worker(
                0,
                ramp(100, waits=9, busy_ns=19 * S // 10),
                page(),
                exchanged([MS] * 4_000),
                page(),
                peak=100,
                **_SLOW_RAMP,
            )
        ),
        "connect-bound",
        "loadkit",
        ["opened at 49.7", "busy for 95% of a core"],
        id="a slow ramp at a rate that was given, and we had no time",
    ),
    pytest.param(
        _CLOSED,
        made_up_samples(
            worker(0, ramp(100), page(), exchanged([MS] * 4_000, run_delay_ns=2 * S), page(), peak=100, **_SLOW_RAMP)
        ),
        "connect-rate-missed",
        "machine",
        ["opened at 49.7", "other processes kept a blast worker from its core"],
        id="a slow ramp, and others had our core",
    ),
    pytest.param(
        made_up_plan(400.0, REMOTE, lifetime_ns=20 * MS),
        _run(
            exchanged(
                [50 * US] * 4_000,
                waited=90,
                histograms={
                    "held": [US] * 3_900 + [5 * MS] * 100,
                    "connect": [30 * US] * 500,
                    "first_byte": [6 * MS] * 500,
                },
            )
        ),
        "all-replaced",
        "request",
        ["90 of 4,000 messages waited for a connection that was being reopened (held p99 5"],
        id="connections that are being opened again",
    ),
]


@pytest.mark.parametrize(("plan", "samples", "code", "party", "figures"), _NAMED)
def test_a_reason_names_what_was_seen_and_whose_it_is(
    plan: Plan, samples: RunSamples, code: str, party: str, figures: list[str]
) -> None:
    text, named = _said(plan, samples, code)
    assert [figure for figure in figures if figure not in text] == []
    assert named == party


# An error of this machine and one of the network, in place of any other.
_ELSEWHERE = ("EACCES", "ENETUNREACH")


@functools.cache
def _all_said() -> frozenset[tuple[str, str]]:
    """The code and party of everything that the made-up runs lead to, whatever their errors are."""
    records = [made_up_record(*case.values[:2]) for case in [*_INVALID, *_SUSPECT, *_FOUND, *_NAMED]]
    records.append(_waiting_at_serve(is_joined=True))
    for record in [one for one in records if one.errors]:
        rows = [tuple(msgspec.structs.replace(row, error=name) for row in record.errors) for name in _ELSEWHERE]
        records += [judged(msgspec.structs.replace(record, errors=errors)) for errors in rows]
    return frozenset((one.code, one.party) for record in records for one in (*record.verdict.reasons, *record.findings))


@pytest.mark.parametrize("rule", [*RULES, *FINDINGS], ids=lambda rule: rule.code)
def test_a_rule_names_the_parties_of_its_row_and_no_other(rule: Any) -> None:
    assert {party for code, party in _all_said() if code == rule.code} == set(rule.parties)


def test_a_wait_for_a_core_that_made_messages_late_is_told_once() -> None:
    late = exchanged([30 * MS] * 4_000, [12 * MS] * 4_000, **_disturbed([30 * MS] * 4_000), **_CROWDED_OUT)
    assert _codes(made_up_record(_OPEN, _run(late))) == ("suspect", ["run-delay"], [])


def test_a_pause_that_made_messages_wait_for_room_is_told_once() -> None:
    hold = exchanged([*_STALLED, *[MS] * 2_000], waited=90, histograms={"held": [MS] * 3_900 + [700 * MS] * 100})
    assert _codes(made_up_record(_OPEN, _run(hold))) == ("valid", [], ["peer-behind"])


@pytest.mark.parametrize(("first_byte", "code"), [(6_000, "all-replaced"), (40, "peer-behind")])
def test_a_wait_for_a_connection_that_is_being_opened_again_is_not_blamed_on_the_target(
    first_byte: int, code: str
) -> None:
    held = [US] * 3_900 + [5 * MS] * 100
    more = {"held": held, "connect": [30 * US] * 500, "first_byte": [first_byte * US] * 500}
    hold = exchanged([50 * US] * 4_000, waited=90, histograms=more)
    churn = made_up_plan(400.0, REMOTE, lifetime_ns=20 * MS)
    state, reasons, findings = _codes(made_up_record(churn, _run(hold)))
    assert (state, reasons) == ("valid", [])
    assert {"all-replaced", "peer-behind"} & set(findings) == {code}


def test_a_standstill_is_named_though_more_messages_were_late_by_a_timer_s_noise() -> None:
    # 4,000: 300 in a standstill of 1 s, and 3,700 late by 30 us of 150.
    stood = [700 * MS] * 300
    latencies, lateness = [150 * US] * 3_700 + stood, [30 * US] * 3_700 + [600 * MS] * 300
    hold = exchanged(latencies, lateness, **_disturbed(latencies, 300, histograms={"standstill": [S]}))
    samples = made_up_samples(
        worker(0, ramp(100), page(), hold, page(), peak=100, standstill_ns=S, standstill_at_ns=START_NS + 3 * S)
    )
    record = made_up_record(_OPEN, samples)
    assert _codes(record)[:2] == ("suspect", ["stood-still"])


def test_a_connect_rate_that_was_asked_for_and_that_we_could_not_keep_is_suspect() -> None:
    busy = ramp(100, waits=9, busy_ns=19 * S // 10)
    samples = made_up_samples(worker(0, busy, page(), exchanged([MS] * 4_000), page(), peak=100, **_SLOW_RAMP))
    asked = changed(_CLOSED, sources={"connect_rate": "option"})
    assert _codes(made_up_record(asked, samples)) == ("suspect", ["connect-bound"], [])
    assert _codes(made_up_record(_CLOSED, samples)) == ("valid", [], ["connect-rate-missed"])
    # Workers of one core take turns: each is busy for its own part of the ramp.
    turns = [
        worker(
            index, ramp(50, waits=9, busy_ns=19 * S // 20), page(), exchanged(_LATENCIES), page(), core=0, **_SLOW_RAMP
        )
        for index in (0, 1)
    ]
    assert _codes(made_up_record(asked, made_up_samples(*turns))) == ("suspect", ["connect-bound"], [])


@pytest.mark.parametrize("count", [2, 3, 11])
def test_the_last_connection_s_own_time_is_no_part_of_the_connect_rate(count: int) -> None:
    # 4/s: the last of them is begun (count - 1) / 4 s after the start, and takes 100 ms.
    first = page({"connect": [100 * MS] * count, "first_byte": [MS] * count}, asked=count, opened=count)
    settled = START_NS + (count - 1) * S // 4 + 101 * MS
    plan = changed(_CLOSED, connections=count, connect_rate_hz=4.0)
    one = worker(0, first, page(), exchanged([MS] * 4_000), page(), peak=count, settled_ns=settled)
    assert _codes(made_up_record(plan, made_up_samples(one)))[2] == []


def test_a_missed_connect_rate_is_reported_though_every_connect_waited_for_its_turn() -> None:
    # 100/s asked, 70/s kept: connection k is begun k / 70 s after the start, and was due after k / 100 s. So the middle
    # one is 210 ms late; first replies take 200 ms at the median. Less both, 99 connections in 1.41 s would be 98.6/s.
    late = [k * S // 70 - k * S // 100 + MS // 10 for k in range(100)]
    first = page({"connect": late, "first_byte": [k * 4 * MS + MS // 10 for k in range(100)]}, asked=100, opened=100)
    hold = exchanged([MS] * 4_000, run_delay_ns=2 * S)
    for page_, party in ((hold, "machine"), (exchanged([MS] * 4_000), "target")):
        one = worker(0, first, page(), page_, page(), peak=100, settled_ns=START_NS + 99 * S // 70)
        record = made_up_record(_CLOSED, made_up_samples(one))
        [found] = [finding for finding in record.findings if finding.code == "connect-rate-missed"]
        assert found.party == party
        assert "opened at 70" in found.text


# -- runs that ended early


def test_an_interrupted_run_is_partial_and_judged_on_what_was_asked_up_to_then() -> None:
    samples = _run(exchanged([MS] * 2_000), interrupted="SIGTERM", window_end_ns=HOLD_NS + 5 * S)
    record = made_up_record(_OPEN, samples)
    assert _codes(record) == ("valid", [], [])
    assert (record.partial, record.interrupted) == (True, "SIGTERM")


def test_a_run_interrupted_in_its_ramp_is_not_blamed_for_what_it_never_began() -> None:
    samples = made_up_samples(
        worker(0, ramp(5), page(), page(), page(), peak=5),
        interrupted="SIGINT",
        window_start_ns=None,
        window_end_ns=None,
    )
    record = made_up_record(_CLOSED, samples)
    assert _codes(record) == ("invalid", ["no-window"], [])
    [reason] = record.verdict.reasons
    assert reason.party == "request"
    assert reason.text == "SIGINT ended the run before its measured time began: 5 of 100 connections were open by then"


def test_a_run_whose_connections_are_gone_says_when_the_last_one_was() -> None:
    lost = _run(
        exchanged([MS] * 400, errors={("receive", "ECONNRESET"): 100}), answered=100, stranded_ns=START_NS + 4 * S
    )
    [reason] = made_up_record(_CLOSED, lost).verdict.reasons
    assert (reason.code, reason.party) == ("connections-lost", "target")
    assert reason.text.endswith(". The last one ended 4 s after the start of the run")


def test_a_run_whose_connections_are_gone_before_it_is_measured_names_what_ended_them() -> None:
    warm_up = page(errors={("receive", "ECONNRESET"): 100})
    samples = made_up_samples(
        worker(0, ramp(100), warm_up, page(), page(), peak=100),
        stranded_ns=START_NS + S,
        window_start_ns=None,
        window_end_ns=None,
    )
    record = made_up_record(_CLOSED, samples)
    assert _codes(record) == ("invalid", ["no-window"], [])
    [reason] = record.verdict.reasons
    assert reason.party == "target"
    assert reason.text == (
        "every connection had ended before the measured time began: the target reset them (ECONNRESET); 100 of 100 "
        "connections were open by then"
    )


@pytest.mark.parametrize(
    ("died", "party", "says", "never"),
    [
        ("killed by SIGKILL", "machine", "loadkit did not send", "hung"),
        ("killed by SIGKILL after it hung", "loadkit", "did not end when it was told to", "memory"),
        ("killed by SIGSEGV", "machine", "killed by SIGSEGV", "memory"),
        ("exit status 1", "loadkit", "exit status 1", "memory"),
    ],
)
def test_a_dead_worker_is_named_and_no_cause_is_guessed(died: str, party: str, says: str, never: str) -> None:
    samples = _run(exchanged([MS] * 4_000), ends=(WorkerEnd(0, 4711, 0, died),))
    text, named = _said(_CLOSED, samples, "worker-died")
    assert named == party
    assert says in text
    assert "blast worker 0 (pid 4711)" in text
    assert "off by one batch" not in text
    assert never not in text


def test_a_worker_that_died_while_it_wrote_may_be_off_by_a_batch() -> None:
    samples = _run(exchanged([MS] * 4_000), ends=(WorkerEnd(0, 4711, 0, "killed by SIGKILL", mid_fold=True),))
    assert "off by one batch" in _said(_CLOSED, samples, "worker-died")[0]


# -- the rest


def test_connections_that_a_later_phase_adds_count_where_they_did_not_open() -> None:
    phases = (
        PhasePlan("ramp", PhaseKind.RAMP, S, 50),
        PhasePlan("few", PhaseKind.HOLD, 5 * S, 50),
        PhasePlan("many", PhaseKind.HOLD, 5 * S, 100),
        PhasePlan("drain", PhaseKind.DRAIN, 10 * S, 100),
    )
    plan = changed(_CLOSED, phases=phases, connect_rate_hz=50.0)

    def record(opened: int) -> RunRecord:
        more = exchanged([MS] * 2_000, asked=50, opened=opened, failed_connects=50 - opened)
        one = worker(0, ramp(50), exchanged([MS] * 2_000), more, page(), peak=50 + opened)
        return made_up_record(plan, made_up_samples(one, answered=50))

    assert _codes(record(50)) == ("valid", [], [])
    assert _codes(record(40))[:2] == ("invalid", ["incomplete"])


def test_a_merged_record_is_judged_on_what_all_its_runs_asked_for() -> None:
    record = made_up_record(_CLOSED, _opened(100))
    twice = msgspec.structs.replace(
        record,
        merged=2,
        connections=msgspec.structs.replace(record.connections, asked=200, opened=200, at_start=200),
        window=record.window and msgspec.structs.replace(record.window, measured_ns=20 * S),
        workers=record.workers * 2,
    )
    assert judge(twice).verdict == Verdict("valid")
    fewer = msgspec.structs.replace(twice, connections=msgspec.structs.replace(twice.connections, at_start=190))
    [reason] = judge(fewer).verdict.reasons
    assert reason.text.startswith("190 of 200 connections were open")


_QUEUES = {
    "TcpExt.ListenOverflows": 50,
    "TcpExt.TCPReqQFullDoCookies": 5,
    "Tcp.AttemptFails": 9,
    "Tcp.OutSegs": 1_000,
    "Tcp.RetransSegs": 50,
}


@pytest.mark.parametrize(
    ("slowest_ns", "failed", "of_the_target"),
    [
        pytest.param(MS, 0, set(), id="quick"),
        pytest.param(300 * MS, 0, {"retransmits"}, id="as slow as a segment that is sent again"),
        pytest.param(S, 0, {"accept-queue", "syn-cookies", "retransmits"}, id="waited"),
        pytest.param(MS, 1, {"accept-queue", "syn-cookies", "attempt-fails", "retransmits"}, id="failed"),
    ],
)
def test_what_none_of_the_connections_met_is_other_traffic_of_the_machine(
    slowest_ns: int, failed: int, of_the_target: set[str]
) -> None:
    times = {"connect": [MS] * 100, "first_byte": [MS] * 99 + [slowest_ns]}
    first = page(times, asked=100 + failed, opened=100, failed_connects=failed)
    one = worker(0, first, page(), exchanged([MS] * 4_000), page(), peak=100)
    ramp_counters = KernelSamples(_QUEUES, {}, {}, {})
    samples = made_up_samples(
        one, kernel=KernelSamples({}, {}, {}, {}), kernel_of_ramp=ramp_counters, serve=serve_end()
    )
    record = made_up_record(_EMBEDDED, samples)
    codes = ("accept-queue", "syn-cookies", "attempt-fails", "retransmits")
    parties = {code: "target" if code in of_the_target else "machine" for code in codes}
    assert {one.code: one.party for one in record.findings} == parties
    assert all(parties[rule.code] in rule.parties for rule in KERNEL_RULES if rule.code in parties)
    for finding in record.findings:
        assert ("other traffic" in finding.text) is (finding.party == "machine")


def _waiting_at_serve(is_joined: bool) -> RunRecord:
    """The serve end, embedded or joined, waited for its core for a fifth of the window."""
    record = made_up_record(_EMBEDDED, made_up_samples(*steady(_LATENCIES).workers, serve=serve_end()))
    assert record.server is not None
    waiting = tuple(msgspec.structs.replace(one, run_delay_share=0.2) for one in record.server.workers)
    server = msgspec.structs.replace(record.server, workers=waiting)
    (placement,) = record.placements
    placement = msgspec.structs.replace(placement, serve=None if is_joined else placement.serve)
    return judged(msgspec.structs.replace(record, server=server, placements=(placement,)))


def test_the_wait_of_a_joined_serve_end_for_its_core_is_the_target_s() -> None:
    assert _codes(_waiting_at_serve(is_joined=False)) == ("suspect", ["run-delay"], [])
    assert _codes(_waiting_at_serve(is_joined=True)) == ("valid", [], ["target-run-delay"])


@pytest.mark.parametrize(
    ("is_local", "reasons"), [(True, ["shared-core"]), (False, ["run-delay"])], ids=["this machine", "another"]
)
def test_a_joined_serve_end_on_the_core_of_a_worker_is_no_other_process(is_local: bool, reasons: list[str]) -> None:
    embedded = made_up_record(_SHARED, _waiting_for_serve(4 * S))
    (placement,) = embedded.placements
    target = msgspec.structs.replace(REMOTE, is_local=is_local)
    alone = msgspec.structs.replace(placement, serve=None)
    joined = judged(msgspec.structs.replace(embedded, placements=(alone,), target=target))
    assert _codes(joined)[:2] == ("suspect", reasons)


def test_an_invalid_run_says_what_is_suspect_too() -> None:
    samples = steady(_LATENCIES, sent=1, dropped={"latency": 1})
    assert _codes(made_up_record(_CLOSED, samples)) == ("invalid", ["does-not-add-up", "dropped-samples"], [])


def test_a_target_before_which_nearly_all_waited_is_not_said_to_have_held_up_none() -> None:
    """A real run: its one worker was stopped for 1.9 of 4 s, and 2,658 messages then waited for the one connection."""
    record = load(str(Path(__file__).parent / "stopped_worker.json"))
    assert record.messages.waited > record.messages.unsent
    [reason] = [one for one in judged(record).verdict.reasons if one.code == "schedule-missed"]
    assert reason.text == (
        "1,673 of 4,000 messages were never sent: this end fell behind its schedule, because blast worker 0 stood "
        "still 2 times, for 1.91 s, the longest 1.89 s at 2.18 s after the start. Lower --rate, use more --workers, "
        "or use an idle machine"
    )


def _table_rows() -> list[str]:
    """What the page for readers says of every code: the kind of run, the state, the code, the parties."""
    rows = [(rule.kind, rule.state, rule.code, rule.parties) for rule in (*RULES, *FINDINGS)]
    rows += [(rule.kind, "finding", rule.code, rule.parties) for rule in KERNEL_RULES]
    rows += [(rule.kind, "finding", rule.code, (rule.party,)) for rule in TCP_RULES]
    return [f"| {kind} | {state} | `{code}` | {', '.join(parties)} |" for kind, state, code, parties in rows]


def test_the_page_for_readers_has_each_code_once_as_the_rules_have_it() -> None:
    lines = chapter("method", "How a run is judged").splitlines()
    begin = lines.index("| kind of run | state | code | party |") + 2
    end = next(at for at in range(begin, len(lines)) if not lines[at].startswith("|"))
    assert lines[begin:end] == _table_rows()
    codes = [line.split("`")[1] for line in lines[begin:end]]
    assert len(set(codes)) == len(codes)


def _shape(text: str) -> str:
    """The text with # for each figure."""
    return re.sub(r"\b[\d.,]+( (ns|us|ms|s)\b)?", "#", " ".join(text.split()))


def test_the_page_for_readers_shows_a_standstill_in_the_words_of_its_rule() -> None:
    [shown] = re.findall(r"^  stood-still: (.*?)^```", chapter("method", "What it measures"), re.MULTILINE | re.DOTALL)
    slow = [800 * MS] * 300
    text, _party = _said(_OPEN, _standing([MS] * 1_700 + slow, slow, 300, [S]), "stood-still")
    assert _shape(shown) == _shape(text)
