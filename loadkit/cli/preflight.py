"""What is said before a run starts: what limits it, and which addresses of the target it passes over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from loadkit.printable import printable

if TYPE_CHECKING:
    from loadkit.doctor.finding import Finding

__all__ = ["say", "say_warnings"]


def say_warnings(findings: Iterable[Finding], quiet: bool) -> None:
    """Says what limits the run, a line each."""
    for finding in findings:
        say(f"warning: {finding.line}", quiet)


def say(text: str, quiet: bool) -> None:
    """Says it, unless nothing but errors is to be said."""
    if not quiet:
        click.echo(printable(f"loadkit: {text}"), err=True)
