"""What is left of a pace, event by event; the oracle is the list of all its times."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.engine.aio.schedule import NEVER, Schedule
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


def assert_left(schedule: Schedule, expected: list[int]) -> None:
    assert schedule.next_ns == (expected[0] if expected else NEVER)
    assert schedule.left() == len(expected)


@given(_PACES, _WORKERS)
def test_a_schedule_has_the_times_of_its_pace_one_after_another(pace: LinearPace, worker: tuple[int, int]) -> None:
    schedule, expected = Schedule(pace, *worker), list(due_times(pace, *worker))
    assert_left(schedule, expected)
    while expected:
        schedule.advance()
        expected.pop(0)
        assert_left(schedule, expected)


@given(_PACES, _WORKERS, _STEPS)
@example(LinearPace(0, _S, 10, 10), (1, 3), [0.35, 0.9, "advance", "advance"])  # a later cut brings nothing back
@example(LinearPace(0, _S, 10, 10), (0, 3), ["advance", "advance", "advance", "advance", 0.5])  # at the end, and cut
@example(LinearPace(0, _S, 10, 10), (0, 1), ["clear", 1.1])
def test_whatever_is_done_to_it_what_is_left_is_known(
    pace: LinearPace, worker: tuple[int, int], steps: list[float | str]
) -> None:
    schedule, expected = Schedule(pace, *worker), list(due_times(pace, *worker))
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
    ],
)
def test_a_schedule_without_events_is_at_its_end(schedule: Schedule) -> None:
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
