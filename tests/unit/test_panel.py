"""What the panel of --live says, line by line."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.cli.heat import Look
from loadkit.cli.panel import Judged, Panel
from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency, IntervalSample
from loadkit.report.record import Reason, SloRecord, Verdict
from loadkit.run.blast import Progress
from loadkit.run.crew import WorkerTotals
from tests.golden.made_up import HIGHEST_NS, HOLD, MS, RUNS, S, made_up_plan

LOOK = Look(False, False)


def row(*latencies_ns: int, phase: int = HOLD) -> IntervalSample:
    latency = IntervalLatency.of(Histogram.of(latencies_ns, HIGHEST_NS))
    return IntervalSample(0, S, phase, 7, len(latencies_ns), 0, 0, latency)


def progress(interval: IntervalSample | None = None, phase: str = "hold", **more: object) -> Progress:
    return Progress(phase, 99, 100, 1_000, 2, 12_300_000_000, interval, 400.0, **more)  # type: ignore[arg-type]


def shown(panel: Panel, now: Progress, judged: Judged | None = None, width: int = 80, height: int = 24) -> list[str]:
    panel.note(now)
    lines = [line.plain for line in panel.lines(now, judged, width, height)]
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    return lines


def judged(**changes: object) -> Judged:
    return Judged(msgspec.structs.replace(RUNS["open_loop"](), **changes), 5 * S)


def test_before_the_measured_time_there_is_no_verdict() -> None:
    lines = shown(Panel(made_up_plan(), LOOK), progress(phase="ramp"))
    assert lines[0].split("  ")[:2] == ["loadkit", "ramp, 13 s left"]
    assert lines[1] == "no verdict before the measured time has begun"
    assert lines[2] == "asked one message after the other, now 400/s replies"


def test_percentiles_are_of_the_last_second_and_of_all_measured_ones() -> None:
    panel = Panel(made_up_plan(400.0), LOOK)
    shown(panel, progress(row(*[9 * MS] * 2_000, phase=1)))  # the warm-up is not measured
    shown(panel, progress(row(*[MS] * 600)))
    lines = shown(panel, progress(row(*[5 * MS] * 600), under_way=1))
    assert lines[2] == "asked 400/s, now 400/s replies"
    assert lines[3] == "open 99 of 100, 1 message under way, 2 errors"
    assert lines[4] == "latency   p50 5.00 ms  p99 -  p99.9 -  max 5.00 ms  last second"
    assert lines[5] == "          p50 1.00 ms  p99 5.00 ms  p99.9 -  max 5.00 ms  measured time"


def test_the_verdict_has_its_age_its_reasons_and_no_more_lines_than_there_is_room_for() -> None:
    reasons = (Reason("late", "messages went out late " * 20),)
    one = judged(verdict=Verdict("suspect", reasons))
    panel = Panel(made_up_plan(400.0), LOOK, clock=lambda: 9 * S)
    high, low = shown(panel, progress(), one), shown(panel, progress(), one, height=10)
    assert high[1].startswith("so far suspect, 4 s ago; late: messages went out late ")
    assert high[2].startswith("messages") or "late" in high[2]
    assert (high[3], low[2]) == (low[2], high[3])
    assert low[2].startswith("asked 400/s")


def test_missed_objectives_come_first_and_what_has_too_few_values_is_open() -> None:
    slos = (
        SloRecord("errors==0", 0, True),
        SloRecord("latency.p99<1ms", None, False, "9 values do not support a p99: ten must lie above it"),
        SloRecord("held.max<1ms", None, False, "never: 1 % of 9 were not sent"),
        SloRecord("opened>1", 9, True),
    )
    text = shown(Panel(made_up_plan(400.0), LOOK), progress(), judged(slo=slos))
    at = next(number for number, line in enumerate(text) if line.startswith("SLO"))
    assert [line.partition("  (")[0] for line in text[at : at + 3]] == [
        "SLO open    latency.p99<1ms",
        "SLO missed  held.max<1ms",
        "and 2 more objectives",
    ]


def test_a_count_that_is_still_too_small_is_open() -> None:
    slos = (SloRecord("replied>1000", 9, False), SloRecord("errors==0", 9, False), SloRecord("opened==9", 8, False))
    text = shown(Panel(made_up_plan(400.0), LOOK), progress(), judged(slo=slos))
    assert [line.partition("  (")[0] for line in text if line.startswith("SLO")] == [
        "SLO open    replied>1000",
        "SLO missed  errors==0",
        "SLO open    opened==9",
    ]


@pytest.mark.parametrize(("workers", "width", "expected"), [(2, 80, 2), (4, 200, 2), (9, 80, 4)])
def test_each_worker_has_a_bar_as_far_as_there_is_room(workers: int, width: int, expected: int) -> None:
    panel = Panel(made_up_plan(), LOOK)
    shown(panel, progress(row(MS), workers=(WorkerTotals(0, 0, 0, 0),) * workers))
    busy = tuple(WorkerTotals(S * (number + 1) // 10, S - S * (number + 1) // 10, 10, 15) for number in range(workers))
    lines = [line for line in shown(panel, progress(row(MS), workers=busy), width=width) if "busy" in line]
    assert len(lines) == expected
    assert lines[0].startswith("blast 0   ##..................  10% busy, 1.5 events per wake-up")
    if workers == 9:
        assert lines[-1] == "and 6 workers more, the busiest 90% busy"


def test_the_workers_of_the_run_s_own_serve_end_have_bars_too() -> None:
    panel = Panel(made_up_plan(), LOOK)
    nothing, half = WorkerTotals(0, 0, 0, 0), WorkerTotals(S // 2, S // 2, 10, 10)
    shown(panel, progress(row(MS), workers=(nothing,), serving=(nothing,)))
    lines = shown(panel, progress(row(MS), workers=(half,), serving=(WorkerTotals(S, 0, 10, 10),)))
    assert [line[:35] for line in lines if "busy" in line] == [
        "blast 0   ##########..........  50%",
        "serve 0   #################### 100%",
    ]


def test_the_title_says_how_the_run_is_stopped() -> None:
    assert shown(Panel(made_up_plan(), LOOK), progress())[0].endswith("  q stops")
    assert shown(Panel(made_up_plan(), LOOK, "Ctrl-C stops"), progress())[0].endswith("  Ctrl-C stops")


def test_errors_have_their_advice_the_most_frequent_first() -> None:
    kinds = {("receive", "ECONNRESET"): 2, ("connect", "ECONNREFUSED"): 9}
    lines = [line for line in shown(Panel(made_up_plan(), LOOK), progress(kinds=kinds)) if " x " in line]
    assert [line.partition(":")[0] for line in lines] == ["9 x connect ECONNREFUSED", "2 x receive ECONNRESET"]
    many = {("receive", f"E{number}"): number for number in range(1, 8)}
    lines = shown(Panel(made_up_plan(), LOOK), progress(kinds=many))
    assert "and 5 more kinds of errors" in lines


@pytest.mark.parametrize("size", [(20, 3), (1, 1), (40, 8), (80, 24), (300, 100)])
def test_it_fits_any_size_with_everything_there_is(size: tuple[int, int]) -> None:
    panel = Panel(made_up_plan(400.0, slo=("latency.p99<5ms",)), Look(True, True))
    kinds = {("connect", "ECONNREFUSED"): 9}
    for second in range(3):
        workers = (WorkerTotals(second, second, second, second),) * 9
        shown(panel, progress(row(MS, 200 * MS), workers=workers, kinds=kinds), judged(), *size)


def test_a_phase_and_a_reason_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\n::error::"
    plan = made_up_plan(400.0)
    phases = tuple(msgspec.structs.replace(one, name=f"{one.name}{evil}") for one in plan.load.phases)
    plan = msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, phases=phases))
    one = judged(verdict=Verdict("invalid", (Reason("code", evil),)), slo=(SloRecord(evil, 1, True),))
    lines = shown(Panel(plan, LOOK), progress(row(MS), phase=f"hold{evil}"), one)
    assert all(line.isprintable() for line in lines)
