"""What a run is judged as while it goes on."""

from __future__ import annotations

import pytest

from loadkit.library.prepare import prepare_blast
from loadkit.measure.names import COUNTERS
from loadkit.report.build import build_record
from loadkit.report.record import RunRecord
from loadkit.run.blast import Progress, run_blast
from loadkit.run.signals import Interrupts
from loadkit.run.so_far import without_what_is_under_way
from tests.golden.made_up import exchanged, page, worker

# What is said of a load that was not offered. A run that is judged before its end has offered what it could so far.
_WRONG = {"does-not-add-up", "cut-short", "incomplete", "connections-missing", "no-window"}


def test_what_is_under_way_is_neither_sent_nor_due_yet() -> None:
    hold = exchanged([1_000] * 90, intended=10, sent=6, failed=2, unsent=1)
    [_ramp, found] = without_what_is_under_way(worker(0, page(), hold)).phases
    # 96 sent: 90 have a reply and 2 failed, so 4 are under way; 100 due: 1 is given up, and 3 wait
    assert [found.counters[name] for name in ("intended", "sent", "replied", "failed", "unsent")] == [93, 92, 90, 2, 1]
    same = {name: hold.counters[name] for name in COUNTERS if name not in ("intended", "sent")}
    assert {name: found.counters[name] for name in same} == same


@pytest.mark.slow
@pytest.mark.parametrize("rate", [None, "2k"])
def test_a_run_is_judged_while_it_goes_on_as_if_it_had_been_ended_then(rate: str | None) -> None:
    options = {"connections": "50", "workers": "1", "duration": "10m", "warmup": "0s", "engine": "asyncio"}
    prepared = prepare_blast(None, None, options | ({"rate": rate} if rate else {}))
    found: list[RunRecord] = []
    interrupts = Interrupts()

    def look(progress: Progress) -> None:
        if progress.so_far is None or progress.replied < 500:
            return
        found.append(build_record(prepared.plan, prepared.host, progress.so_far()))
        if len(found) == 3:
            interrupts.stop()

    with interrupts:
        run_blast(prepared.plan, look, interrupts=interrupts)
    for record in found:
        messages = record.messages
        assert messages.intended == messages.sent + messages.unsent > 0
        assert messages.sent == messages.replied + messages.failed + messages.unanswered
        assert record.connections.at_start == 50
        assert not {reason.code for reason in record.verdict.reasons} & _WRONG
    assert [one.messages.replied for one in found] == sorted(one.messages.replied for one in found)
