"""Control groups made for a test, where this machine lets us: version 2, or version 1's hierarchies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.under_way import wait_for

_ROOT = Path("/sys/fs/cgroup")
# The limit of a controller: its file in version 2 and in version 1.
_FILES = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),  # us of each period of 100 ms
}
# The most that a group can weigh against others: on a busy machine it gets its quota all the same.
_WEIGHTS = (("cpu.weight", 10_000), ("cpu.shares", 262_144))


@contextlib.contextmanager
def control_group(controller: str, limit: int) -> Iterator[tuple[str, ...]]:
    """Makes a group of this process's own with the limit, and yields what a command is put behind to run in it."""
    is_second = (_ROOT / "cgroup.controllers").exists()
    group = _ROOT / ("" if is_second else controller) / _own(controller, is_second) / f"loadkit-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of {controller} can be made here: {error.strerror}")
    try:
        if not any((group / name).exists() for name in _FILES[controller]):
            pytest.skip(f"the groups here have no controller {controller}")
        enter = "import os, sys; open(sys.argv[1], 'w').write('0'); os.execv(sys.argv[2], sys.argv[2:])"
        inside = (sys.executable, "-c", enter, str(group / "cgroup.procs"))
        set_limit(inside, controller, limit)
        if controller == "cpu":
            name, most = _WEIGHTS[0 if is_second else 1]
            (group / name).write_text(str(most))
        yield inside
    finally:
        _remove(group)


def set_limit(inside: tuple[str, ...], controller: str, limit: int) -> None:
    """Changes the limit of a group that was made."""
    [file] = [path for name in set(_FILES[controller]) if (path := _group_of(inside) / name).exists()]
    file.write_text(str(limit))


def throttled_ns(inside: tuple[str, ...]) -> int:
    """Returns how long its processes were kept from running by a quota of CPU time."""
    stat = dict(line.split() for line in (_group_of(inside) / "cpu.stat").read_text().splitlines())
    return int(stat.get("throttled_usec", 0)) * 1000 or int(stat.get("throttled_time", 0))


def _group_of(inside: tuple[str, ...]) -> Path:
    return Path(inside[-1]).parent


def _own(controller: str, is_second: bool) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" if is_second else controller in controllers.split(","):
            return path.strip("/")
    pytest.skip(f"this process is in no group of {controller}")


def _remove(group: Path) -> None:
    """Removes it when its last process is gone, which takes the kernel a moment after the exit."""

    def is_gone() -> bool:
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    wait_for(is_gone, f"processes stay in {group}")
