"""What is left of a pace, event by event; the oracle is the list of all its times."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.engine.aio.schedule import NEVER, RandomSchedule, Schedule, Scheduled
from loadkit.plan.arrivals import PoissonProcess, arrival_times
from loadkit.plan.pacing import LinearPace, due_times

_S = 10**9

_RATES = st.one_of(st.just(0.0), st.floats(0.01, 50))
_PACES = st.builds(
    LinearPace,
    begin_ns=st.integers(0, 10**15),
    duration_ns=st.integers(10**6, 5 * _S),
    start_hz=_RATES,
    end_hz=_RATES,
)
_WORKERS = st.integers(1, 7).flatmap(lambda of: st.tuples(st.integers(0, of - 1), st.just(of)))
# Goes on to the next event; drops what is due after a part of the duration, beyond its ends too; drops all.
_STEPS = st.lists(st.one_of(st.just("advance"), st.floats(-0.1, 1.1), st.just("clear")), max_size=30)


# Even ones, and random ones of a seed: what they are made of, and the oracle.
_KINDS: dict[str, Callable[..., tuple[Scheduled, list[int]]]] = {
    "even": lambda pace, index, of: (Schedule(pace, index, of), list(due_times(pace, index, of))),
    "random": lambda pace, index, of: (RandomSchedule(pace, 7, index, of), list(arrival_times(pace, 7, index, of))),
}
_EACH_KIND = pytest.mark.parametrize("kind", _KINDS)


def assert_left(schedule: Scheduled, expected: list[int]) -> None:
    assert schedule.next_ns == (expected[0] if expected else NEVER)
    assert schedule.left() == len(expected)


@_EACH_KIND
@given(_PACES, _WORKERS)
def test_a_schedule_has_the_times_of_its_pace_one_after_another(
    kind: str, pace: LinearPace, worker: tuple[int, int]
) -> None:
    schedule, expected = _KINDS[kind](pace, *worker)
    assert_left(schedule, expected)
    while expected:
        schedule.advance()
        expected.pop(0)
        assert_left(schedule, expected)


@_EACH_KIND
@given(_PACES, _WORKERS, _STEPS)
@example(LinearPace(0, _S, 10, 10), (1, 3), [0.35, 0.9, "advance", "advance"])  # a later cut brings nothing back
@example(LinearPace(0, _S, 10, 10), (0, 3), ["advance", "advance", "advance", "advance", 0.5])  # at the end, and cut
@example(LinearPace(0, _S, 10, 10), (0, 1), ["clear", 1.1])
def test_whatever_is_done_to_it_what_is_left_is_known(
    kind: str, pace: LinearPace, worker: tuple[int, int], steps: list[float | str]
) -> None:
    schedule, expected = _KINDS[kind](pace, *worker)
    for step in steps:
        if step == "advance":
            if expected:
                schedule.advance()
            expected = expected[1:]
        elif step == "clear":
            schedule.clear()
            expected = []
        else:
            until = pace.begin_ns + round(float(step) * pace.duration_ns)
            schedule.cut(until)
            expected = [at for at in expected if at <= until]
        assert_left(schedule, expected)


@pytest.mark.parametrize(
    ("until", "left"),
    [
        # 10 Hz from 5 s on, the second of two workers: 5.1, 5.3, 5.5, 5.7, 5.9 s
        pytest.param(5_099_999_999, 0, id="before the first"),
        pytest.param(5_100_000_000, 1, id="as the first is due"),
        pytest.param(5_699_999_999, 3, id="before the fourth"),
        pytest.param(5_700_000_000, 4, id="as the fourth is due"),
        pytest.param(9_000_000_000, 5, id="after the end"),
    ],
)
def test_a_cut_keeps_what_is_due_by_then(until: int, left: int) -> None:
    schedule = Schedule(LinearPace(5 * _S, _S, 10, 10), 1, 2)
    schedule.cut(until)
    assert_left(schedule, [5_100_000_000 + 200_000_000 * number for number in range(left)])


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(Schedule(), id="no pace"),
        pytest.param(Schedule(LinearPace(0, _S, 0, 0)), id="a pause"),
        pytest.param(Schedule(LinearPace(0, _S, 2, 2), 3, 4), id="fewer events than workers"),
        pytest.param(RandomSchedule(LinearPace(0, _S, 0, 0), 7, 0, 1), id="a random pause"),
    ],
)
def test_a_schedule_without_events_is_at_its_end(schedule: Scheduled) -> None:
    assert_left(schedule, [])
    schedule.cut(_S)
    schedule.clear()
    assert_left(schedule, [])


class Walked(LinearPace):
    """A pace that knows how often it was asked for a time."""

    asked = 0

    def time(self, k: int) -> int:
        Walked.asked += 1
        return super().time(k)


def test_a_million_events_are_counted_cut_and_dropped_without_walking_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walked, "asked", 0)
    schedule = Schedule(Walked(0, 1_000 * _S, 1_000, 1_000))
    assert schedule.left() == 1_000_000
    schedule.cut(500 * _S)
    assert schedule.left() == 500_001
    schedule.clear()
    assert schedule.left() == 0
    assert 0 < Walked.asked < 30  # a bisection: log2 of a million is 20


@pytest.mark.parametrize("kind", [Schedule, RandomSchedule])
def test_no_more_than_the_most_are_left(kind: type[Schedule] | type[RandomSchedule]) -> None:
    pace = LinearPace(0, 10 * _S, 100, 100)
    schedule = Schedule(pace, 1, 3, 20) if kind is Schedule else RandomSchedule(pace, 7, 1, 3, 20)
    for left in range(20, 0, -1):
        assert schedule.left() == left
        schedule.advance()
    assert_left(schedule, [])


def test_a_million_random_events_are_counted_without_making_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = LinearPace(0, 1_000 * _S, 1_000, 1_000)
    schedule = RandomSchedule(pace, 7, 0, 1)
    expected = len(list(arrival_times(pace, 7, 0, 1)))
    made = []
    places = PoissonProcess.places
    monkeypatch.setattr(PoissonProcess, "places", lambda *args: made.append(args) or places(*args))
    assert schedule.left() == expected
    assert len(made) == 1  # the last block, of which a part is due
