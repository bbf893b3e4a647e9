"""Memory: of the machine or of the control group, and what the kernel lets TCP have of it."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.plan.memory import FIRST_PROCESS_BYTES, WORKER_BYTES, estimate_memory
from loadkit.units import format_size

__all__ = ["check_memory"]

# The calculation was up to an eighth above what runs took (3,000 and 10,000 connections in control groups, 2-core VM,
# Linux 6.18). With less than this share of it, a run is killed, or its ramp stops.
_SURE = 0.85
_TIGHT = 0.8  # of what is available: under load, buffers are added to what idle connections hold


def check_memory(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on memory and tcp_mem, as far as the machine says what it has."""
    if demand.host.free_memory_bytes is not None:
        yield _memory(demand, demand.host.free_memory_bytes)
    if demand.host.tcp_mem_pages is not None:
        yield _tcp_mem(demand, demand.host.tcp_mem_pages[2])


def _memory(demand: Demand, available: int) -> Finding:
    estimate = estimate_memory(
        demand.connections,
        kernel_ends=demand.ends,
        blast=not demand.serves_alone,
        serve=demand.embedded or demand.serves_alone,
        engine=demand.engine,
        workers=demand.workers,
    )
    total = estimate.total_bytes
    seen = f"{format_size(available)} available{_because(demand, available)}"
    needed = (
        f"about {format_size(total)} = kernel {format_size(estimate.kernel_bytes)} + connections "
        f"{format_size(estimate.user_bytes)} + {demand.workers:,} workers x {format_size(WORKER_BYTES)} + "
        f"{format_size(FIRST_PROCESS_BYTES)}"
    )
    if total <= available * _TIGHT:
        return Finding("memory", Level.OK, seen, needed)
    level = Level.FAIL if total * _SURE > available else Level.WARN
    if not demand.connections:
        fits = max(0, int((available * _TIGHT - FIRST_PROCESS_BYTES) / WORKER_BYTES))
        why = f"with what is available {fits:,} workers fit, before they have a connection"
        return Finding("memory", level, seen, needed, why, f"-w {fits}, or more memory" if fits else "more memory")
    # Fewer connections take fewer workers too.
    each = (total - FIRST_PROCESS_BYTES) / max(1, demand.connections)
    fits, keep = (max(0, int((part * available - FIRST_PROCESS_BYTES) / each)) for part in (1, _TIGHT))
    why = (
        f"with what is available {fits:,} idle connections fit, fewer with data in their buffers: each takes "
        f"{format_size(each)} with its part of the workers"
    )
    fix = f"-c {keep}, or more memory" if keep > 0 else "more memory"
    if _because(demand, available):
        wanted = round(total / _TIGHT) + (demand.host.cgroup.memory_used_bytes or 0)
        key = "MemoryHigh" if demand.host.cgroup.memory_file == "memory.high" else "MemoryMax"
        fix += f": docker run --memory={-(-wanted // 2**20)}m, or systemd {key}={-(-wanted // 2**20)}M"
    return Finding("memory", level, seen, needed, why, fix)


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
