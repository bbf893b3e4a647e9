"""File descriptors: what a process may open, what a process may be allowed, and what the machine has."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.plan.build import FD_RESERVE, IMBALANCE, blast_cores

__all__ = ["check_limits"]


def check_limits(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on nofile, fs.nr_open and fs.file-max; what the machine hides is left out."""
    yield _nofile(demand)
    if demand.host.nr_open is not None:
        yield _nr_open(demand, demand.host.nr_open)
    if demand.host.file_max is not None:
        yield _file_max(demand, demand.host.file_max)


def _one_a_core(demand: Demand) -> int:
    """Returns the fds a process needs when each core has one process an end and no more."""
    blast, serve = blast_cores(demand.host, demand.embedded)
    worst = -(-demand.connections // max(1, len(blast)))
    if demand.embedded:
        worst = max(worst, -(-round(demand.connections * IMBALANCE) // max(1, len(serve))))
    return worst + FD_RESERVE


def _nofile(demand: Demand) -> Finding:
    soft, hard = demand.host.nofile_soft, demand.host.nofile_hard
    wanted = _one_a_core(demand)
    seen = f"soft {_limit(soft)}, hard {_limit(hard)} a process (loadkit raises soft to hard)"
    fix = (
        f"ulimit -Hn {wanted} (as root), docker run --ulimit nofile={wanted}:{wanted}, or systemd LimitNOFILE={wanted}"
    )
    budget = hard - FD_RESERVE
    if budget < 1:
        why = f"a worker needs {FD_RESERVE} for itself, which leaves {max(0, budget)} of {hard:,} for connections"
        return Finding("nofile", Level.FAIL, seen, f"more than {FD_RESERVE}", why, fix)
    if wanted <= hard:
        return Finding("nofile", Level.OK, seen, f"{wanted:,} with a process a core")
    ends = f"{demand.blast_workers:,} processes" + (
        f" and {demand.serve_workers:,} to serve" if demand.embedded else ""
    )
    why = (
        f"{demand.connections:,} connections / ({hard:,} - {FD_RESERVE} of a worker's own) = "
        f"{-(-demand.connections // budget):,}: it takes {ends}, more than the cores, and they take turns"
    )
    return Finding("nofile", Level.WARN, seen, f"{wanted:,} for a process a core", why, fix)


def _nr_open(demand: Demand, nr_open: int) -> Finding:
    wanted = _one_a_core(demand)
    seen = f"fs.nr_open {nr_open:,}"
    if nr_open >= wanted or demand.host.nofile_hard >= wanted:
        return Finding("nr_open", Level.OK, seen, f"{wanted:,}")
    why = "no limit of open files can be raised above it"
    return Finding("nr_open", Level.WARN, seen, f"{wanted:,}", why, f"sysctl -w fs.nr_open={wanted}")


def _file_max(demand: Demand, file_max: int) -> Finding:
    used = demand.host.files_used or 0
    free = file_max - used
    seen = f"fs.file-max {file_max:,}, {used:,} in use"
    sides = "2 fds a connection, both ends are here" if demand.local else "1 fd a connection"
    needed = f"{demand.fds:,} ({sides})"
    if demand.fds <= free:
        return Finding("file-max", Level.OK, seen, needed)
    why = f"the whole machine has {max(0, free):,} files left and {demand.fds:,} are needed"
    return Finding("file-max", Level.FAIL, seen, needed, why, f"sysctl -w fs.file-max={used + 2 * demand.fds}")


def _limit(value: int) -> str:
    return "unlimited" if value >= 2**62 else f"{value:,}"
