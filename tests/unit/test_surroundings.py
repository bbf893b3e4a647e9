"""What a machine shows around a run, of counters that the test makes up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import loadkit.run.surroundings
from loadkit.measure.kernel import KernelLook
from loadkit.measure.memory import Room
from loadkit.measure.throttling import ThrottlingLook
from loadkit.run.surroundings import Surroundings

MS = 10**6


@pytest.fixture
def resets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What the kernel has counted at each reading, from the first on."""
    counts: list[int] = []

    def read() -> KernelLook | None:
        count = counts.pop(0)
        return KernelLook({"Tcp.OutRsts": count}, {}, {}, {}) if count >= 0 else None

    monkeypatch.setattr(loadkit.run.surroundings, "read_kernel", read)
    monkeypatch.setattr(loadkit.run.surroundings, "read_throttling", lambda: ThrottlingLook({}))
    yield counts
    assert not counts


@pytest.mark.parametrize(
    ("readings", "of_ramp", "of_window"),
    [
        pytest.param([5], None, None, id="it ended before the window"),
        pytest.param([5, 7], 2, None, id="it ended in the window"),
        pytest.param([5, 7, 17], 2, 10, id="a whole window"),
        pytest.param([-1, 7, 17], None, 10, id="a reading that failed"),
        pytest.param([5, -1, 17], None, None, id="another one"),
    ],
)
def test_the_kernel_s_counters_are_those_of_the_ramp_and_of_the_window(
    resets: list[int], readings: list[int], of_ramp: int | None, of_window: int | None
) -> None:
    resets += readings
    surroundings = Surroundings(10, lambda: None)
    surroundings.ready([])
    for _ in readings[1:]:
        surroundings.pass_edge()
    found = [
        samples and samples.counters["Tcp.OutRsts"]
        for samples in (surroundings.kernel_of_ramp(), surroundings.kernel())
    ]
    assert found == [of_ramp, of_window]
    assert surroundings.throttling() is None


def test_the_memory_that_is_left_is_read_ten_times_a_second_at_most() -> None:
    read: list[Room] = []

    def room() -> Room:
        read.append(Room(len(read), 100))
        return read[-1]

    surroundings = Surroundings(10, room)
    shown = [surroundings.room(at * MS) for at in (1000, 1050, 1099, 1100, 1350)]
    assert shown == [Room(0, 100), None, None, Room(1, 100), Room(2, 100)]
