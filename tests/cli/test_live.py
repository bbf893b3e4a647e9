"""The live view on a terminal."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadkit.cli.live import Lines, progress_line
from loadkit.measure.histogram import Histogram
from loadkit.measure.series import IntervalLatency, IntervalSample
from loadkit.run.blast import Progress
from loadkit.units import NS_PER_S

from .conftest import Loadkit


@pytest.mark.slow
def test_the_cursor_stays_where_it_can_be_seen_so_that_no_end_of_a_run_leaves_it_hidden(tmp_path: Path) -> None:
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "loadkit", "blast", "-c", "2", "-w", "1", "-d", "300ms", "--warmup", "0s"]
    shown: list[bytes] = []

    def read() -> None:
        while not b"".join(shown).endswith(b"the end"):
            shown.append(os.read(leader, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=follower, cwd=tmp_path, env=environment, timeout=60, check=False
    )
    os.write(follower, b"the end")
    reader.join()
    for fd in (leader, follower):
        os.close(fd)
    terminal = b"".join(shown)
    assert b"replies/s" in terminal
    assert b"\x1b[?25l" not in terminal  # DECTCEM: hide it


def progress(replied: int, row: IntervalSample | None) -> Progress:
    """What a look shows."""
    return Progress("hold", 10, 10, replied, 0, 5 * NS_PER_S, row, replies_per_s=1.0)


def row(replied: int, latency_ns: int) -> IntervalSample:
    """A second of the series, in which each reply took as long."""
    latency = IntervalLatency.of(Histogram.of([latency_ns] * replied, 60 * NS_PER_S))
    return IntervalSample(0, NS_PER_S, 1, 0, replied, 0, 0, latency)


def test_a_line_has_the_rate_and_the_latency_of_the_time_since_the_line_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0

    def clock() -> int:
        return now

    lines = Lines(2 * NS_PER_S, clock)
    slow, fast, last = row(1_000, 4_000_000), row(3_000, 1_000_000), row(100, 7_000_000)
    # (time in s, replies so far, last full second): looks come five times a second
    for now_s, replied, second in [(0.2, 0, None), (1.0, 1_000, slow), (1.2, 1_500, slow), (2.1, 4_200, fast)]:
        now = round(now_s * NS_PER_S)
        lines(progress(replied, second))
    # 4,200 in 2.1 s; 1,000 of 4,000 took 4 ms, so p50 is 1 ms and p99 4 ms
    line = "loadkit: 2 s  hold  10/10 open  2,000 replies/s  p50 1.00 ms p99 4.00 ms  0 errors  5 s left\n"
    assert capsys.readouterr() == ("", line)
    for now_s, replied, second in [(2.3, 4_200, fast), (3.9, 4_300, last), (4.1, 4_400, last), (4.3, 4_400, last)]:
        now = round(now_s * NS_PER_S)
        lines(progress(replied, second))
    assert "loadkit: 4 s  hold  10/10 open  100 replies/s  p50 7 ms p99 -" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (None, "hold  10/10 open  1 replies/s  p50 4 ms p99 4 ms  2.0 events per wake-up  0 errors  5 s left"),
        (90, "hold  10/10 open  1 replies/s  p50 4 ms p99 4 ms  0 errors  5 s left"),
        (66, "hold  10 open  1 replies/s  p50 4 ms p99 4 ms  0 errors  5 s left"),
        (60, "hold  10 open  1 replies/s  p99 4 ms  0 errors  5 s left"),
        (20, "hold  10 open  1 replies/s  p99 4 ms  0 errors  5 s left"),
    ],
)
def test_a_line_that_is_too_wide_leaves_out_what_is_needed_least(width: int | None, line: str) -> None:
    second = dataclasses.replace(row(1_000, 4_000_000), wakeups=500, events=1_000)
    assert progress_line(progress(1, second), width) == line


def test_a_line_says_no_time_where_none_is_known() -> None:
    known = progress(1, row(1_000, 4_000_000))
    assert progress_line(dataclasses.replace(known, left_ns=None)).endswith("  0 errors")


@pytest.mark.slow
def test_without_a_terminal_there_is_a_line_as_often_as_asked_and_none_where_nothing_is_to_be_said(
    loadkit: Loadkit,
) -> None:
    run = ("blast", "-c", "2", "-w", "1", "-R", "100", "-d", "1", "--warmup", "0", "--interval", "200ms")
    said = loadkit(*run).stderr.splitlines()
    assert len(said) >= 2
    assert all(re.match(r"loadkit: \d+ s  \S+  [0-9]+/2 open  ", line) for line in said)
    assert loadkit(*run, "--no-progress").stderr == ""
    assert [line for line in loadkit(*run, "-q").stderr.splitlines() if " open  " in line] == []
