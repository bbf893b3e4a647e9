"""What each connection got adds up to what all of them got, on every engine and at both ends."""

from __future__ import annotations

import pytest

import loadkit.sync

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_what_each_connection_got_adds_up_to_what_all_got(engine: str) -> None:
    record = loadkit.sync.blast(
        connections=8, rate=400, duration="300ms", warmup="0s", workers=2, size=100, engine=engine
    )
    fairness, server = record.fairness, record.server
    assert fairness is not None
    assert (fairness.connections, fairness.each.unit) == (8, "replies")
    # Each connection's first message is beside the schedule.
    assert fairness.each.sum == sum(phase.messages.replied for phase in record.phases) + 8
    assert fairness.jain is not None
    assert fairness.jain > 0.9
    assert server is not None
    assert server.bytes is not None
    assert server.fairness is not None
    assert (server.fairness.connections, server.fairness.each.unit) == (8, "bytes")
    assert server.fairness.each.sum == server.bytes.sent
    assert server.fairness.least == 100 * (fairness.least or 0)
    assert server.fairness.jain == pytest.approx(fairness.jain, rel=0.01)
