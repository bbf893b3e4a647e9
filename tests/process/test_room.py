"""Memory that runs out while the connections open: a run in this process, told so by the test."""

from __future__ import annotations

import pytest

from loadkit.engine.registry import choose_engine
from loadkit.host import read_host
from loadkit.measure.memory import Room
from loadkit.plan.build import build_plan
from loadkit.profile.read import load_profile
from loadkit.report.build import build_record
from loadkit.run.blast import run_blast

pytestmark = pytest.mark.slow
GIB = 1 << 30


@pytest.mark.parametrize("engine", ["native", "uvloop"])
def test_when_memory_gets_tight_it_holds_what_is_open(engine: str) -> None:
    options = {"connections": "2000", "connect_rate": "500", "rate": "500", "duration": "2s", "warmup": "0s"}
    profile, sources = load_profile(None, {**options, "engine": engine})
    host = read_host()
    looks = [0]

    def room() -> Room:
        looks[0] += 1
        return Room(20 * GIB if looks[0] < 8 else GIB // 2, 24 * GIB)  # 0.7 s of 4 s

    plan = build_plan(profile, sources, host, None, choose_engine(profile.engine))
    samples = run_blast(plan, room=room)
    record = build_record(plan, host, samples)
    opened = record.connections.opened
    assert 200 < opened < 1500
    assert record.connections.peak == opened == record.connections.closed
    assert record.errors == ()
    assert record.messages.replied > 800  # the hold goes on with them
    assert record.opening is not None
    assert record.opening.stopped is not None
    [exhausted] = [reason.text for reason in record.verdict.reasons if reason.code == "exhausted"]
    assert record.verdict.state == "invalid"
    assert exhausted.startswith(f"stalled at {opened:,} of 2,000: memory: 512 MiB of 24 GiB were left, and 1 GiB")
