"""When a run is ended early: conditions, what the phases have so far, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadkit.measure.histogram import Histogram
from loadkit.measure.names import COUNTERS
from loadkit.measure.run_samples import AbortSample
from loadkit.measure.so_far import SoFar
from loadkit.report.conditions import parse_condition
from loadkit.run.abort import Conditions, wanted_of
from tests.golden.made_up import HIGHEST_NS, HOLD, MS, S, made_up_plan

# Phases of the made-up plan: ramp 1 s, warm-up 1 s, hold 10 s.
SPANS = {0: (0, S), 1: (S, 2 * S), HOLD: (2 * S, 12 * S)}
LOAD = made_up_plan(400.0).load


@dataclass
class Run:
    """Conditions, and the phases that they see: what is `counted` and `took` is added to what there is."""

    conditions: Conditions
    times: Mapping[int, set[str]]
    now: int = 0
    seen: dict[int, SoFar] = field(default_factory=dict)

    @classmethod
    def of(cls, *texts: str) -> Run:
        found = [parse_condition(text) for text in texts]
        return cls(Conditions(found, LOAD), wanted_of(found, LOAD))

    def at(self, second: float, took: Sequence[int] = (), phase: int = HOLD, **counted: Any) -> AbortSample | None:
        """Looks then, when these latencies (ns) and counts have come in the phase since."""
        self.now = round(second * S)
        errors = counted.pop("errors", 0)
        if took:
            for name in ("intended", "sent", "replied", "window_replied"):
                counted.setdefault(name, len(took))
        for number, times in self.times.items():
            values = list(took) if number == phase else []
            came = SoFar(
                dict.fromkeys(COUNTERS, 0) | (counted if number == phase else {}),
                errors if number == phase else 0,
                {name: Histogram.of(values, HIGHEST_NS) for name in times},
                dict.fromkeys(times, 0),
            )
            self.seen[number] = self.seen[number].plus(came) if number in self.seen else came
        begun = {number: span for number, span in SPANS.items() if span[0] <= self.now}
        return self.conditions.judge(dict(self.seen), begun, self.now)


FAST, SLOW = [MS] * 1_000, [2 * S] * 1_000


# -- without a duration: all so far


def test_all_so_far_is_judged() -> None:
    run = Run.of("latency.p99>1s")
    assert run.at(3, FAST) is None
    assert run.at(4, FAST) is None
    # 2,000 fast ones; of 2,020 the p99 is number 2,000, of 2,021 number 2,001.
    assert run.at(5, SLOW[:20]) is None
    met = run.at(6, SLOW[:1])
    assert met
    assert (met.expr, met.at_ns) == ("latency.p99>1s", 6 * S)
    assert met.value is not None
    assert met.value >= 2 * S


def test_a_share_of_what_was_due() -> None:
    run = Run.of("error_ratio>1%")
    assert run.at(3, intended=1_000, failed=10) is None  # not more than 1 %
    met = run.at(4, intended=1_000, failed=11)
    assert met == AbortSample("error_ratio>1%", 4 * S, 21 / 2_000, None)


def test_too_few_values_support_no_percentile() -> None:
    run = Run.of("latency.p99>1s")
    assert run.at(3, SLOW[:999]) is None
    assert run.at(4, SLOW[:1])


def test_before_the_measured_time_only_what_is_about_it_is_judged() -> None:
    run = Run.of("errors>0", "phase=warm-up:errors>0", "failed_connects>0")
    assert run.at(0.5) is None
    assert run.at(1.5, phase=1) is None
    assert (met := run.at(1.9, phase=1, errors=1))
    assert met.expr == "phase=warm-up:errors>0"
    run = Run.of("errors>0", "failed_connects>0")
    assert (met := run.at(0.5, phase=0, failed_connects=1))
    assert met.expr == "failed_connects>0"


def test_a_rate_is_of_the_measured_time_so_far() -> None:
    run = Run.of("replies_per_s<100")
    assert run.at(1.9) is None
    assert run.at(2.4, window_replied=1) is None  # less than half a second of it has passed
    assert run.at(3, window_replied=99) is None
    assert (met := run.at(4, window_replied=99))
    assert met.value == pytest.approx(199 / 2)


def test_a_rate_of_connects_is_that_of_the_ramp() -> None:
    run = Run.of("connects_per_s<100")
    assert run.at(0.4, phase=0, window_opened=1) is None  # less than half a second of it has passed
    assert run.at(0.8, phase=0, window_opened=89) is None  # 90 in 0.8 s
    assert (met := run.at(3, phase=HOLD, window_opened=500))  # 90 in the second of the ramp
    assert met.value == 90


def test_a_mean_counts_what_is_under_way_for_longer_than_the_bound() -> None:
    run = Run.of("latency.mean>=100ms for 2s")
    assert run.at(3, FAST) is None
    assert run.at(4, intended=1_000, sent=1_000) is None
    assert run.at(5, intended=1_000, sent=1_000) is None
    met = run.at(6, intended=1_000, sent=1_000)
    assert met
    assert met.value == 100 * MS


def test_what_a_phase_left_unsent_is_known_when_it_is_over() -> None:
    run = Run.of("phase=warm-up:unsent>5")
    assert run.at(1.9, phase=1, intended=100, sent=90) is None
    assert (met := run.at(2.1, phase=1, unsent=10))
    assert met.value == 10


def test_the_first_of_several_that_are_met_is_named() -> None:
    run = Run.of("errors>5", "error_ratio>1%", "errors>0")
    met = run.at(3, errors=1, intended=10, failed=1)
    assert met
    assert met.expr == "error_ratio>1%"


# -- with a duration: each second by itself


def test_each_second_has_to_meet_it_for_so_long() -> None:
    run = Run.of("latency.p99>1s for 3s")
    assert run.at(3, SLOW) is None
    assert run.at(4, SLOW) is None
    met = run.at(5, SLOW)
    assert met
    assert (met.at_ns, met.value) == (5 * S, pytest.approx(2 * S, rel=0.001))


def test_a_good_second_starts_the_count_anew() -> None:
    run = Run.of("latency.p99>1s for 2s")
    assert run.at(3, SLOW) is None
    assert run.at(4, FAST) is None
    assert run.at(5, SLOW) is None
    assert run.at(6, SLOW)


def test_a_second_in_which_nothing_was_to_be_judged_does_too() -> None:
    run = Run.of("latency.p99>1s for 2s")
    assert run.at(3, SLOW) is None
    assert run.at(4) is None
    assert run.at(5, SLOW) is None


def test_what_came_before_does_not_count() -> None:
    """An hour without fault does not hide five bad seconds."""
    run = Run.of("latency.p99>1s for 2s")
    assert run.at(3, FAST * 100) is None
    assert run.at(4, SLOW[:10]) is None
    assert run.at(5, SLOW[:10])


def test_few_messages_are_enough_when_they_are_so_again_and_again() -> None:
    run = Run.of("latency.p99>1s for 2s")
    assert run.at(3, [2 * S, MS]) is None
    assert run.at(4, [2 * S])


def test_a_piece_of_a_second_at_the_edge_is_judged_with_the_next() -> None:
    run = Run.of("replies_per_s<100 for 1s")
    assert run.at(2.25) is None  # a quarter of a second without a reply, when the window has just begun
    assert run.at(3.25, window_replied=200) is None
    assert run.at(4.25, window_replied=99)


def test_a_late_look_is_one_long_second() -> None:
    """The parent was stopped: what came meanwhile is one stretch."""
    run = Run.of("errors>0 for 3s")
    assert run.at(3, errors=1) is None
    assert run.at(4) is None
    assert run.at(9, errors=1)  # it held in the five seconds that it could look at


# -- what is under way


def test_a_target_that_stops_answering_is_late_once_the_bound_has_passed() -> None:
    run = Run.of("latency.p99>1s for 2s")
    assert run.at(3, FAST) is None
    # From here on no reply comes. Those due in the last second may still come in time.
    assert run.at(4, intended=1_000, sent=1_000) is None
    assert run.at(5, intended=1_000, sent=1_000) is None  # the first second in which some are too late
    met = run.at(6, intended=1_000, sent=1_000)
    assert met
    assert (met.value, met.reason) == (None, "100.0 % of 2,000 did not come back")


def test_so_is_a_closed_loop_in_which_nothing_more_is_due() -> None:
    run = Run.of("latency.max>1s")
    assert run.at(3, FAST, intended=1_010, sent=1_010) is None
    assert (met := run.at(4.1))
    assert met.value is None
    assert met.reason == "1.0 % of 1,010 did not come back"


def test_what_is_under_way_within_the_bound_is_left_out() -> None:
    run = Run.of("latency.p50>1s")
    # 1,000 fall due in a second, and each takes 900 ms: so many are under way all the time.
    assert run.at(3, [900 * MS] * 100, intended=1_000) is None
    for second in range(4, 12):
        assert run.at(second, [900 * MS] * 1_000) is None


def test_a_message_that_waits_for_room_is_late_too() -> None:
    run = Run.of("held.max>1s")
    assert run.at(3, intended=10, sent=10) is None
    assert run.at(4, intended=5) is None
    assert (met := run.at(5.1))
    assert met.reason == "100.0 % of 5 did not come back"


def test_a_connect_under_way_is_late_too() -> None:
    run = Run.of("connect.max>500ms")
    assert run.at(0.2, phase=0, asked=10, opened=9) is None
    assert run.at(0.9, phase=0)


def test_what_a_condition_is_about_is_all_that_is_read() -> None:
    texts = ("latency.p99>1s", "service.max>1s for 2s", "errors>5", "connect.p99>1s")
    assert wanted_of([parse_condition(text) for text in texts], LOAD) == {
        HOLD: {"latency", "service", "connect"},
        0: {"connect"},
    }
    assert wanted_of([], LOAD) == {}
