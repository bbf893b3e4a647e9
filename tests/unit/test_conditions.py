"""Conditions of --abort-on: what is read, and what a run cannot be ended by."""

from __future__ import annotations

import pytest

from loadkit.errors import OptionError
from loadkit.plan.load import Load, build_load
from loadkit.profile.read import load_profile
from loadkit.report.conditions import check_watchable, parse_condition
from loadkit.report.so_far import Found
from tests.golden.made_up import S


def load_of(**options: str) -> Load:
    """An open loop of 3 s, unless the options say otherwise."""
    return build_load(load_profile(None, {"rate": "100", "duration": "3s", "warmup": "1s", **options})[0])


@pytest.mark.parametrize(
    ("text", "figure", "compare", "bound", "for_ns"),
    [
        ("error_ratio>1%", "error_ratio", ">", 0.01, None),
        ("latency.p99>1s for 5s", "latency.p99", ">", S, 5 * S),
        (" latency.p99 >= 1s  for  1m30s ", "latency.p99", ">=", S, 90 * S),
        ("replies_per_s<500 for 2s", "replies_per_s", "<", 500, 2 * S),
        ("phase=for 5s:held.max>20ms", "held.max", ">", S // 50, None),
        ("phase=a for b:held.max>20ms for 3s", "held.max", ">", S // 50, 3 * S),
    ],
)
def test_a_condition_is_read(text: str, figure: str, compare: str, bound: float, for_ns: int | None) -> None:
    condition = parse_condition(text)
    assert (condition.figure.name, condition.objective.compare) == (figure, compare)
    assert (condition.objective.bound, condition.for_ns) == (bound, for_ns)
    assert condition.expr == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "errors",
            "--abort-on: expected FIGURE>VALUE such as 'error_ratio>1%' or 'latency.p99>1s for 5s', got 'errors'",
        ),
        ("error_rate>1%", "--abort-on: 'error_rate' is not a figure; the nearest is error_ratio"),
        ("latency.p99>1", "--abort-on: latency.p99>1: expected a duration with its unit"),
        ("errors!=0", "--abort-on: errors!=0: expected one of >, >=, <, <=, got !="),
        ("errors>0 for 500ms", "--abort-on: errors>0 for 500ms: conditions are judged once per second; give 1 s or"),
        ("errors>0 for 5", "--abort-on: errors>0 for 5: expected a duration with its unit"),
        ("errors>0 for", "--abort-on: errors>0 for: expected a whole number"),
    ],
)
def test_what_is_no_condition_is_answered_with_what_is(text: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_condition(text)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unsent>5", "unsent is counted when hold is over, and the run with it; use held.p99 or error_ratio"),
        ("phase=hold:unsent>5", "unsent is counted when hold is over, and the run with it; use held.p99"),
        (
            "unanswered>5",
            "unanswered counts messages still under way when the run ends, so before that it is 0; use failed or "
            "error_ratio, or latency.p99, which counts those under way for longer than its bound as late",
        ),
        ("phase=burst:errors>5", "this run has no phase 'burst'; there are ramp, warm-up, hold, drain"),
        ("phase=hold:replies_per_s<5", "replies_per_s is of the measured time, not of a phase"),
        ("phase=drain:errors>5", "the drain is over too soon to be ended early"),
        ("errors>5 for 4s", "it cannot be met for so long: it is judged in 3 s of this run"),
        ("get:errors>5", "this run has no labels"),
    ],
)
def test_what_a_run_cannot_have_is_a_usage_error(text: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_watchable([parse_condition(text)], load_of())
    assert str(caught.value).startswith(f"--abort-on: {text}: {says}")


def test_a_closed_loop_has_no_lateness_to_be_ended_by() -> None:
    closed = build_load(load_profile(None, {"duration": "3s"})[0])
    with pytest.raises(OptionError, match="a closed loop has no held"):
        check_watchable([parse_condition("held.p99>1s")], closed)


@pytest.mark.parametrize(
    "text",
    [
        "errors>5 for 3s",
        "phase=ramp:connect.p99>1s",
        "phase=warm-up:latency.max>1s",
        "phase=warm-up:unsent>5",
        "failed_connects>10",
        "latency.mean>1s for 2s",
        "connects_per_s<5 for 60s",  # the target decides how long a ramp takes
        "phase=ramp:connect.p99>1s for 60s",
    ],
)
def test_what_a_run_can_have_is_accepted(text: str) -> None:
    check_watchable([parse_condition(text)], load_of())


def test_a_rate_of_connects_is_of_the_ramp_unless_they_go_on() -> None:
    condition = parse_condition("connects_per_s<50")
    for load, phase in ((load_of(), "ramp"), (load_of(lifetime="1s"), "hold")):
        assert [load.phases[at].name for at in condition.phases(load)] == [phase]


def test_connects_are_judged_from_the_ramp_on_and_messages_in_measured_phases() -> None:
    load = load_of()
    names = [phase.name for phase in load.phases]
    judged = {
        text: [names[at] for at in parse_condition(text).phases(load)]
        for text in (
            "connect.p99>1s",
            "first_byte.p99>1s",
            "opened>5",
            "latency.p99>1s",
            "errors>5",
            "phase=ramp:errors>5",
        )
    }
    assert judged == {
        "connect.p99>1s": ["ramp", "hold"],
        "first_byte.p99>1s": ["ramp", "hold"],
        "opened>5": ["ramp", "hold"],
        "latency.p99>1s": ["hold"],
        "errors>5": ["hold"],
        "phase=ramp:errors>5": ["ramp"],
    }


def test_what_never_came_back_is_beyond_each_upper_bound_and_below_none() -> None:
    never = Found(None, "2% of 100 did not come back", is_never=True)
    assert parse_condition("latency.p99>1s").is_met(never)
    assert not parse_condition("latency.p99<1s").is_met(never)
    assert not parse_condition("latency.p99>1s").is_met(Found(None, "not measured"))
