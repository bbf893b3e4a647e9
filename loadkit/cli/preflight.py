"""The doctor's checks before a run, for the commands that start one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from loadkit.doctor.demand import Demand

__all__ = ["check_machine"]


def check_machine(demand: Demand, quiet: bool) -> None:
    """Says what limits the run, a line each. Raises PreflightError for what cannot work."""
    from loadkit.doctor.preflight import preflight

    for finding in preflight(demand):
        if not quiet:
            click.echo(f"loadkit: warning: {finding.line}", err=True)
