"""The ramp, from looks that the test makes up."""

from __future__ import annotations

import pytest

from loadkit.measure.memory import Room
from loadkit.run.crew import Look
from loadkit.run.ramp import Ramp

MS = 1_000_000
GIB = 1 << 30


def opened(count: int, at_ns: int = 0, failed: int = 0) -> Look:
    """So many are open, and so many failed instead, the last of them at that time."""
    return Look(asked=count + failed, failed=failed, settled=count + failed, settled_ns=at_ns)


def test_between_two_looks_the_connections_opened_evenly() -> None:
    ramp = Ramp(100, 1000 * MS)
    ramp.note(opened(1, 990 * MS), 1000 * MS)  # the run's first
    assert ramp.tenths == []
    some = opened(26, 1100 * MS)  # 25 more in 100 ms: 4 ms each
    ramp.note(some, 1120 * MS)
    assert ramp.tenths == [36 * MS, 76 * MS]
    ramp.note(some, 1150 * MS)  # nothing new
    ramp.note(opened(100, 1224 * MS), 1240 * MS)  # 74 more from 150 ms to 224 ms
    assert ramp.tenths[2:] == [154 * MS, 164 * MS, 174 * MS, 184 * MS, 194 * MS, 204 * MS, 214 * MS, 224 * MS]
    ramp.note(opened(100, 1224 * MS), 1300 * MS)
    assert len(ramp.tenths) == 10


@pytest.mark.parametrize("every_ms", [5, 50, 130])
def test_the_times_of_the_tenths_are_those_of_the_workers_whenever_the_parent_looks(every_ms: int) -> None:
    ramp = Ramp(11, 0)
    for now in range(0, 2500 + every_ms, every_ms):
        done = min(now // 250, 10)  # 4/s
        ramp.note(opened(1 + done, 250 * done * MS), now * MS)
    assert ramp.tenths == [250 * tenth * MS for tenth in range(1, 11)]


def test_connects_that_failed_fill_no_tenth() -> None:
    ramp, look = Ramp(100, 0), opened(89, 1000 * MS, failed=11)
    ramp.note(look, 1000 * MS)
    assert len(ramp.tenths) == 8
    assert ramp.is_over(look, 1000 * MS)


def test_it_is_over_when_each_has_opened_or_failed() -> None:
    ramp = Ramp(100, 0)
    assert not ramp.is_over(opened(90, MS, failed=9), MS)
    assert ramp.is_over(opened(91, MS, failed=9), MS)


@pytest.mark.parametrize(
    ("free", "total", "stops"),
    [
        (1 * GIB, 24 * GIB, True),  # a twentieth would be 1.2 GiB; a GiB is enough
        (1 * GIB + GIB // 8, 24 * GIB, False),
        (GIB // 24, GIB, True),  # a twentieth: 51 MiB, but 64 MiB at least
        (GIB // 15, GIB, False),
        (25 << 20, 100 << 20, True),  # a container: a quarter
        (26 << 20, 100 << 20, False),
    ],
)
def test_below_the_margin_no_more_are_opened(free: int, total: int, stops: bool) -> None:
    ramp = Ramp(100, 0)
    ramp.note(Look(room=Room(free - 1, total)), 100 * MS)
    assert (ramp.stopped is not None) is stops
    if ramp.stopped:
        assert ramp.stopped.startswith("memory: ")


def test_after_that_it_waits_for_those_begun_and_for_all_to_have_heard() -> None:
    ramp = Ramp(100, 0)
    ramp.note(Look(settled=20, asked=22, room=Room(20 * GIB, 24 * GIB)), 100 * MS)
    assert ramp.stopped is None
    ramp.note(Look(settled=20, asked=22), 150 * MS)  # not read again so soon
    assert ramp.stopped is None
    ramp.note(Look(settled=20, asked=22, room=Room(10 << 20, 24 * GIB)), 200 * MS)
    assert ramp.stopped == "memory: 10 MiB of 24 GiB were left, and 1 GiB are kept free"
    two_left = Look(settled=20, asked=22, room=Room(20 * GIB, 24 * GIB))
    ramp.note(two_left, 900 * MS)  # what it said it stays with
    assert ramp.stopped
    assert not ramp.is_over(two_left, 900 * MS)
    all_settled = Look(settled=22, asked=22)
    assert not ramp.is_over(all_settled, 390 * MS)
    assert ramp.is_over(all_settled, 401 * MS)


def test_where_the_machine_does_not_say_what_is_left_it_goes_on() -> None:
    ramp = Ramp(100, 0)
    ramp.note(Look(room=None), 100 * MS)
    assert ramp.stopped is None
