"""The live view on a terminal: one panel on stderr, redrawn a few times a second."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO, cast

from loadkit.cli.streams import live_stream
from loadkit.printable import printable
from loadkit.units import NS_PER_S, format_count, format_duration

if TYPE_CHECKING:
    from loadkit.run.blast import Observer, Progress

__all__ = ["live_view", "progress_line"]


@contextlib.contextmanager
def live_view(enabled: bool) -> Iterator[Observer | None]:
    """Yields what draws a run's progress; None where nobody would see it."""
    if not enabled or not sys.stderr.isatty():
        yield None
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
            Text(progress_line(progress), overflow="ellipsis", no_wrap=True), refresh=True
        )


def progress_line(progress: Progress) -> str:
    """Returns phase, connections open / asked, replies/s, latency p50 / p99, events a wake-up, errors and time left."""
    latency = "-"
    if progress.interval and progress.interval.replied:
        found = progress.interval.latency
        p50, p99 = (format_duration(ns) if ns is not None else "-" for ns in (found.p50_ns, found.p99_ns))
        latency = f"p50 {p50} p99 {p99}"
    left = -(-progress.left_ns // NS_PER_S)
    return (
        f"{printable(progress.phase)}  {format_count(progress.open)}/{format_count(progress.asked)} open  "
        f"{format_count(progress.replies_per_s)} replies/s  {latency}  {_batch(progress)}"
        f"{format_count(progress.errors)} errors  "
        f"{left} s left"
    )


def _batch(progress: Progress) -> str:
    """Says how many events a wake-up brought in the last second, where that is counted."""
    row = progress.interval
    if row is None or not row.wakeups or row.events is None:
        return ""
    return f"{row.events / row.wakeups:.1f} events a wake-up  "
