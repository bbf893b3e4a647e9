"""What a command says of its metrics, on stderr: where they are, and how long they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadkit.printable import printable
from loadkit.units import NS_PER_S, format_duration

if TYPE_CHECKING:
    from loadkit.library.metrics import RunMetrics
    from loadkit.run.signals import Interrupts

__all__ = ["linger", "say_where"]


def say_where(metrics: RunMetrics, quiet: bool) -> None:
    """Says where the metrics are; the port may be one that the system chose."""
    if metrics.url and not quiet:
        _say(f"metrics at {metrics.url}")


def linger(metrics: RunMetrics, interrupts: Interrupts, quiet: bool) -> None:
    """Waits as long as was asked for a last scrape. A signal ends that, and changes no exit status."""
    if metrics.linger_s and not quiet:
        _say(f"metrics stay for {format_duration(metrics.linger_s * NS_PER_S)}; Ctrl-C ends that")
    metrics.linger(interrupts)


def _say(text: str) -> None:
    click.echo(printable(f"loadkit: {text}"), err=True)
