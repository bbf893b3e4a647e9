"""What a run says to its crew, from looks that the test makes up and a clock that goes from look to look."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.measure.memory import Room
from loadkit.measure.names import COUNTERS, PROOFS, STATE
from loadkit.measure.run_samples import AbortSample
from loadkit.measure.samples import WorkerSamples, merge
from loadkit.measure.so_far import SoFar
from loadkit.plan.build import Plan, build_plan
from loadkit.profile.read import load_profile
from loadkit.run.course import Course, Stage, stranded_at_ns
from loadkit.run.crew import Look, Words
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

MS, S = 10**6, 10**9
FULL, PLENTY = Room(1 << 20, 24 << 30), Room(20 << 30, 24 << 30)
# Ten connections at 10/s, two workers; 50 ms and 5 ms for each worker ahead of what begins.
OPTIONS = {"connections": "10", "connect_rate": "10", "workers": "2", "warmup": "500ms", "duration": "1s"}
AHEAD_MS = 60


@functools.cache
def plan_of(**options: Any) -> Plan:
    """The plan of these options."""
    return build_plan(*load_profile(None, {**OPTIONS, **options}), made_up_host(), None, ENGINE)


class Run:
    """A course and its clock. `said` is (ms, word, ms from then until it begins or None)."""

    def __init__(self, plan: Plan | None = None, **options: Any) -> None:
        self.plan = plan or plan_of(**options)
        self.course = Course(self.plan, 0)
        self.look = Look(running=self.plan.here.workers)
        self.now = 0
        self.said: list[tuple[float, Words, float | None]] = []

    def tick(self, after: float | None = None, signals: int = 0, **changes: Any) -> list[Words]:
        """Looks when the course wants it, or so many ms after that, and returns the words that were said."""
        self.now = max(self.now, self.course.next_ns) + round((after or 0) * MS)
        self.look = replace(self.look, **changes)
        words = self.course.decide(self.look, self.now, signals)
        for word in words:
            ahead = None if word.at_ns is None else (word.at_ns - self.now) / MS
            self.said.append((self.now / MS, word.said, ahead))
        return [word.said for word in words]

    def until(self, done: Callable[[], object], most: int = 20_000) -> Run:
        """Looks on until it is so."""
        for _ in range(most):
            if done():
                return self
            self.tick()
        raise AssertionError(f"not within {most} looks, of which the last was at {self.now / S} s")

    def until_ramp(self) -> Run:
        """Its first connection has had its reply."""
        self.tick(proof="right", settled=1, asked=1)
        return self

    def until_hold(self) -> Run:
        """All of them are open."""
        self.until_ramp().tick(settled=10, asked=10, settled_ns=self.now)
        self.tick()
        return self

    def window(self) -> tuple[int, int]:
        """The planned one."""
        assert self.course.window
        return self.course.window


STAGES: Mapping[Stage, Callable[[Run], Run]] = {
    Stage.FIRST: lambda run: run,
    Stage.RAMP: Run.until_ramp,
    Stage.HOLD: Run.until_hold,
}


def test_a_run_from_its_first_connection_to_its_end() -> None:
    run = Run()
    first = run.course.begin()
    assert (first.said, first.at_ns) == (Words.FIRST, 10 * MS)
    run.tick(proof="right", settled=1, asked=1)
    run.tick(after=1000, settled=10, asked=10, settled_ns=900 * MS)
    while not run.course.is_over:
        run.tick(running=0 if run.now > 3 * S else 2)
    # 1,005: 5 ms, and the second that the look was late. Warm-up: 500 ms.
    assert run.said[:5] == [
        (0, Words.RAMP, AHEAD_MS),
        (1005, Words.OPENED, None),
        (1005, Words.HOLD, AHEAD_MS),
        (1005 + AHEAD_MS + 500, Words.BEGIN, None),
        (1005 + AHEAD_MS + 1500, Words.END, None),
    ]
    assert len(run.said) == 5


def test_what_the_connections_take_is_measured_before_it_is_said_when_the_hold_begins() -> None:
    run = Run().until_ramp()
    assert run.tick(settled=10, asked=10) == [Words.OPENED]
    assert run.course.next_ns == run.now
    # It took 700 ms: the workers still hear of it before it begins.
    assert run.tick(after=700) == [Words.HOLD]
    assert run.said[-1][2] == AHEAD_MS


def test_a_first_connection_without_a_right_reply_ends_the_run() -> None:
    run = Run()
    assert run.tick() == []
    assert run.tick(proof="failed") == []
    assert run.course.stage is Stage.FAILED
    assert run.course.is_over


@pytest.mark.parametrize(
    ("passed_ms", "looks_after_ms"),
    [
        (40, 5),  # a twentieth is 2 ms, 5 ms is the least
        (400, 20),
        (4000, 50),
    ],
)
def test_in_the_ramp_looks_come_after_a_twentieth_of_its_time(passed_ms: int, looks_after_ms: int) -> None:
    run = Run().until_ramp()
    assert run.course.ramp
    run.course.decide(run.look, now := run.course.ramp.start_ns + passed_ms * MS)
    assert run.course.next_ns - now == looks_after_ms * MS


def test_in_the_hold_looks_come_ten_times_a_second_and_at_the_edges() -> None:
    run = Run().until_hold()
    looked = []
    while run.now < run.window()[1]:
        run.tick()
        looked.append(run.now)
    assert max(late - early for early, late in itertools.pairwise(looked)) == 100 * MS
    assert {*run.window()} <= {*looked}


def test_a_look_that_is_too_late_for_the_window_passes_both_edges() -> None:
    run = Run().until_hold()
    assert run.tick(after=5000) == [Words.BEGIN, Words.END]
    assert run.tick() == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.value)
@pytest.mark.parametrize(
    "cause",
    [{"signals": 1}, {"has_deaths": True, "running": 1}, {"is_served": False}],
    ids=["a signal", "a worker's death", "no serve end"],
)
def test_what_ends_a_run_early_is_said_once(stage: Stage, cause: dict[str, Any]) -> None:
    run = STAGES[stage](Run())
    # Before the ramp nothing is under way that could end gently.
    assert run.tick(**cause) == [Words.LEAVE if stage is Stage.FIRST else Words.STOP]
    assert run.course.stop_ns == run.now
    # What would have begun does not.
    later = [run.tick(**cause, proof="right", settled=10) for _ in range(5)]
    assert {word for words in later for word in words} <= {Words.BEGIN, Words.END}
    assert not run.course.is_over
    run.tick(**{**cause, "running": 0})
    assert run.course.is_over


def test_the_window_of_a_run_that_is_stopped_begins_and_ends_with_its_traffic() -> None:
    run = Run().until_hold()
    run.until(lambda: run.said[-1][1] is Words.BEGIN)
    assert run.tick(signals=1) == [Words.STOP]
    assert run.tick(signals=1, finished_ns=run.now) == [Words.END]


def test_traffic_that_is_over_before_the_window_is_not_its_end() -> None:
    run = Run().until_hold()
    assert run.tick(finished_ns=run.now) == []
    assert run.tick(after=1000) == [Words.BEGIN, Words.END]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.value)
def test_a_second_signal_ends_it_at_once(stage: Stage) -> None:
    run = STAGES[stage](Run())
    run.tick(signals=1)
    run.tick(signals=2)
    assert run.course.is_over


def test_a_budget_that_is_used_up_ends_the_window_at_the_next_look() -> None:
    run = Run(messages="1k", duration="60s").until_hold()
    run.until(lambda: run.said[-1][1] is Words.BEGIN)
    assert run.tick(finished_ns=run.now + MS) == [Words.END]
    assert not run.course.is_over  # they close their connections
    run.tick(running=0)
    assert run.course.is_over


def test_without_a_connection_a_run_goes_on_for_two_seconds() -> None:
    run = Run(duration="60s").until_hold()
    gone = run.now
    run.tick(stranded_ns=gone)
    run.until(lambda: run.now >= gone + 2 * S - 100 * MS)
    run.tick(stranded_ns=0)  # one of them has one again
    run.until(lambda: run.now >= gone + 3 * S)
    assert run.course.stop_ns is None
    gone = run.now
    run.tick(stranded_ns=gone)
    run.until(lambda: run.course.stop_ns)
    assert 2 * S < run.now - gone <= 2 * S + 100 * MS
    assert run.said[-1][1] is Words.STOP


# Ten connections in 100 s; a reply may take 3 s.
LONG_RAMP = {"connect_rate": "0.1", "timeout": "3s", "duration": "60s"}


def test_a_ramp_whose_target_is_gone_ends_once_a_connect_has_failed_and_none_was_open_for_a_time_out() -> None:
    run = Run(**LONG_RAMP).until_ramp()
    run.tick(asked=3, settled=3, open=3, opened=3)
    run.tick(open=0)
    gone = run.now
    run.until(lambda: run.now >= gone + 20 * S)
    assert run.course.stop_ns is None  # the next connect may succeed
    run.tick(asked=4, settled=4, failed=1, unopened=1)
    assert run.said[-1][1] is Words.STOP
    assert run.course.stranded_ns == gone


def test_a_ramp_whose_connects_fail_while_others_are_open_or_for_less_than_a_time_out_goes_on() -> None:
    run = Run(**LONG_RAMP).until_ramp()
    run.tick(asked=3, settled=3, open=2, opened=2, failed=1, unopened=1)
    run.tick(after=20_000, asked=9, settled=9, failed=7, unopened=7)
    run.tick(open=0)
    run.until(lambda: run.now >= 25 * S)  # what failed before they were gone does not count
    for number in range(4):  # each of them opens, and breaks before the next look
        run.tick(after=2500, opened=3 + number, unopened=8 + number)
    assert run.course.stop_ns is None
    run.tick(after=4000)  # but this process stood still meanwhile, and perhaps the workers did
    assert run.course.stop_ns is None


@pytest.mark.parametrize(
    ("options", "is_over"),
    [
        pytest.param({"lifetime": "1s"}, False, id="a duration of churn"),  # a target that is started again is found
        pytest.param({"lifetime": "1s", "messages": "1k", "duration": None}, True, id="n in churn"),
        pytest.param({"messages": "1k", "duration": None}, True, id="n"),
    ],
)
def test_in_churn_a_ramp_is_given_up_where_messages_alone_end_the_run(options: dict[str, Any], is_over: bool) -> None:
    run = Run(**{**LONG_RAMP, **options}).until_ramp()
    run.tick(open=1, opened=1)
    run.tick(open=0, unopened=1)
    run.until(lambda: run.course.stop_ns or run.now > 20 * S)
    assert (run.course.stop_ns is not None) == is_over


# The second phase opens eight more in ten minutes.
GROWING = [{"name": name, "duration": "10m", "connections": count} for name, count in (("a", "1"), ("b", "9"))]


def test_a_phase_that_opens_more_is_given_up_as_a_ramp_is() -> None:
    profile = load_profile(None, {"phases": GROWING, "timeout": "3s"})
    run = Run(build_plan(*profile, made_up_host(), None, ENGINE)).until_ramp()
    run.tick(settled=1, asked=1, open=1, opened=1)
    run.tick()
    run.tick(open=0)
    gone = run.now
    run.until(lambda: run.now >= gone + 600 * S)
    assert run.course.stop_ns is None
    run.tick(unopened=1)
    assert (run.said[-1][1], run.course.stranded_ns) == (Words.STOP, gone)


def test_where_there_is_no_room_no_more_are_opened_and_the_run_goes_on_with_those_begun() -> None:
    run = Run().until_ramp()
    assert run.tick(settled=4, asked=5, room=PLENTY) == []
    assert run.tick(room=FULL) == [Words.ENOUGH]
    enough = run.now
    run.until(lambda: run.now > enough + 300 * MS)
    assert run.said[-1][1] is Words.ENOUGH  # one is still connecting
    assert run.tick(settled=5) == [Words.OPENED]
    assert run.tick() == [Words.HOLD]
    assert run.course.ramp
    assert run.course.ramp.stopped


# Connect and reply time out after 10 s each, found up to 1/64 of that later, and a second is for ourselves.
SETTLING_S = 20 + 20 / 64 + 1


def test_a_ramp_that_never_settles_is_over_when_every_time_out_has_passed() -> None:
    run = Run(connect_timeout="10s", timeout="10s").until_ramp()
    run.tick(settled=9, asked=10)
    run.until(lambda: run.course.stage is Stage.HOLD)
    # Planned for 1 s: twice that is for a machine that opens them slower.
    assert run.course.ramp
    passed_s = (run.now - run.course.ramp.start_ns) / S
    assert 2 + SETTLING_S < passed_s <= 2 + SETTLING_S + 0.1


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.value)
def test_workers_that_never_end_are_given_up(stage: Stage) -> None:
    run = STAGES[stage](Run(connect_timeout="10s", timeout="10s"))
    began = run.now
    run.until(lambda: run.course.is_over)
    assert 5 * S < run.now - began < 60 * S


def test_a_stop_is_waited_for_as_long_as_replies_under_way_may_take() -> None:
    run = Run(duration="10m").until_hold()
    run.tick(signals=1)
    stopped = run.now
    run.until(lambda: run.course.is_over)
    # A second for them, 5 s of patience, 60 us for each connection that is closed.
    assert 6 * S < run.now - stopped <= 6 * S + 10 * 60_000 + 100 * MS


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.value)
def test_time_in_which_the_parent_itself_stood_still_is_not_the_workers(stage: Stage) -> None:
    run = STAGES[stage](Run(duration="2h"))
    run.tick(after=3600 * 1000)
    assert not run.course.is_over
    assert run.course.stage is stage  # their time-outs were put off, too
    run.tick(signals=1)
    stopped = run.now
    run.tick(after=60 * 1000)  # once more, while they end
    assert not run.course.is_over
    run.until(lambda: run.course.is_over)
    assert run.now - stopped < 70 * S  # that hour is over: now they hang


# The legal words after each: a stop can come at any time.
AFTER = {
    Words.RAMP: {Words.ENOUGH, Words.OPENED, Words.STOP},
    Words.ENOUGH: {Words.OPENED, Words.STOP},
    Words.OPENED: {Words.HOLD, Words.STOP},
    Words.HOLD: {Words.BEGIN, Words.STOP},
    Words.BEGIN: {Words.END, Words.STOP},
    Words.END: {Words.STOP},
    Words.STOP: {Words.BEGIN, Words.END},
    Words.LEAVE: set[Words](),
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 90, 700, 30_000]),
            st.fixed_dictionaries(
                {},
                optional={
                    "proof": st.sampled_from(PROOFS),
                    "settled": st.integers(0, 10),
                    "failed": st.integers(0, 3),
                    "room": st.sampled_from([None, FULL, PLENTY]),
                    "finished_ns": st.sampled_from([0, 1]),
                    "stranded_ns": st.sampled_from([0, 1]),
                    "open": st.integers(0, 1),
                    "unopened": st.integers(0, 1),
                    "has_deaths": st.just(value=True),
                    "running": st.integers(0, 2),
                    "signals": st.integers(0, 1),
                },
            ),
        ),
        max_size=40,
    )
)
def test_whatever_looks_show_words_come_in_a_legal_order_and_once(looks: list[tuple[int, dict[str, Any]]]) -> None:
    run = Run()
    for after_ms, changes in looks:
        run.tick(after_ms, **changes)
        assert run.course.next_ns >= run.now
        if run.course.is_over:
            break
    words = [said for _ms, said, _ahead in run.said]
    assert len({*words}) == len(words)
    assert {*words[:1]} <= {Words.RAMP, Words.LEAVE}
    assert all(late in AFTER[early] for early, late in itertools.pairwise(words))


# -- afterwards


def worker(
    finished_ms: float = 0, replied_ms: float = 0, stranded_ms: float = 0, intended: int = 0, phases: int = 4
) -> WorkerSamples:
    """A worker when it has ended, with messages that fell due in the hold, its third phase."""
    state = dict.fromkeys(STATE, 0)
    given = {"finished_ns": finished_ms, "replied_ns": replied_ms, "stranded_ns": stranded_ms}
    state |= {name: round(ms * MS) for name, ms in given.items()}
    nothing = merge([], 10**9)
    counters = {**dict.fromkeys(COUNTERS, 0), "intended": intended}
    pages = [replace(nothing, counters=counters) if at == 2 else nothing for at in range(phases)]
    return WorkerSamples(0, state, tuple(pages))


def window_of(run: Run, *workers: WorkerSamples, end_ms: float) -> tuple[float | None, ...]:
    """Returns the edges of the window, in ms from the planned start of it."""
    run.course.close(run.look, round(end_ms * MS))
    begin = run.window()[0]
    return tuple(None if edge is None else (edge - begin) / MS for edge in run.course.actual_window(workers))


@pytest.mark.parametrize(
    ("options", "finished_ms", "replied_ms", "intended", "expected"),
    [
        pytest.param({}, 1010, 1005, 100, (0, 1000), id="the plan's: the drain is not in it"),
        pytest.param({}, 400, 399, 40, (0, 400), id="cut where the traffic ended"),
        pytest.param({}, -5, -9, 0, (None, None), id="ended before it"),
        pytest.param({"messages": "100"}, 700, 650, 100, (0, 650), id="n in a closed loop: the last reply"),
        pytest.param({"messages": "100"}, 700, 650, 99, (0, 700), id="n that was not used up"),
        # 100 at 200/s: half a second
        pytest.param({"messages": "100", "rate": "200"}, 700, 420, 100, (0, 500), id="n / rate"),
        pytest.param({"messages": "100", "rate": "200"}, 700, 620, 100, (0, 620), id="n / rate, and a late reply"),
        pytest.param({"messages": "100", "rate": "200"}, 1900, 1800, 100, (0, 1000), id="n / rate, and -d"),
    ],
)
def test_the_window_that_there_was(
    options: dict[str, str],
    finished_ms: float,
    replied_ms: float,
    intended: int,
    expected: tuple[float | None, ...],
) -> None:
    run = Run(**options).until_hold()
    begin_ms = run.window()[0] / MS
    one = worker(begin_ms + finished_ms, begin_ms + replied_ms, intended=intended)
    other = worker(begin_ms + finished_ms - 3, begin_ms + replied_ms - 3)
    assert window_of(run, one, other, end_ms=begin_ms + 2500) == expected


def test_the_window_of_a_run_with_a_dead_worker_ends_at_the_stop() -> None:
    run = Run().until_hold()
    run.until(lambda: run.said[-1][1] is Words.BEGIN)
    run.tick(has_deaths=True)
    stopped = run.now / MS
    begin = run.window()[0] / MS
    found = window_of(run, worker(finished_ms=stopped + 50), worker(), end_ms=stopped + 60)
    assert found == (0, stopped - begin)


def test_a_run_that_ended_in_its_ramp_has_no_window() -> None:
    run = Run().until_ramp()
    run.tick(signals=1)
    run.course.close(run.look, run.now + S)
    assert run.course.actual_window([worker(), worker()]) == (None, None)


def test_a_run_is_stranded_when_the_last_of_its_workers_is() -> None:
    assert stranded_at_ns([worker(stranded_ms=3), worker(stranded_ms=5)]) == 5 * MS
    assert stranded_at_ns([worker(stranded_ms=3), worker()]) is None


# -- conditions


def sight(intended: int, failed: int) -> SoFar:
    """What the hold has so far."""
    return SoFar(
        dict.fromkeys(COUNTERS, 0) | {"intended": intended, "sent": intended, "failed": failed}, failed, {}, {}
    )


HELD = 2  # the place of `hold` in the phases


def test_a_condition_that_is_met_ends_the_run_gently() -> None:
    run = Run(duration="5s", abort_on=("error_ratio>1%",)).until_hold()
    run.until(lambda: run.now > run.window()[0])
    assert run.tick(seen={HELD: sight(1_000, 10)}) == []
    assert run.course.aborted is None
    assert run.tick(seen={HELD: sight(1_000, 11)}) == [Words.STOP]
    assert run.course.aborted == AbortSample("error_ratio>1%", run.now, 0.011, None)
    assert run.course.stop_ns == run.now
    assert run.tick(seen={HELD: sight(1_000, 500)}) == []  # once is enough


def test_a_condition_without_a_look_at_its_phases_is_not_judged() -> None:
    run = Run(duration="5s", abort_on=("error_ratio>1%",)).until_hold()
    run.until(lambda: run.now > run.window()[0])
    assert run.tick(seen=None) == []


@pytest.mark.parametrize("done", ["the window has ended", "all workers have finished", "a signal came first"])
def test_what_is_over_cannot_be_ended_early(done: str) -> None:
    run = Run(duration="1s", abort_on=("error_ratio>1%",)).until_hold()
    run.until(lambda: run.now > run.window()[0])
    if done == "the window has ended":
        run.until(lambda: run.now >= run.window()[1])
    changes: dict[str, Any] = {"finished_ns": run.now} if done.startswith("all") else {}
    run.tick(signals=int(done.startswith("a signal")), seen={HELD: sight(1_000, 500)}, **changes)
    assert run.course.aborted is None


def test_a_condition_on_connects_ends_the_ramp() -> None:
    run = Run(abort_on=("failed_connects>3",)).until_ramp()
    connects = SoFar(dict.fromkeys(COUNTERS, 0) | {"asked": 10, "failed_connects": 4}, 4, {}, {})
    nothing = SoFar(dict.fromkeys(COUNTERS, 0), 0, {}, {})
    assert run.tick(after=100, seen={0: connects, HELD: nothing}) == [Words.STOP]
    assert run.course.aborted


def test_the_time_left_is_what_is_planned_until_the_end_of_the_measured_time() -> None:
    # ramp 1 s from 10 ms on, warm-up 500 ms, hold 1 s
    run = Run()
    assert run.course.left_ns(run.now) == 2_510 * MS
    run.until_hold()
    assert run.course.left_ns(run.now) == run.window()[1] - run.now
    assert run.course.left_ns(run.window()[1] + S) == 0


def test_a_ramp_that_takes_longer_does_not_take_from_the_time_left() -> None:
    run = Run().until_ramp()
    assert run.course.left_ns(run.now + 60 * S) == 1_500 * MS


def test_the_time_left_of_a_number_of_messages_is_known_only_if_their_rate_is() -> None:
    paced, closed = Run(messages="50", rate="100", duration=None), Run(messages="50", duration=None)
    assert closed.course.left_ns(0) is None
    assert paced.course.left_ns(0) == 2_010 * MS  # ramp 1 s from 10 ms on, warm-up 500 ms, 50 at 100/s
