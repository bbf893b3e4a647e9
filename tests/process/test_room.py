"""Memory that runs out while the connections open: a run in this process, told so by the test."""

from __future__ import annotations

import re

import pytest

from loadkit.engine.registry import choose_engine
from loadkit.host import read_host
from loadkit.measure.memory import Room
from loadkit.plan.build import build_plan
from loadkit.profile.read import load_profile
from loadkit.report.build import build_record
from loadkit.run.blast import Progress, run_blast

pytestmark = pytest.mark.slow
GIB = 1 << 30


@pytest.mark.parametrize("engine", ["native", "uvloop"])
def test_when_memory_gets_tight_it_holds_what_is_open(engine: str) -> None:
    # A ramp of 10 s, of which half a second has passed when memory gets tight.
    options = {"connections": "2000", "connect_rate": "200", "rate": "500", "duration": "1s", "warmup": "0s"}
    profile, sources = load_profile(None, {**options, "engine": engine})
    host = read_host()
    shown = [0]

    def observe(progress: Progress) -> None:
        shown.append(progress.open)

    def room() -> Room:
        return Room(20 * GIB if shown[-1] < 100 else GIB // 2, 24 * GIB)

    plan = build_plan(profile, sources, host, None, choose_engine(profile.engine))
    samples = run_blast(plan, observe, room=room)
    record = build_record(plan, host, samples)
    opened = record.connections.opened
    assert 100 <= opened < 2000
    assert record.connections.peak == opened == record.connections.closed
    assert record.errors == ()
    assert record.messages.intended == 500
    assert record.messages.replied > 0  # the hold goes on with them
    assert record.opening is not None
    assert record.opening.stopped is not None
    [exhausted] = [reason.text for reason in record.verdict.reasons if reason.code == "exhausted"]
    assert record.verdict.state == "invalid"
    stalled = re.match(r"stalled at ([\d,]+) of 2,000: memory: 512 MiB of 24 GiB were left, and 1 GiB", exhausted)
    assert stalled
    # A worker that hears of it late may open a few more when the ramp is over.
    assert 100 <= int(stalled[1].replace(",", "")) <= opened
