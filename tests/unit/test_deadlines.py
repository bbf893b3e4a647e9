"""When to look at which connection again: closed ones are not kept until then."""

from __future__ import annotations

from typing import Any, cast

from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.deadlines import Deadlines

_S = 10**9


class _Connection:
    """What of a connection concerns its deadline."""

    def __init__(self) -> None:
        self.timer_ns = 0
        self.state = State.OPEN


def _push(deadlines: Deadlines, at_ns: int) -> Any:
    connection = _Connection()
    deadlines.push(cast(Connection, connection), at_ns)
    return connection


def _kept(deadlines: Deadlines) -> int:
    return sum(map(len, deadlines._at.values()))


def test_closed_connections_are_dropped_and_open_ones_fall_due() -> None:
    deadlines = Deadlines(10 * _S)
    stays = [_push(deadlines, 10 * _S + number * _S) for number in range(5)]
    most = 0
    for number in range(20_000):  # churn: each is closed long before its time
        _push(deadlines, 20 * _S + number * 1_000_000).state = State.CLOSED
        if number % 100 == 0:
            deadlines.tidy(len(stays))
        most = max(most, _kept(deadlines))
    assert most <= 1024 + 2 * 5 + 101
    found = [one for one in deadlines.due(60 * _S) if one.state is not State.CLOSED]
    assert found == stays
    assert deadlines.first_ns > 60 * _S


def test_a_connection_that_was_looked_at_is_pushed_again() -> None:
    deadlines = Deadlines(_S)
    connection = _push(deadlines, _S)
    [found] = deadlines.due(2 * _S)
    assert found is connection
    assert connection.timer_ns == 0
    deadlines.push(found, 3 * _S)
    deadlines.tidy(1)
    assert list(deadlines.due(4 * _S)) == [connection]
