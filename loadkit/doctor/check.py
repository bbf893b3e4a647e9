"""Examines a machine for what is asked of it. Pure: facts go in, findings come out; cli/ prints them."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.doctor.capabilities import check_capabilities
from loadkit.doctor.cpu import check_cpu
from loadkit.doctor.demand import Demand
from loadkit.doctor.engines import check_engines
from loadkit.doctor.finding import Finding, failing, warned
from loadkit.doctor.limits import check_limits
from loadkit.doctor.memory import check_memory
from loadkit.doctor.net import check_net
from loadkit.doctor.nic import Nic
from loadkit.doctor.nic_check import check_nic
from loadkit.doctor.ports import check_ports
from loadkit.doctor.processes import check_processes
from loadkit.doctor.seccomp import check_seccomp
from loadkit.doctor.ulimits import check_ulimits

__all__ = ["examine", "summary"]


def examine(demand: Demand, nic: Nic | None = None) -> tuple[Finding, ...]:
    """Returns the findings, in the order in which a run meets what they are about.

    `nic` is the card that the connections go through, where they leave this machine.
    """
    checks = [*check_limits(demand), *check_processes(demand), *check_net(demand), *check_ports(demand)]
    checks += [*check_memory(demand), *check_ulimits(demand), *check_engines(demand), *check_cpu(demand)]
    checks += check_seccomp(demand)
    if nic is not None:
        checks += check_nic(demand, nic)
    capabilities = check_capabilities(demand.host, checks)
    return (*checks, capabilities) if capabilities else tuple(checks)


def summary(demand: Demand, findings: Sequence[Finding]) -> str:
    """Returns the conclusion in one line: what can run here and in how many processes, or what stands in the way."""
    asked = f"c={demand.connections:,}"
    if failed := failing(findings):
        codes = ", ".join(finding.code for finding in failed)
        return f"cannot: {asked} does not fit this machine: {codes}. {failed[0].why}"
    ends = []
    if demand.blast_workers:
        ends.append(f"{_processes(demand.blast_workers)} to blast")
    if demand.serve_workers:
        ends.append(f"{_processes(demand.serve_workers)} to serve")
    where = (
        f" (-w {demand.serve_workers})"
        if demand.serve_workers > len(demand.host.worker_cores) > 0 == demand.blast_workers
        else ""
    )
    count = len(warned(findings))
    warnings = f", {count} warning{'s' * (count > 1)}" if count else ""
    return f"{asked} can run here: {', '.join(ends)}{where}{warnings}"


def _processes(count: int) -> str:
    return f"{count:,} process{'es' * (count != 1)}"
