"""What limits a run, said before it starts, for the commands that start one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from loadkit.printable import printable

if TYPE_CHECKING:
    from loadkit.doctor.finding import Finding

__all__ = ["say_warnings"]


def say_warnings(findings: Iterable[Finding], quiet: bool) -> None:
    """Says what limits the run, a line each."""
    for finding in findings:
        if not quiet:
            click.echo(printable(f"loadkit: warning: {finding.line}"), err=True)
