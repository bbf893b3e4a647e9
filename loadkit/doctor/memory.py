"""Memory: of the machine or of the control group, and what the kernel lets TCP have of it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.errors import PreflightError
from loadkit.host import Host
from loadkit.plan.capacity import IMBALANCE, workers_for
from loadkit.plan.memory import START_BYTES, MemoryEstimate, estimate_memory, kept_free
from loadkit.units import format_size

__all__ = ["check_memory"]

# With less than this share of it, a run is killed, or its ramp stops. In control groups of version 1 (2-core VM, Linux
# 6.18), 3,000 connections took 17 % and 10,000 took 27 % less than calculated, for a group is charged 5.6 of the 9.2 KB
# of a connection there; but the ramp keeps up to a quarter of the limit free (kept_free).
_SURE = 0.85
_TIGHT = 0.8  # of what is available: under load, buffers are added to what idle connections hold


def check_memory(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on memory and tcp_mem, as far as the machine says what it has."""
    if demand.host.free_memory_bytes is not None:
        yield _memory(demand, demand.host.free_memory_bytes)
    if demand.host.tcp_mem_pages is not None and not demand.is_unix:
        yield _tcp_mem(demand, demand.host.tcp_mem_pages[2])


def _memory(demand: Demand, available: int) -> Finding:
    estimate = _estimate(demand, demand.connections)
    total = estimate.total_bytes
    seen = f"{format_size(available)} available{_because(demand, available)}"
    pool = f" + pool of messages {format_size(demand.pool_bytes)}" if demand.pool_bytes else ""
    needed = (
        f"about {format_size(total)} = kernel {format_size(estimate.kernel_bytes)} + connections "
        f"{format_size(estimate.user_bytes)} + {demand.workers:,} workers {format_size(estimate.workers_bytes)} + what "
        f"starts them {format_size(START_BYTES)}{pool}"
    )
    limit = _limit(demand, available)
    if total <= _usable(demand, available, limit):
        return Finding("memory", Level.OK, seen, needed)
    level = Level.FAIL if total * _SURE > available else Level.WARN
    if not demand.connections:
        each_worker = estimate.workers_bytes / max(1, demand.workers)
        fits = max(0, int((_usable(demand, available, limit) - START_BYTES - demand.pool_bytes) / each_worker))
        why = f"with what is available {fits:,} workers fit, before they have a connection"
        return Finding("memory", level, seen, needed, why, f"-w {fits}, or more memory" if fits else "more memory")
    fits, keep = (_most(demand, most) for most in (available, _usable(demand, available, limit)))
    each = (estimate.kernel_bytes + estimate.user_bytes) // demand.connections
    why = (
        f"with what is available {fits:,} idle connections fit, fewer with data in their buffers: each takes "
        f"{format_size(each)} beside the processes"
    )
    fix = f"-c {keep}, or more memory" if keep > 0 else "more memory"
    if _because(demand, available):
        wanted = _wanted(demand, total, demand.host.cgroup.memory_used_bytes or 0)
        key = "MemoryHigh" if demand.host.cgroup.memory_file == "memory.high" else "MemoryMax"
        fix += f": docker run --memory={wanted}m, or systemd {key}={wanted}M"
    return Finding("memory", level, seen, needed, why, fix)


def _limit(demand: Demand, available: int) -> int:
    """Returns the memory that the available is a part of: the machine's, or the control group's limit."""
    is_machine = available == demand.host.memory_available_bytes
    return (demand.host.memory_bytes if is_machine else demand.host.cgroup.memory_max_bytes) or available


def _usable(demand: Demand, available: int, limit: int) -> int:
    """Returns what a run may take of the available memory: blast's ramp stops where less than kept_free is left."""
    kept = 0 if demand.serves_alone else kept_free(limit)
    return int(min(available * _TIGHT, available - kept))


def _wanted(demand: Demand, total: int, used: int) -> int:
    """Returns the least limit, in MiB, with which that much is usable."""

    def usable(mebibytes: int) -> int:
        return _usable(demand, (mebibytes << 20) - used, mebibytes << 20)

    return bisect.bisect_left(range(1 << 40), total, key=usable)


def _estimate(demand: Demand, connections: int) -> MemoryEstimate:
    """Returns what so many of its connections take, with the workers that they need."""
    blast = _workers(demand, demand.blast_workers, connections, 1.0)
    serve = _workers(demand, demand.serve_workers, connections, IMBALANCE)
    return estimate_memory(
        connections,
        kernel_ends=demand.ends,
        blast_workers=blast,
        serve_workers=serve,
        engine=demand.engine,
        pool_bytes=demand.pool_bytes,
        is_unix=demand.is_unix,
    )


def _workers(demand: Demand, workers: int, connections: int, imbalance: float) -> int:
    """Returns how many of an end's `workers` are left with so few connections.

    Where files decide how many there are, fewer connections have fewer of them. Those of the cores, or of -w, stay.
    """
    if workers > _needed(demand.connections, imbalance, demand.host):
        return workers
    return min(workers, max(len(demand.host.worker_cores), _needed(connections, imbalance, demand.host)))


def _needed(connections: int, imbalance: float, host: Host) -> int:
    """Returns how many workers so many connections need for their files; 0 where a process can hold none."""
    try:
        return workers_for(round(connections * imbalance), host)
    except PreflightError:
        return 0


def _most(demand: Demand, available: int) -> int:
    """Returns the most connections, up to those that were asked for, that take no more than what is available."""
    totals = range(demand.connections + 1)
    return max(0, bisect.bisect_right(totals, available, key=lambda each: _estimate(demand, each).total_bytes) - 1)


def _because(demand: Demand, available: int) -> str:
    if available == demand.host.memory_available_bytes:
        return ""
    group = demand.host.cgroup
    limit, used = format_size(group.memory_max_bytes or 0), format_size(group.memory_used_bytes or 0)
    return f" (the control group's {group.memory_file} {limit} less {used} in use)"


def _tcp_mem(demand: Demand, high: int) -> Finding:
    # An idle socket holds no page; one with a message in its queue holds one: sk_forward_alloc goes by pages.
    used, wanted = demand.host.tcp_used_pages or 0, demand.connections * demand.ends
    seen = f"net.ipv4.tcp_mem {high:,} pages at most, {used:,} in use"
    needed = f"{wanted:,} when all are answered at once, one page per end"
    if wanted <= high - used:
        return Finding("tcp_mem", Level.OK, seen, needed)
    why = (
        f"{high:,} - {used:,} = {max(0, high - used):,} pages are left; past that the kernel drops segments, and a "
        "burst waits for retransmissions"
    )
    # The kernel's own proportions are 3 : 4 : 6 (net/ipv4/tcp.c, tcp_init_mem).
    top = used + wanted
    sysctl = f"net.ipv4.tcp_mem={top // 2} {top * 2 // 3} {top}"
    return Finding("tcp_mem", Level.WARN, seen, needed, why, sysctl_fix(sysctl), (sysctl,))
