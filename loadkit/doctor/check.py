"""Examines a host for a number of connections. Pure: a Host goes in, findings come out; cli/ prints them."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.doctor.cpu import check_cores
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.limits import check_limits
from loadkit.doctor.memory import check_memory
from loadkit.doctor.net import check_net
from loadkit.host import Host
from loadkit.plan.model import Target

__all__ = ["Finding", "Level", "as_text", "can_work", "examine"]

_WORST_FIRST = tuple(Level)


def examine(host: Host, connections: int, target: Target | None) -> tuple[Finding, ...]:
    """Returns the findings for `connections` against `target`, or against an embedded server when it is None.

    The first one sums up the others; the rest are in the order in which a run meets them.
    """
    demand = Demand(host, connections, target)
    checks = (*check_limits(demand), *check_net(demand), *check_memory(demand), *check_cores(demand))
    return (_sum_up(demand, checks), *checks)


def can_work(findings: Sequence[Finding]) -> bool:
    """Whether nothing stands in the way; warnings do not."""
    return all(finding.level is not Level.FAIL for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """Returns the conclusion in a line of its own, then the findings, the failing ones first."""
    conclusion, *rest = findings
    lines = [conclusion.seen]
    width = max(len(finding.code) for finding in rest)
    apart = True
    for finding in sorted(rest, key=lambda finding: _WORST_FIRST.index(finding.level)):
        if apart or finding.why:
            lines.append("")
        apart = bool(finding.why)
        lines += _lines(finding, width)
    return "\n".join(lines)


def _lines(finding: Finding, width: int) -> list[str]:
    lines = [f"{finding.level.value:<4}  {finding.code:<{width}}  {finding.seen}; needed: {finding.needed}"]
    indent = " " * (width + 8)
    if finding.why:
        lines.append(f"{indent}{finding.why}")
    if finding.fix:
        lines.append(f"{indent}fix: {finding.fix}")
    return lines


def _sum_up(demand: Demand, checks: Sequence[Finding]) -> Finding:
    asked = f"c={demand.connections:,}"
    failing = [finding for finding in checks if finding.level is Level.FAIL]
    if failing:
        codes = ", ".join(finding.code for finding in failing)
        seen = f"cannot: {asked} does not fit this machine: {codes}. {failing[0].why}"
        return Finding("conclusion", Level.FAIL, seen, asked)
    serve = f", {demand.serve_workers:,} to serve" if demand.embedded else ""
    warned = sum(finding.level is Level.WARN for finding in checks)
    warnings = f", {warned} warning{'s' * (warned > 1)}" if warned else ""
    seen = f"{asked} can run here: {demand.blast_workers:,} process(es) to blast{serve}{warnings}"
    return Finding("conclusion", Level.OK, seen, asked)
