from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.plan.pacing import LinearPace, Turn, due_times, every

_S = 10**9

_PACES = st.builds(
    LinearPace,
    begin_ns=st.integers(0, 10**15),
    duration_ns=st.integers(10**6, 30 * _S),
    start_hz=st.floats(0, 20_000),
    end_hz=st.floats(0, 20_000),
)


def _due(pace: LinearPace, t_ns: float) -> float:
    """N(t): how many events are due t ns after the beginning."""
    t, whole = t_ns / _S, pace.duration_ns / _S
    return pace.start_hz * t + (pace.end_hz - pace.start_hz) * t * t / (2 * whole)


@pytest.mark.parametrize(
    ("pace", "k", "due_ns"),
    [
        pytest.param(LinearPace(0, _S, 10, 10), 0, 0, id="the first is due at once"),
        pytest.param(LinearPace(0, _S, 10, 10), 3, 300_000_000, id="10 Hz, 3 sent => due at 300 ms"),
        pytest.param(LinearPace(5, _S, 10, 10), 3, 300_000_005, id="on the time line of its beginning"),
        # N(t) = t² / 2 · 10: 5 t² = 5 at t = 1 s
        pytest.param(LinearPace(0, 2 * _S, 0, 20), 5, _S, id="0 to 20 Hz in 2 s: the fifth after 1 s"),
        pytest.param(LinearPace(0, 2 * _S, 0, 20), 0, 0, id="a start from nothing"),
        # N(t) = 20 t - 5 t²: 15 at t = 1 s
        pytest.param(LinearPace(0, 2 * _S, 20, 0), 15, _S, id="20 to 0 Hz in 2 s: the fifteenth after 1 s"),
    ],
)
def test_an_event_is_due_where_the_area_under_the_rate_reaches_its_number(
    pace: LinearPace, k: int, due_ns: int
) -> None:
    assert pace.time(k) == due_ns


@pytest.mark.parametrize(
    ("pace", "total"),
    [
        (LinearPace(0, _S, 10, 10), 10),  # at 0, 100, … 900 ms; the one at 1 s is the next phase's
        (LinearPace(0, 3 * _S // 2, 1, 1), 2),  # at 0 and 1 s
        (LinearPace(0, 2 * _S, 0, 20), 20),  # (0 + 20) / 2 x 2 s
        (LinearPace(0, _S, 0, 0), 0),
        (LinearPace(0, _S, 0.1, 0.1), 1),  # at 0
        (LinearPace(0, 3 * _S, 0.1 + 0.2, 0.3), 1),  # 0.3 x 3 = 0.9
        (LinearPace(0, 10 * _S, 0.3, 0.3), 3),  # the float product is 3.0000000000000004 or so, not 4 events
    ],
)
def test_a_phase_has_the_events_due_before_its_end(pace: LinearPace, total: int) -> None:
    assert pace.total() == total


@given(_PACES, st.integers(0, 10**6))
def test_as_many_events_are_due_at_an_event_s_time_as_came_before_it(pace: LinearPace, k: int) -> None:
    if k >= pace.total():
        return
    at_ns = pace.time(k) - pace.begin_ns
    # A rounding of half a nanosecond moves N by half the rate; the rest is the precision of a float.
    assert _due(pace, at_ns) == pytest.approx(k, abs=1e-9 * max(pace.start_hz, pace.end_hz) + 1e-6, rel=1e-9)


@given(_PACES)
def test_events_are_in_order_and_within_the_phase(pace: LinearPace) -> None:
    total = pace.total()
    some = sorted({0, 1, 2, total // 3, total // 2, total - 2, total - 1} & set(range(total)))
    times = [pace.time(k) for k in some]
    assert times == sorted(times)
    assert all(pace.begin_ns <= at <= pace.begin_ns + pace.duration_ns for at in times)


@given(st.integers(1, 7), st.floats(0, 300), st.floats(0, 300))
def test_the_workers_events_interleave_to_the_whole(of: int, start_hz: float, end_hz: float) -> None:
    pace = LinearPace(1000, _S, start_hz, end_hz)
    whole = list(due_times(pace, 0, 1))
    parts = [list(due_times(pace, index, of)) for index in range(of)]
    # in turn: the first of each, the second of each, …
    woven = [at for turn in itertools.zip_longest(*parts) for at in turn if at is not None]
    assert woven == whole
    assert len(whole) == pace.total()


@given(st.integers(1, 7), st.integers(0, 100), st.floats(1, 1e6))
def test_a_constant_rate_interleaves_to_the_whole_as_well(of: int, total: int, rate_hz: float) -> None:
    whole = list(every(77, rate_hz, total, 0, 1))
    parts = [list(every(77, rate_hz, total, index, of)) for index in range(of)]
    assert sorted(itertools.chain(*parts)) == whole
    assert len(whole) == total


def test_worker_i_of_n_is_shifted_by_its_part_of_the_interval() -> None:
    # 100 Hz over 4 workers: 10 ms between events, 40 ms between a worker's own
    assert list(every(0, 100, 8, 1, 4)) == [10_000_000, 50_000_000]
    assert list(due_times(LinearPace(0, 80_000_000, 100, 100), 3, 4)) == [30_000_000, 70_000_000]


@pytest.mark.parametrize(
    ("lane", "lanes", "of", "numbers"),
    [
        (0, 1, 1, [0, 1, 2, 3]),
        (1, 2, 2, [1, 3, 5, 7]),
        (0, 2, 3, [0, 2, 3, 5, 6]),  # workers 0 and 2: those that are 0 or 2 modulo 3
        (1, 2, 3, [1, 4, 7, 10]),  # worker 1 alone
        (0, 2, 5, [0, 2, 4, 5, 7, 9]),  # workers 0, 2 and 4
        (3, 4, 7, [3, 10, 17]),
        (1, 4, 7, [1, 5, 8, 12]),  # workers 1 and 5
    ],
)
def test_a_lane_has_the_events_of_its_workers_in_order(lane: int, lanes: int, of: int, numbers: list[int]) -> None:
    turn = Turn(0, len(numbers), lane, lanes, of)
    assert [turn.number(place) for place in range(len(numbers))] == numbers
    assert list(turn.due_times(5, 1e9)) == [5 + number for number in numbers]


def test_a_turn_begins_where_the_one_before_it_in_the_lane_ended() -> None:
    # 10 Hz; lane 0 of 2 with 3 workers has the events 0, 2, 3, 5, 6, 8: the second turn of two has 3 and 5.
    assert list(Turn(2, 2, 0, 2, 3).due_times(0, 10.0)) == [300_000_000, 500_000_000]
