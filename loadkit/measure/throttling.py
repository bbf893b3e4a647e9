"""What CPU quotas did to this process: cpu.stat of its control group, and of each group above it with a quota.

The processes of a group that has used up its quota are stopped until the next period begins. See the kernel's
Documentation/scheduler/sched-bwc.rst and Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadkit.cgroup import quotas
from loadkit.procfs import text_of

__all__ = ["ThrottlingLook", "ThrottlingSamples", "difference", "read_throttling"]

_NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class ThrottlingSamples:
    """What a control group's CPU quota did: its periods, those in which its processes were stopped, and for how long.

    The kernel adds the time up over the CPUs that were stopped.
    """

    periods: int
    throttled_periods: int
    throttled_ns: int


@dataclass(frozen=True, slots=True)
class ThrottlingLook:
    """The counters of each group that has a quota, by the group's folder, since that group was made."""

    groups: Mapping[Path, ThrottlingSamples]


def read_throttling(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> ThrottlingLook:
    """Reads the counters. What cannot be read is left out. `proc` and `sys` are other roots in tests."""
    found = ((group, _read(group / "cpu.stat")) for group, _cores in quotas(proc, sys))
    return ThrottlingLook({group: samples for group, samples in found if samples})


def difference(before: ThrottlingLook, after: ThrottlingLook) -> ThrottlingSamples | None:
    """Returns what came in between, of the group that was stopped for the longest time; None without a quota.

    The time of a group is only in part in that of the group above it, so they are not added up.
    """
    rows = (_since(before.groups[group], late) for group, late in after.groups.items() if group in before.groups)
    return max(rows, key=lambda row: (row.throttled_ns, row.throttled_periods, row.periods), default=None)


def _since(early: ThrottlingSamples, late: ThrottlingSamples) -> ThrottlingSamples:
    return ThrottlingSamples(
        late.periods - early.periods,
        late.throttled_periods - early.throttled_periods,
        late.throttled_ns - early.throttled_ns,
    )


def _read(path: Path) -> ThrottlingSamples | None:
    """Reads nr_periods, nr_throttled, and throttled_usec (version 2) or throttled_time (version 1, in ns)."""
    try:
        rows = dict(line.split() for line in text_of(path).splitlines())
        periods, throttled = int(rows["nr_periods"]), int(rows["nr_throttled"])
        if "throttled_usec" in rows:
            return ThrottlingSamples(periods, throttled, _NS_PER_US * int(rows["throttled_usec"]))
        return ThrottlingSamples(periods, throttled, int(rows["throttled_time"]))
    except (ValueError, KeyError):
        return None
