"""The limits of the control groups that this process is in: of its own and of each one above it.

A container mostly sees its own group as the root of /sys/fs/cgroup; a service of systemd sees the path to it. Version 2
has one hierarchy, version 1 one for each controller, mounted under its name. On a machine that has both, version 2 is
mounted at `unified`, and has only the controllers that version 1 has not. See the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadkit.procfs import text_of

__all__ = ["CgroupLimits", "quotas", "read_cgroup"]


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What the tightest group leaves us. None where no group limits it.

    `memory_file` says which of its limits of memory that is: past memory.max, or version 1's memory.limit_in_bytes, a
    process of the group is killed, past memory.high all of them are slowed down until they hardly move.
    """

    memory_max_bytes: int | None = None
    memory_used_bytes: int | None = None
    pids_max: int | None = None
    pids_used: int | None = None
    cpu_cores: float | None = None  # quota / period
    memory_file: str = "memory.max"
    cpus: int | None = None  # that the cpuset leaves to the group; an affinity mask may leave this process fewer


# Version 1 says "no limit" by the largest number of pages (mm/page_counter.c).
_NO_LIMIT = 2**62


def read_cgroup(proc: Path, sys: Path) -> CgroupLimits:
    """Reads the limits. Never fails: what cannot be read limits nothing."""
    memory = list(_memory(proc, sys))
    pids = [
        (limit, _number(group / "pids.current") or 0)
        for group in (*_groups(proc, sys), *_groups(proc, sys, "pids"))
        if (limit := _number(group / "pids.max")) is not None
    ]
    memory_max, memory_used, memory_file = min(
        memory, key=lambda one: one[0] - one[1], default=(None, None, "memory.max")
    )
    pids_max, pids_used = min(pids, key=lambda one: one[0] - one[1], default=(None, None))
    return CgroupLimits(
        memory_max,
        memory_used,
        pids_max,
        pids_used,
        min((cores for _group, cores in quotas(proc, sys)), default=None),
        memory_file,
        _cpus(proc, sys),
    )


def _memory(proc: Path, sys: Path) -> Iterator[tuple[int, int, str]]:
    """Yields (limit, in use, the file that has the limit) of each group that has one."""
    for group in _groups(proc, sys):
        for name in ("memory.max", "memory.high"):
            if (limit := _number(group / name)) is not None:
                used = (_number(group / "memory.current") or 0) - _reclaimable(group, "", "file_mapped")
                yield limit, max(0, used), name
    for group in _groups(proc, sys, "memory"):
        limit = _number(group / "memory.limit_in_bytes")
        if limit is not None and limit < _NO_LIMIT:
            used = (_number(group / "memory.usage_in_bytes") or 0) - _reclaimable(group, "total_", "total_mapped_file")
            yield limit, max(0, used), "memory.limit_in_bytes"


def quotas(proc: Path, sys: Path) -> Iterator[tuple[Path, float]]:
    """Yields the folder of each group whose CPU time is limited, and how many cores' worth of it there is."""
    found = [(group, text_of(group / "cpu.max").split()) for group in _groups(proc, sys)]
    found += [
        (group, [text_of(group / "cpu.cfs_quota_us").strip(), text_of(group / "cpu.cfs_period_us").strip()])
        for group in _groups(proc, sys, "cpu")
    ]
    for group, quota in found:
        # `max` and -1 are no limit.
        if len(quota) == 2 and all(number.isdigit() for number in quota) and int(quota[1]):
            yield group, int(quota[0]) / int(quota[1])


def _cpus(proc: Path, sys: Path) -> int | None:
    """Counts the CPUs of the cpuset (`0-3,8`) of our group, or of the nearest one above it that has one."""
    files = [group / "cpuset.cpus.effective" for group in _groups(proc, sys)]
    files += [group / "cpuset.effective_cpus" for group in _groups(proc, sys, "cpuset")]
    for text in map(str.strip, map(text_of, files)):
        parts = [part.split("-") for part in text.split(",")]
        if all(number.isdigit() for part in parts for number in part):
            return sum(int(part[-1]) - int(part[0]) + 1 for part in parts)
    return None


def _groups(proc: Path, sys: Path, controller: str = "") -> Iterator[Path]:
    """Yields our group's folder and each above it, up to the root: of version 2, or of version 1's `controller`."""
    for line in text_of(proc / "self/cgroup").splitlines():
        _number_of_it, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            break
    else:
        return
    root = sys / "fs/cgroup"
    if controller:
        root /= controllers if (root / controllers).exists() else controller
    elif not (root / "cgroup.controllers").exists():
        root /= "unified"
    group = root / path.strip("/")
    # From inside a namespace the path may lead above its root ("/../…"), where there is nothing for us to see. Without
    # one it may name folders that are mounted away; what is not there limits nothing, and the root is ours.
    if ".." in group.parts:
        group = root
    yield group
    while group != root:
        group = group.parent
        yield group


def _reclaimable(group: Path, prefix: str, mapped: str) -> int:
    """Returns the page cache that is given back when memory is asked for, which counts as used.

    Without this a container that has read a large file would look full. At its limit the kernel takes pages of files
    from both lists of the group before it kills: the inactive one first, and when that is short, the active one's
    (try_charge and shrink_lruvec, inactive_is_low, in mm/memcontrol.c and mm/vmscan.c; si_mem_available counts both of
    the machine, too). Of the active ones, as many stay as are mapped: programs would read them again and again. tmpfs
    and shared memory are in neither list; reclaimable slab has the inodes of open sockets, which stay.
    """
    rows = (line.partition(" ") for line in text_of(group / "memory.stat").splitlines())
    found = {name: int(value) for name, _, value in rows if value.isdigit()}
    active = max(0, found.get(f"{prefix}active_file", 0) - found.get(mapped, 0))
    return found.get(f"{prefix}inactive_file", 0) + active


def _number(path: Path) -> int | None:
    """Returns the number; None for `max` and for an empty or missing file."""
    text = text_of(path).strip()
    return int(text) if text.isdigit() else None
