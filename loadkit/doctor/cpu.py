"""Cores: how many there are and how many we may use."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level

__all__ = ["check_cores"]


def check_cores(demand: Demand) -> Iterator[Finding]:
    """Yields the finding on cores and affinity."""
    cores, cpus = len(demand.host.cores), demand.host.cpus
    seen = f"{cores} of {cpus} core(s) may be used"
    needed = "2 or more, a core for each end" if demand.embedded else "1 or more"
    everything = f"0-{cpus - 1}"
    fix = f"taskset -c {everything} loadkit blast ..., or docker run --cpuset-cpus={everything}"
    if demand.embedded and cores < 2:
        why = "both ends share a core, so each one's latency holds the other's work"
        if cpus < 2:
            fix = "measure on a machine with more cores, or serve on another: loadkit blast HOST:PORT"
        yield Finding("cores", Level.WARN, seen, needed, why, fix)
    elif cores < cpus:
        yield Finding("cores", Level.WARN, seen, needed, "an affinity mask or cpuset keeps us off the other cores", fix)
    else:
        yield Finding("cores", Level.OK, seen, needed)
