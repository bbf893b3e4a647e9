"""The limits of the control groups (version 2) that this process is in: of its own and of each one above it.

A container mostly sees its own group as the root of /sys/fs/cgroup; a service of systemd sees the path to it. On a
machine that has both versions, version 2 is mounted at `unified`, and has only the controllers that version 1 has not.
See the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CgroupLimits", "read_cgroup"]


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What the tightest group leaves us. None where no group limits it.

    `memory_file` says which of its two limits of memory that is: past memory.max a process of the group is killed, past
    memory.high all of them are slowed down until they hardly move.
    """

    memory_max_bytes: int | None = None
    memory_used_bytes: int | None = None
    pids_max: int | None = None
    pids_used: int | None = None
    cpu_cores: float | None = None  # quota / period
    memory_file: str = "memory.max"


def read_cgroup(proc: Path, sys: Path) -> CgroupLimits:
    """Reads the limits. Never fails: what cannot be read limits nothing."""
    memory: list[tuple[int, int, str]] = []
    pids: list[tuple[int, int]] = []
    cpu: list[float] = []
    for group in _groups(proc, sys):
        for name in ("memory.max", "memory.high"):
            if (limit := _number(group / name)) is not None:
                used = max(0, (_number(group / "memory.current") or 0) - _reclaimable(group))
                memory.append((limit, used, name))
        if (limit := _number(group / "pids.max")) is not None:
            pids.append((limit, _number(group / "pids.current") or 0))
        quota, _, period = _text(group / "cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            cpu.append(int(quota) / int(period))
    memory_max, memory_used, memory_file = min(
        memory, key=lambda one: one[0] - one[1], default=(None, None, "memory.max")
    )
    pids_max, pids_used = min(pids, key=lambda one: one[0] - one[1], default=(None, None))
    return CgroupLimits(memory_max, memory_used, pids_max, pids_used, min(cpu, default=None), memory_file)


def _groups(proc: Path, sys: Path) -> Iterator[Path]:
    """Yields our group's folder and each above it, up to the root of the hierarchy."""
    for line in _text(proc / "self/cgroup").splitlines():
        if line.startswith("0::"):
            path = line.removeprefix("0::").strip("/")
            break
    else:
        return
    root = sys / "fs/cgroup"
    if not (root / "cgroup.controllers").exists():
        root /= "unified"
    group = root / path
    # From inside a namespace the path may lead above its root ("/../…"), where there is nothing for us to see.
    if ".." in group.parts:
        group = root
    yield group
    while group != root:
        group = group.parent
        yield group


def _reclaimable(group: Path) -> int:
    """Returns the page cache that is given back when memory is asked for, which memory.current counts as used.

    Without this a container that has read a large file would look full.
    """
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file" and value.isdigit():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    """Returns the number; None for `max` and where there is none."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
