"""How far a run is, on stderr: on a terminal a line that is redrawn a few times a second, else a line now and then."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO, cast

import click

from loadkit.cli.streams import live_stream
from loadkit.printable import printable
from loadkit.units import NS_PER_S, format_count, format_duration, plural

if TYPE_CHECKING:
    from loadkit.measure.series import IntervalSample
    from loadkit.run.blast import Observer, Progress

__all__ = ["Lines", "find_hindrance", "is_in_front", "live_view", "progress_line"]


@contextlib.contextmanager
def live_view(enabled: bool, interval_ns: int) -> Iterator[Observer | None]:
    """Yields what shows a run's progress; None if it is not wanted. Lines are printed so far apart."""
    if not enabled:
        yield None
        return
    if not sys.stderr.isatty():
        yield Lines(interval_ns)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    class WithCursor(Console):
        """Leaves the cursor where it can be seen: a process that ends at once cannot bring it back."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    console = WithCursor(file=cast("TextIO", live_stream()))
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield lambda progress: live.update(
            Text(progress_line(progress, console.width), overflow="ellipsis", no_wrap=True), refresh=True
        )


def find_hindrance() -> str | None:
    """Returns why there can be no panel on the whole terminal (live_screen.py), None if there can."""
    if not sys.stderr.isatty():
        return "stderr is not a terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return "the terminal (TERM) is dumb"
    if not is_in_front(sys.stderr.fileno()):
        return "loadkit is in the background of the terminal"
    return None


def is_in_front(fd: int) -> bool:
    """Whether this process is in the foreground of a terminal, or the terminal is not the one that controls it."""
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(fd) == os.getpgrp()
    return True


class Lines:
    """Prints a line at each multiple of the interval: rates and latencies are of the time since the line before."""

    def __init__(self, interval_ns: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._interval_ns = interval_ns
        self._clock = clock
        self._start_ns = self._said_ns = clock()
        self._replied = 0
        self._last: IntervalSample | None = None  # the last second that is in the sum
        self._whole: IntervalSample | None = None

    def __call__(self, progress: Progress) -> None:
        """Takes note of what a look shows, and prints a line if one is due."""
        row = progress.interval
        if row is not None and row is not self._last:
            self._last, self._whole = row, self._whole.plus(row) if self._whole else row
        now = self._clock()
        if (now - self._start_ns) // self._interval_ns == (self._said_ns - self._start_ns) // self._interval_ns:
            return
        rate = (progress.replied - self._replied) * NS_PER_S / (now - self._said_ns)
        shown = replace(progress, interval=self._whole, replies_per_s=rate)
        elapsed = f"{(now - self._start_ns) / NS_PER_S:.0f} s"
        click.echo(f"loadkit: {elapsed}  {progress_line(shown)}", err=True)
        self._said_ns, self._replied, self._whole = now, progress.replied, None


def progress_line(progress: Progress, width: int | None = None) -> str:
    """Returns phase, connections open / asked, replies/s, p50 / p99, events per wake-up, errors and time left.

    If that is wider than `width` columns, what is needed least is left out: the events, how many connections are asked
    for if all of them are open, then p50.
    """
    asked, is_open = f"/{format_count(progress.asked)}", progress.open == progress.asked
    rate, errors = f"{format_count(progress.replies_per_s)} replies/s", plural(progress.errors, "error")
    left = "" if progress.left_ns is None else f"{-(-progress.left_ns // NS_PER_S)} s left"
    p50, p99 = _latency(progress)
    line = ""
    times = f"{p50} {p99}".strip()
    few = "" if is_open else asked
    for of, *middle in ((asked, times, _batch(progress)), (asked, times), (few, times), (few, p99)):
        parts = (printable(progress.phase), f"{format_count(progress.open)}{of} open", rate, *middle, errors, left)
        line = "  ".join(filter(None, parts))
        if width is None or len(line) <= width:
            break
    return line


def _latency(progress: Progress) -> tuple[str, str]:
    """Returns p50 and p99 of the last second; dashes before there are replies."""
    row = progress.interval
    if not row or not row.replied:
        return "", "-"
    p50, p99 = (format_duration(ns) if ns is not None else "-" for ns in (row.latency.p50, row.latency.p99))
    return f"p50 {p50}", f"p99 {p99}"


def _batch(progress: Progress) -> str:
    """Says how many events a wake-up brought in the last second, if the engine counts them."""
    row = progress.interval
    if row is None or not row.wakeups or row.events is None:
        return ""
    return f"{row.events / row.wakeups:.1f} events per wake-up"
