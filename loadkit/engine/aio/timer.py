"""A timer to the microsecond inside any asyncio loop.

uvloop's own timers tick in milliseconds. A timerfd (timerfd_create(2)) is a file descriptor that becomes readable at an
absolute CLOCK_MONOTONIC time, so the loop's epoll wakes up for it like for a socket. Python has os.timerfd_create from
3.13 on; before that libc is called through ctypes, 1 us a call.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

from loadkit.units import NS_PER_S

__all__ = ["Timer"]

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _ITimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Calls back at the time it was last armed for; arming again replaces it, None disarms."""

    __slots__ = ("_armed", "_callback", "_fd", "_loop", "_settime", "_spec")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")
        self._settime = libc.timerfd_settime
        self._spec = _ITimerSpec()
        self._armed: int | None = None
        self._callback = callback
        self._loop = loop
        loop.add_reader(self._fd, self._fire)

    def arm(self, at_ns: int | None) -> None:
        """Arms the timer for an absolute monotonic time. A time that is past fires in the loop's next turn."""
        if at_ns == self._armed:
            return
        self._armed = at_ns
        # A zero value would disarm, so a time is at least 1 ns.
        seconds, ns = divmod(max(at_ns, 1), NS_PER_S) if at_ns is not None else (0, 0)
        self._spec.value_s, self._spec.value_ns = seconds, ns
        self._settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # armed anew between the wake-up and this call
        self._armed = None
        self._callback()

    def close(self) -> None:
        """Takes the timer out of the loop."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
