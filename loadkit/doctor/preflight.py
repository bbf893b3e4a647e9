"""The doctor's checks before a run: what cannot work is refused in the doctor's words, before the first socket."""

from __future__ import annotations

from loadkit.doctor.check import examine
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, failing, warned
from loadkit.doctor.locate import locate
from loadkit.errors import PreflightError

__all__ = ["in_our_words", "preflight"]


def in_our_words(error: PreflightError, demand: Demand) -> PreflightError:
    """Returns the doctor's refusal of what the plan has refused, where it refuses that too."""
    failed = failing(examine(locate(demand)))
    return PreflightError(failed[0].line) if failed else error


def preflight(demand: Demand) -> tuple[Finding, ...]:
    """Returns what to warn of: what limits this very run. Raises PreflightError for the first thing it cannot do."""
    findings = tuple(finding for finding in examine(locate(demand)) if finding.in_runs)
    for finding in failing(findings):
        raise PreflightError(finding.line)
    return warned(findings)
