"""Memory of idle connections, estimated from what was measured (kernel 6.18, uvloop 0.23, CPython 3.11)."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.units import format_size

__all__ = ["KERNEL_BYTES", "USER_BYTES", "WORKER_BYTES", "check_memory"]

KERNEL_BYTES = 4_100  # an end: TCP 2,368 + inode 832 + file, dentry 192 each + epitem; 8.2 KB for both
USER_BYTES = 1_350  # an end: a transport and its Protocol
WORKER_BYTES = 45_000_000  # a process: interpreter, numpy, uvloop and its pages of the board

_TIGHT = 0.8  # of what is available: buffers under load come on top of what idle connections hold


def check_memory(demand: Demand) -> Iterator[Finding]:
    """Yields the finding on memory; none where the machine does not say what it has."""
    available = demand.host.memory_available_bytes
    if available is None:
        return
    here = 2 if demand.local else 1
    ours = 2 if demand.embedded else 1
    workers = demand.blast_workers + demand.serve_workers
    kernel, user = demand.connections * KERNEL_BYTES * here, demand.connections * USER_BYTES * ours
    total = kernel + user + workers * WORKER_BYTES
    seen = f"{format_size(available)} available"
    needed = (
        f"about {format_size(total)} = kernel {format_size(kernel)} + connections {format_size(user)} + "
        f"{workers:,} processes x {format_size(WORKER_BYTES)}"
    )
    if total <= available * _TIGHT:
        yield Finding("memory", Level.OK, seen, needed)
        return
    fits = demand.connections * available // total
    level = Level.FAIL if total > available else Level.WARN
    why = (
        f"about {format_size(total)} are needed; with what is available about {fits:,} idle connections fit, "
        f"fewer with data in their buffers"
    )
    yield Finding("memory", level, seen, needed, why, f"-c {round(fits * _TIGHT)}, or a machine with more memory")
