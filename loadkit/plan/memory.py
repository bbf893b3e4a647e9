"""The memory that connections will take, calculated from what idle connections were measured to take, in bytes.

Measured on kernel 6.18, CPython 3.11, uvloop 0.23 (`make bench-scale`).
"""

from __future__ import annotations

from dataclasses import dataclass

from loadkit.profile.engines import EngineName

__all__ = [
    "KERNEL_BYTES",
    "LEAST_READ",
    "PARENT_DATA_BYTES",
    "PARENT_SPACE_BYTES",
    "START_BYTES",
    "UNIX_KERNEL_BYTES",
    "USER_BYTES",
    "WORKER_BYTES",
    "WORKER_DATA_BYTES",
    "WORKER_SPACE_BYTES",
    "MemoryEstimate",
    "estimate_memory",
    "kept_free",
]

# An end: TCP 2,368, inode 832, file and dentry 192 each, epitem, its place in the table of fds, slabs that are not
# full. Both ends took 8.3 to 10.0 KB, from 10,000 to a million connections.
KERNEL_BYTES = 4_600
# An end of a UNIX stream socket, of which both are here: 3,066 at 18,000 connections (kernel 6.18, 2026-11-26).
UNIX_KERNEL_BYTES = 3_200
# An end of a connection in a worker: (blast, serve).
USER_BYTES = {
    EngineName.NATIVE: (190, 50),
    EngineName.UVLOOP: (1_950, 1_460),
    EngineName.ASYNCIO: (2_250, 1_900),
}
# A worker of each end: its own pages, those of the board that it writes, its page tables and stack, and what the
# command reads of its board at the end. In control groups with 1, 2 and 8 workers of an end and 10 connections (kernel
# 6.18, 2026-11-26), one more took 4.9 to 5.3, 6.8 to 7.1 and 6.9 to 7.0 MB at the blast end, in the order below, and
# 4.4, 5.3 to 5.6 and 5.3 to 5.4 MB at the serve end.
WORKER_BYTES = {
    EngineName.NATIVE: (5_100_000, 4_400_000),
    EngineName.UVLOOP: (7_000_000, 5_600_000),
    EngineName.ASYNCIO: (7_000_000, 5_500_000),
}
# The process that forks the workers, whose interpreter, numpy and uvloop they share, and what the command itself grows
# by from the moment when it asks how much is free: with 23 MB in use by then, 31.8 to 34.1 MB in the same runs. Pages
# of files are not in it: the kernel drops them when it needs room.
START_BYTES = 34_000_000

# What one process has mapped, whether or not it is in memory, which `ulimit -v` limits, and its data among that, which
# `ulimit -d` limits. The process that starts the workers maps both boards, and reads them into as much memory again at
# the end. A run went with 168 MiB and twice the boards of address space, and with 130 MiB and the boards of data, give
# or take 3 MiB from 13 to 206 MiB of boards (journeys: 17 MiB more data). A worker maps its own board (kernel 6.18,
# CPython 3.11, numpy 2.4, uvloop 0.23, 2026-11-26).
# Histograms without a value are not read: a closed loop of 0.3 s without a warm-up needed 121 MiB and 0.44 of the
# boards of data, and 179 MiB and 1.47 times the boards of address space, from 23 to 307 MiB of boards.
LEAST_READ = 0.44
PARENT_SPACE_BYTES, PARENT_DATA_BYTES = 168 * 2**20, 130 * 2**20
WORKER_SPACE_BYTES, WORKER_DATA_BYTES = 125 * 2**20, 65 * 2**20
# A twentieth of the memory is left to the machine, or to the control group, within these limits. If there is little
# memory, a quarter is enough: a small container could open nothing otherwise.
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN, _OF_LITTLE = 20, 64 << 20, 1 << 30, 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What idle connections take, in bytes; data in their buffers is added to that."""

    kernel_bytes: int
    user_bytes: int
    workers_bytes: int
    pool_bytes: int = 0  # of messages, which all workers share

    @property
    def total_bytes(self) -> int:
        """All of it, with what starts the workers."""
        return self.kernel_bytes + self.user_bytes + self.workers_bytes + self.pool_bytes + START_BYTES


def estimate_memory(
    connections: int,
    *,
    kernel_ends: int,
    blast_workers: int,
    serve_workers: int,
    engine: EngineName,
    pool_bytes: int = 0,
    is_unix: bool = False,
) -> MemoryEstimate:
    """Returns the memory that `connections` will take on this machine.

    `kernel_ends` is how many ends of a connection this machine's kernel holds: 2 if both ends are here. The workers are
    the processes of each end, 0 where that end is not loadkit's own. The fake engine counts as native.
    """
    known = engine if engine in USER_BYTES else EngineName.NATIVE
    (blast_user, serve_user), (blast_worker, serve_worker) = USER_BYTES[known], WORKER_BYTES[known]
    return MemoryEstimate(
        kernel_bytes=connections * kernel_ends * (UNIX_KERNEL_BYTES if is_unix else KERNEL_BYTES),
        user_bytes=connections * (blast_user * (blast_workers > 0) + serve_user * (serve_workers > 0)),
        workers_bytes=blast_workers * blast_worker + serve_workers * serve_worker,
        pool_bytes=pool_bytes,
    )


def kept_free(total: int) -> int:
    """Returns how many bytes of a machine's memory, or of a control group's limit, the ramp leaves free."""
    return min(max(total // _MARGIN, min(_LEAST_MARGIN, total // _OF_LITTLE)), _MOST_MARGIN)
