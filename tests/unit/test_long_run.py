"""A day's run, with a phase for each hour, is no larger than ten minutes in any format, and no slower to write."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadkit.measure.histogram import Histogram
from loadkit.measure.series import MOST_ROWS, IntervalLatency, IntervalSample, Rows
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.report.as_text import as_text
from loadkit.report.formats import FORMATS
from loadkit.report.reading import load
from loadkit.report.record import RunRecord
from loadkit.report.writing import encode
from tests.golden.made_up import (
    HIGHEST_NS,
    HOLD_NS,
    MS,
    REMOTE,
    START_NS,
    US,
    S,
    changed,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    worker,
)

_NOTHING = IntervalLatency(None, None, None)
# Each format by its suffix, and the text for a terminal.
_FORMATS: dict[str, Callable[[RunRecord], str]] = {
    **{suffix: one.write for suffix, one in FORMATS.items()},
    "text": as_text,
}
# What has no row for each second is for a person.
_MOST_LINES = {"text": 100, ".md": 100, ".xml": 100, ".jsonl": MOST_ROWS + 1}


def _run(hours: int, hour_s: int) -> RunRecord:
    """So many phases of such hours; a reply every 100 s, at another latency each time."""
    names = [f"hour {hour}" for hour in range(hours)]
    phases = (
        PhasePlan("ramp", PhaseKind.RAMP, S, 100),
        *(PhasePlan(name, PhaseKind.HOLD, hour_s * S, 100) for name in names),
        PhasePlan("drain", PhaseKind.DRAIN, 10 * S, 100),
    )
    rows = Rows()
    for second in range(1, hours * hour_s + 1):
        values = [MS + (second * 7_919 + k * 104_729) % 10**8 for k in range(50)]
        latency = IntervalLatency.of(Histogram.of(values, HIGHEST_NS)) if second % 100 == 0 else _NOTHING
        place = 1 + (second - 1) // hour_s
        rows.add(IntervalSample((second - 1) * S, second * S, place, 0, 50, 3_200, 0, latency))
    hold = exchanged([MS + 10 * US * k for k in range(1_200)])
    one = worker(0, ramp(100), *([hold] * hours), page(), peak=100)
    samples = made_up_samples(one, window_end_ns=HOLD_NS + hours * hour_s * S, intervals=rows.by_time())
    plan = changed(made_up_plan(target=REMOTE), phases=phases)
    assert START_NS < HOLD_NS
    return made_up_record(plan, samples)


@functools.cache
def _day() -> RunRecord:
    return _run(24, 3_600)


def test_a_day_has_no_more_rows_than_ten_minutes_and_a_phase_for_each_hour() -> None:
    record = _day()
    assert len(record.intervals) <= MOST_ROWS
    assert [phase.kind for phase in record.phases] == ["ramp", *["hold"] * 24, "drain"]
    assert {row.phase for row in record.intervals} == {f"hour {hour}" for hour in range(24)}
    assert sum(row.replied for row in record.intervals) == 50 * 24 * 3_600


@pytest.mark.parametrize("format_", _FORMATS)
def test_a_day_is_bounded_in_every_format(format_: str) -> None:
    text = _FORMATS[format_](_day())
    is_short = _MOST_LINES.get(format_) == 100
    assert len(text.encode()) <= (12_000 if is_short else 2_500_000)
    assert len(text.splitlines()) <= _MOST_LINES.get(format_, 40_000)


def test_a_day_is_written_about_as_fast_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "day.json"
    path.write_text(encode(_day()))
    began = time.process_time()
    record = load(str(path))
    read = time.process_time() - began
    assert encode(record) == path.read_text()
    began = time.process_time()
    for write in _FORMATS.values():
        write(record)
    assert time.process_time() - began <= 10 * read + 1
