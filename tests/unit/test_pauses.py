"""What a worker missed, from times written down here; native/looks.h and native/standstills.h: tests/engine."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.engine.aio.pauses import Looks, Standstills

_MS = 1_000_000
_GAP = _MS  # from more than this on, a gap between two looks is remembered


def looked(first: int, *later: int) -> Looks:
    looks = Looks(first)
    for at in later:
        looks.note(at)
    return looks


@pytest.mark.parametrize(
    ("due", "taken"),
    [
        # looks at 0, 1 ms, 5 ms, 5.5 ms, 9 ms: two gaps are longer than 1 ms
        pytest.param(0, 0, id="at the first look"),
        pytest.param(_MS // 2, _MS // 2, id="in a gap of 1 ms: that is not remembered"),
        pytest.param(_MS, _MS, id="at the look before a gap: that was on time"),
        pytest.param(_MS + 1, 5 * _MS, id="just after it: at the gap's end"),
        pytest.param(3 * _MS, 5 * _MS, id="inside a gap: at its end"),
        pytest.param(5 * _MS, 5 * _MS, id="at the end of one"),
        pytest.param(5 * _MS + 1, 5 * _MS + 1, id="between two gaps"),
        pytest.param(8 * _MS, 9 * _MS, id="inside the second"),
        pytest.param(12 * _MS, 12 * _MS, id="after the last look"),
    ],
)
def test_a_message_is_taken_at_the_first_look_after_it_was_due(due: int, taken: int) -> None:
    assert looked(0, _MS, 5 * _MS, 5 * _MS + _MS // 2, 9 * _MS).after(due) == taken


@given(st.lists(st.integers(0, 3 * _MS), max_size=40), st.lists(st.integers(-_MS, 60 * _MS), min_size=1, max_size=10))
@example([_GAP, _GAP + 1], [_GAP, _GAP + 1, 2 * _GAP, 2 * _GAP + 1])
def test_only_a_gap_between_looks_makes_a_message_late(steps: list[int], dues: list[int]) -> None:
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    looks = looked(*times)
    gaps = [(begin, end) for begin, end in itertools.pairwise(times) if end - begin > _GAP]
    for due in dues:
        ends = [end for begin, end in gaps if begin < due <= end]
        assert looks.after(due) == (ends[0] if ends else due)


def test_of_many_gaps_the_latest_are_remembered() -> None:
    times = range(0, 2 * _MS * 5_001, 2 * _MS)  # 5,000 gaps of 2 ms
    looks = looked(*times)
    for back in range(1, 1_024):
        due = times[-1] - 2 * _MS * back + 1
        assert looks.after(due) == times[-back]
    assert looks.after(1) == 1  # forgotten: it counts as taken when it was due
    assert len(looks._to) <= 2_048


def stood(*stops: tuple[int, int]) -> Standstills:
    standstills = Standstills()
    for begin, end in stops:
        standstills.note(begin, end)
    return standstills


@pytest.mark.parametrize(
    ("since", "total"),
    [
        # 100 to 130 and 200 to 250
        pytest.param(0, 80, id="before both: their sum"),
        pytest.param(100, 80, id="as the first begins"),
        pytest.param(110, 70, id="inside the first: the rest of it, and the second"),
        pytest.param(130, 50, id="as the first ends"),
        pytest.param(199, 50, id="between them"),
        pytest.param(249, 1, id="at the end of the second"),
        pytest.param(250, 0, id="as the second ends"),
        pytest.param(900, 0, id="after both"),
    ],
)
def test_the_time_stood_still_is_that_since_a_message_was_sent(since: int, total: int) -> None:
    assert stood((100, 130), (200, 250)).since(since) == total


def test_without_a_standstill_no_time_was_lost() -> None:
    assert Standstills().since(0) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=64), st.integers(0, 7_000))
def test_it_is_the_time_that_the_standstills_have_after_a_moment(lengths: list[tuple[int, int]], since: int) -> None:
    stops, now = [], 0
    for gap, length in lengths:
        stops.append((now + gap, now + gap + length))
        now += gap + length
    still = {at for begin, end in stops for at in range(begin, end)}
    assert stood(*stops).since(since) == sum(at >= since for at in still)


def test_the_latest_64_are_remembered_in_their_order() -> None:
    standstills = stood(*((10 * number, 10 * number + 3) for number in range(100)))
    assert list(standstills.last) == [(10 * number, 10 * number + 3) for number in range(36, 100)]
    assert standstills.since(0) == 64 * 3
