"""Wake-ups, from the board's counters: differences between two looks, and sums over workers."""

from __future__ import annotations

import pytest

from loadkit.measure.names import WAKEUP_SOURCES
from loadkit.measure.wakeups import FLAGS, add_wakeups, read_wakeups
from loadkit.report.as_text import as_text
from tests.golden.made_up import RUNS, page, woken

_NATIVE = WAKEUP_SOURCES.index("native")


def test_an_engine_that_does_not_count_has_none() -> None:
    assert read_wakeups(_NATIVE, page()) is None
    assert add_wakeups([None, None]) is None


def test_what_came_since_an_earlier_look_is_the_difference() -> None:
    before, after = page(**woken([5, 5, 1000], busy_ns=1)), page(**woken([5, 5, 1000, 7, 7, 9], busy_ns=10))
    since = read_wakeups(_NATIVE, after, before)
    assert since is not None
    assert (since.waits, since.wakeups, since.events, since.busy_ns) == (3, 3, 23, 9)
    assert since.flags == {flag: 23 if flag == "IN" else 0 for flag in FLAGS}
    # 1,000 came before: the extremes are those of the difference.
    assert (since.batch.count, since.batch.sum_ns, since.batch.min_ns, since.batch.max_ns) == (3, 23, 7, 9)


def test_nothing_since_is_a_count_of_nothing_and_not_unknown() -> None:
    look = page(**woken([5]))
    since = read_wakeups(_NATIVE, look, look)
    assert since is not None
    assert (since.waits, since.events, since.batch.count, since.batch.max_ns) == (0, 0, 0, 0)


def test_workers_add_up_and_those_that_do_not_count_are_left_out() -> None:
    one, other = read_wakeups(_NATIVE, page(**woken([1, 2]))), read_wakeups(_NATIVE, page(**woken([1024])))
    total = add_wakeups([one, None, other])
    assert total is not None
    assert (total.waits, total.wakeups, total.events, total.blocked_ns) == (5, 3, 1027, 2 * 10**9)
    assert total.batch.percentiles([50.0])[50.0] == 2
    assert (total.batch.min_ns, total.batch.max_ns) == (1, 1024)


def test_where_nobody_counted_the_record_says_why() -> None:
    record = RUNS["open_loop"]()
    assert record.wakeups is None
    assert record.wakeups_missing is not None
    assert record.wakeups_missing.startswith("this engine cannot count them")
    assert "wake-ups       this engine cannot count them" in as_text(record)
    assert RUNS["native"]().wakeups_missing is None


@pytest.mark.parametrize("size", [1, 2, 1023, 1024])
def test_every_size_of_a_batch_has_a_counter_of_its_own(size: int) -> None:
    since = read_wakeups(_NATIVE, page(**woken([size])))
    assert since is not None
    assert since.batch.counts[size] == 1
