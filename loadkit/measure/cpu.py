"""The CPU time of this process, as it goes onto the board."""

from __future__ import annotations

import os
import resource

from loadkit.measure.board import Slot
from loadkit.measure.names import COUNTERS
from loadkit.units import NS_PER_S

__all__ = ["CpuMeter"]

_NAMES = ("cpu_user_ns", "cpu_system_ns", "run_delay_ns", "voluntary_switches", "involuntary_switches")
_COUNTERS = tuple(COUNTERS.index(name) for name in _NAMES)


class CpuMeter:
    """User, system and run-delay time, and context switches, since it was made or since the last fold."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        user, system, delay, *switches = _cpu_times()
        self._last = (user, system, delay or 0, *switches)

    def fold(self, slot: Slot, phase: int) -> None:
        """Adds the time since the last fold to a phase; to be called at every phase's end too."""
        before, now = self._last, _cpu_times()
        # Without a free file descriptor the run delay cannot be read; what came meanwhile counts the next time.
        self._last = now = (now[0], now[1], before[2] if now[2] is None else now[2], *now[3:])
        counters = slot.pages[phase].counters
        for counter, was, is_now in zip(_COUNTERS, before, now, strict=True):
            counters[counter] += is_now - was
        slot.set("max_rss_bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _cpu_times() -> tuple[int, int, int | None, int, int]:
    """Returns user, system and run-delay ns of this process, and its voluntary and involuntary context switches.

    The run delay (proc_pid_schedstat: its second field) is None if it cannot be read.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # Not Path.read_text: a hundred workers read this every second, and each page that its code touches is one more page
    # per worker.
    try:
        fd = os.open("/proc/self/schedstat", os.O_RDONLY)
        try:
            delay = int(os.read(fd, 100).split()[1])
        finally:
            os.close(fd)
    except (OSError, IndexError):
        delay = None
    return (
        round(usage.ru_utime * NS_PER_S),
        round(usage.ru_stime * NS_PER_S),
        delay,
        usage.ru_nvcsw,
        usage.ru_nivcsw,
    )
