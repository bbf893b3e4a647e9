"""Entries that wait for a time: what is over is not kept until then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadkit.engine.aio.oldest import OldestFirst


def _queue(over: set[int]) -> OldestFirst[int]:
    return OldestFirst(over.__contains__)


@given(st.lists(st.booleans(), max_size=4000))
def test_what_is_not_over_stays_in_its_order(is_over: list[bool]) -> None:
    over: set[int] = set()
    queue = _queue(over)
    for number in range(len(is_over)):
        queue.append(number)
    over.update(number for number, one in enumerate(is_over) if one)
    queue.tidy()
    left = [number for number in range(len(is_over)) if number not in over]
    assert [number for number in queue if number not in over] == left
    if left:
        assert queue.oldest == left[0]
        assert queue.pop() == left[0]


def test_one_that_waits_long_does_not_keep_what_comes_after_it() -> None:
    over: set[int] = set()
    queue = _queue(over)
    queue.append(0)
    longest = 0
    for number in range(1, 20_000):
        queue.append(number)
        over.add(number)
        if number % 100 == 0:
            queue.tidy()
        longest = max(longest, len(queue))
    # 1,024 and twice the one that waits, and what came since it was tidied last.
    assert longest <= 1024 + 2 + 100
    assert queue.oldest == 0


def test_tidying_a_queue_whose_entries_all_wait_is_cheap() -> None:
    asked = 0

    def is_over(_number: int) -> bool:
        nonlocal asked
        asked += 1
        return False

    queue: OldestFirst[int] = OldestFirst(is_over)
    for number in range(50_000):
        queue.append(number)
        if number % 10 == 0:
            queue.tidy()
    # The front each time, and all of them each time that they have doubled.
    assert asked < 5_000 + 2 * 50_000
