"""Reply time-outs of the loops' blast end: when a connection is given up."""

from __future__ import annotations

import itertools
from select import POLLIN
from types import SimpleNamespace
from typing import Any

import pytest

from loadkit.engine.aio import timeouts
from loadkit.engine.aio.connection import State
from loadkit.engine.aio.pauses import STANDSTILL_NS, Standstills
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.timeouts import Timeouts

MS = 1_000_000
TIMEOUT_NS = 640 * MS  # of which a grain is 10 ms


class Swarm:
    """What time-outs are asked for, with one connection whose only message was sent at 0."""

    def __init__(self) -> None:
        self.timeout_ns = TIMEOUT_NS
        self.load = SimpleNamespace(connect_timeout_ns=10 * TIMEOUT_NS)
        self.watch = SimpleNamespace(standstills=Standstills(), asked_ns=NEVER, age=lambda since, now: now - since)
        sock = SimpleNamespace(fileno=lambda: 4711)
        self.connection: Any = SimpleNamespace(
            pending=[0, 0, 0],
            waits_since=lambda: 0,
            state=State.OPEN,
            transport=SimpleNamespace(get_extra_info=lambda _name: sock),
            timer_ns=0,
        )
        self.broken_at: list[int] = []
        self.now = 0

    def arm(self) -> None:
        """There is no timer here."""

    def broken(self, _connection: Any, _step: str, _number: int) -> None:
        self.broken_at.append(self.now)


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


def run(swarm: Swarm) -> int:
    """Judges whenever it is due, and returns when the connection was given up."""
    judge: Any = Timeouts(swarm)  # type: ignore[arg-type]
    judge.need_reply_by(swarm.connection, TIMEOUT_NS)
    for _ in itertools.takewhile(lambda _: not swarm.broken_at, range(1000)):
        swarm.now = judge.next_ns
        judge.judge(swarm.now)
    return swarm.broken_at[0]


def readable(monkeypatch: pytest.MonkeyPatch, is_readable: bool) -> None:
    monkeypatch.setattr(timeouts, "has_events", lambda fd, events: (fd, events) == (4711, POLLIN) and is_readable)


def test_a_connection_without_a_byte_is_given_up_when_the_time_is_over(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable(monkeypatch, False)
    assert run(swarm) == TIMEOUT_NS


def test_a_standstill_of_the_worker_is_no_part_of_the_time(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    readable(monkeypatch, False)
    swarm.watch.standstills.note(100 * MS, 200 * MS)
    assert run(swarm) == TIMEOUT_NS + 100 * MS


def test_bytes_that_are_there_are_read_first_but_not_waited_for_without_end(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable(monkeypatch, True)  # however much of it is read
    # Two grains and a standstill's length later it is over, and a grain later that is found.
    assert TIMEOUT_NS < run(swarm) <= TIMEOUT_NS + 3 * 10 * MS + STANDSTILL_NS
