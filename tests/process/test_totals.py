"""The totals of a record add up, on every engine and at both ends."""

from __future__ import annotations

import pytest

import loadkit.sync
from loadkit.measure.histogram import Histogram
from loadkit.report.record import RunRecord

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["native", "uvloop", "asyncio"])
def record(request: pytest.FixtureRequest) -> RunRecord:
    """A run of 8 connections with a warm-up, in which each connection's first message is beside the schedule."""
    return loadkit.sync.blast(
        connections=8, rate=400, duration="300ms", warmup="200ms", workers=2, size=100, engine=request.param
    )


def test_each_message_is_in_one_count(record: RunRecord) -> None:
    for messages in (record.messages, *(phase.messages for phase in record.phases)):
        assert messages.intended == messages.sent + messages.unsent
        assert messages.sent == messages.replied + messages.failed + messages.unanswered
    [hold] = [phase for phase in record.phases if phase.kind == "hold"]
    assert record.messages == hold.messages
    assert record.messages.replied > 0


def test_the_rows_of_a_phase_add_up_to_the_phase(record: RunRecord) -> None:
    for phase in record.phases:
        rows = [row for row in record.intervals if row.phase == phase.name]
        assert sum(row.replied for row in rows) == phase.messages.replied
        assert sum(row.opened for row in rows) == phase.connections.opened
        assert sum(row.bytes for row in rows) == phase.bytes.received
        assert sum(row.errors for row in rows) == sum(error.count for error in phase.errors)
        latency = phase.histograms["latency"]
        assert latency is not None
        assert sum(row.latency.sum for row in rows) == latency.sum
        counts = Histogram.decode(latency.hdr, latency.sum).counts
        for row in rows:
            if row.latency.hdr:
                counts = counts - Histogram.decode(row.latency.hdr, row.latency.sum).counts
        assert not counts.any()


def test_what_each_connection_got_adds_up_to_what_all_got(record: RunRecord) -> None:
    fairness, server = record.fairness, record.server
    assert fairness is not None
    assert (fairness.connections, fairness.each.unit) == (8, "replies")
    assert fairness.each.sum == sum(phase.messages.replied for phase in record.phases) + 8
    assert server is not None
    assert server.bytes is not None
    assert server.fairness is not None
    assert (server.fairness.connections, server.fairness.each.unit) == (8, "bytes")
    assert server.fairness.each.sum == server.bytes.sent
    assert server.fairness.least == 100 * (fairness.least or 0)
    assert server.fairness.jain == pytest.approx(fairness.jain, rel=0.01)
