"""Memory that a worker keeps to end with."""

from __future__ import annotations

import re
from pathlib import Path

from loadkit.reserve import Reserve

MIB = 2**20


def used() -> tuple[int, int]:
    """Returns the address space and the anonymous memory of this process (proc_pid_status(5)), in bytes."""
    status = Path("/proc/self/status").read_text()
    size, anonymous = (re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) for name in ("VmSize", "RssAnon"))
    assert size
    assert anonymous
    return int(size[1]) * 1024, int(anonymous[1]) * 1024


def test_it_takes_address_space_and_no_memory() -> None:
    size, anonymous = used()
    reserve = Reserve()
    with_it = used()
    reserve.give_back()
    assert with_it[0] - size >= 4 * MIB
    assert with_it[1] - anonymous < 2 * MIB
    assert with_it[0] - used()[0] >= 4 * MIB


def test_it_can_be_given_back_again() -> None:
    reserve = Reserve()
    reserve.give_back()
    reserve.give_back()
