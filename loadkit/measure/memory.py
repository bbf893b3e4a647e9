"""How much memory there is, and how much of it the kernel and a process hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from loadkit.cgroup import read_cgroup
from loadkit.procfs import text_of

__all__ = ["MemorySamples", "ProcessMemory", "Room", "kernel_bytes", "process_memory", "read_room"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_OF_THE_KERNEL = ("Slab", "PageTables", "KernelStack")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that may still be used, and the limit: of the machine, or of the control group if that has less left."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class MemorySamples:
    """What `connections` open ones took, in bytes, beyond what was there before.

    `kernel_bytes` is for both ends if both are here. `serve_bytes` is None if the target is elsewhere.
    `processes_bytes` is what the workers, the process that they were forked from, and the boards took before the first
    connection.
    """

    connections: int
    kernel_bytes: int
    blast_bytes: int
    serve_bytes: int | None
    processes_bytes: int


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """A process's proportional share of the pages that it has (PSS), and the anonymous part of that."""

    pss_bytes: int
    anonymous_bytes: int


def read_room(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Room | None:
    """Returns the memory that is left; None if the machine does not say.

    MemAvailable is of no use here: it counts the reclaimable slab, which holds the inodes and dentries of open sockets.
    """
    rows = _rows(proc / "meminfo")
    if "MemTotal" not in rows or "MemFree" not in rows:
        return None
    cached = rows.get("Active(file)", 0) + rows.get("Inactive(file)", 0)
    room = Room(rows["MemFree"] + cached, rows["MemTotal"])
    group = read_cgroup(proc, sys)
    if group.memory_max_bytes is None:
        return room
    left = Room(max(0, group.memory_max_bytes - (group.memory_used_bytes or 0)), group.memory_max_bytes)
    return min(room, left, key=lambda one: one.free_bytes)


def kernel_bytes(proc: Path = Path("/proc")) -> int | None:
    """Returns what the kernel holds for sockets and processes: slab, page tables, stacks and TCP's buffers."""
    rows = _rows(proc / "meminfo")
    if not rows.keys() >= set(_OF_THE_KERNEL):
        return None
    return sum(rows[name] for name in _OF_THE_KERNEL) + _tcp_bytes(proc)


def process_memory(pid: int, proc: Path = Path("/proc")) -> ProcessMemory | None:
    """Returns a process's memory; None if it has ended, or if this user may not read it.

    Reading it walks the page tables: 1 to 3 ms per worker.
    """
    rows = _rows(proc / str(pid) / "smaps_rollup")
    if "Pss" not in rows:
        return None
    return ProcessMemory(rows["Pss"], rows.get("Pss_Anon", rows["Pss"]))


def _tcp_bytes(proc: Path) -> int:
    """Returns the bytes in the buffers of all TCP sockets (`mem` of /proc/net/sockstat, in pages)."""
    for line in text_of(proc / "net/sockstat").splitlines():
        name, *pairs = line.split()
        if name == "TCP:":
            return int(dict(zip(pairs[::2], pairs[1::2], strict=False)).get("mem", 0)) * _PAGE
    return 0


def _rows(path: Path) -> dict[str, int]:
    """Reads `Name:  123 kB` lines, into bytes."""
    rows = {}
    for line in text_of(path).splitlines():
        name, _, value = line.partition(":")
        amount, _, unit = value.strip().partition(" ")
        if amount.isdigit() and unit == "kB":
            rows[name] = int(amount) * 1024
    return rows
