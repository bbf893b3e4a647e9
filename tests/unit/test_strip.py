"""The p99 of a run as a line of marks."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from loadkit.measure.series import IntervalLatency
from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_text
from loadkit.report.record import RunRecord
from loadkit.report.strip import MOST_MARKS, p99_strip
from tests.golden.made_up import MS
from tests.unit.odd_runs import row_of, with_rows


def run_of(*p99s_ms: float | None) -> RunRecord:
    """A run with these p99s, a second each."""
    rows = []
    for second, p99_ms in enumerate(p99s_ms):
        p99 = None if p99_ms is None else round(p99_ms * MS)
        latency = IntervalLatency(None, p99, p99)
        rows.append(replace(row_of(2 + second, [MS]), latency=latency, replied=1 if p99 is None else 1_000))
    return with_rows([MS], *rows)


@pytest.mark.parametrize(
    ("p99s_ms", "marks"),
    [
        ((1, 2, 4, 8, 16, 32, 64, 128), "▁▂▃▄▅▆▇█"),  # each is twice the one before: a step of a logarithmic scale
        ((1, 1, 1, 100, 1), "▁▁▁█▁"),
        ((1.0, 1.02, 1.05, 1.0), "▁▁▁▁"),  # noise is low
        ((1, None, 2), "▁·█"),
        ((3, 3), "▁▁"),
    ],
)
def test_marks_are_logarithmic(p99s_ms: tuple[float | None, ...], marks: str) -> None:
    strip = p99_strip(run_of(*p99s_ms))
    assert strip
    assert strip.marks == marks


@pytest.mark.parametrize("p99s_ms", [(), (1,), (None, None, None), (None, 4, None)])
def test_one_p99_is_no_strip(p99s_ms: tuple[float | None, ...]) -> None:
    assert p99_strip(run_of(*p99s_ms)) is None


def test_it_says_what_the_marks_stand_for() -> None:
    strip = p99_strip(run_of(1, None, 64))
    assert strip
    assert (strip.name, strip.text) == ("p99 over time", "1 ms to 64 ms, a mark for each 1 s; · too few replies")


@pytest.mark.parametrize("seconds", [60, 61, 119, 600])
def test_a_long_run_has_the_highest_p99_of_each_stretch(seconds: int) -> None:
    strip = p99_strip(run_of(*([1.0] * (seconds - 1)), 50.0))
    assert strip
    assert strip.marks == "▁" * (MOST_MARKS - 1) + "█"


@pytest.mark.parametrize(
    ("a_second", "span_s", "each_s"),
    [(2_000, 9, 1), (999, 8, 2), (500, 9, 3), (110, 30, 10)],
)
def test_where_a_second_has_too_few_replies_a_mark_is_of_several(a_second: int, span_s: int, each_s: int) -> None:
    """All take 1 ms, but of the last mark's: these take 64 ms."""
    slow = span_s - each_s
    rows = [row_of(2 + second, [MS if second < slow else 64 * MS] * a_second) for second in range(span_s)]
    strip = p99_strip(with_rows([MS], *rows))
    assert strip
    assert strip.marks == "▁" * (span_s // each_s - 1) + "█"
    assert strip.text.endswith(f"a mark for each {each_s} s")


def test_a_damaged_second_is_a_gap() -> None:
    rows = [row_of(2 + second, [MS] * 600) for second in range(8)]
    record = with_rows([MS], *rows)
    odd = msgspec.structs.replace(record.intervals[2].latency, hdr="HISTFAAA")
    damaged = msgspec.structs.replace(record.intervals[2], latency=odd)
    strip = p99_strip(
        msgspec.structs.replace(record, intervals=(*record.intervals[:2], damaged, *record.intervals[3:]))
    )
    assert strip
    assert strip.marks == "▁·▁▁"


def test_markdown_has_it_and_plain_text_has_not() -> None:
    record = run_of(1, 2, 64)
    assert "p99 over time: `▁▂█` 1 ms to 64 ms, a mark for each 1 s" in as_markdown(record).splitlines()
    assert "▂" not in as_text(record)
