"""The clock: CLOCK_MONOTONIC in nanoseconds, one time line for every process of this host.

`time.monotonic_ns` is clock_gettime(CLOCK_MONOTONIC) on Linux (PEP 564), which does not differ between processes, so
a time that the parent announces can be compared with a worker's own reading. Wall time is for a record's date only.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "MonotonicClock"]


class Clock(Protocol):
    """What tells the time."""

    def now_ns(self) -> int:
        """Returns nanoseconds since an arbitrary moment; it never goes back."""


class MonotonicClock:
    """The machine's own monotonic clock."""

    __slots__ = ()

    now_ns = staticmethod(time.monotonic_ns)
