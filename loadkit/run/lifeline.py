"""What ties processes together beyond a pipe: a child that dies with its parent, and a handle that outlives a pid.

Python has no prctl(2), and os.pidfd_open only where it was built with the headers of Linux 5.3: both are called by
ctypes. Where the kernel or a seccomp profile refuses them, a pipe that is closed is what is left: a worker that reads
it ends, one that hangs does not.
"""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal

__all__ = ["die_with_parent", "has_ended", "kill", "open_pidfd"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Their numbers are the same on every architecture that Python runs on but alpha and mips, which refuse these (ENOSYS).
_SYS_PIDFD_SEND_SIGNAL, _SYS_PIDFD_OPEN = 424, 434


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when the thread that forked it ends: prctl(2), PR_SET_PDEATHSIG.

    `parent_pid` is who the parent should be. When it is not any more, it has ended before we could ask, and so do we.
    """
    _libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def open_pidfd(pid: int) -> int | None:
    """Returns a file descriptor of the process that has the pid now; None where there is none, or no pidfds."""
    fd: int = _libc().syscall(_SYS_PIDFD_OPEN, ctypes.c_long(pid), ctypes.c_long(0))
    return fd if fd >= 0 else None


def has_ended(pidfd: int) -> bool:
    """Whether the process has ended; it may still wait for its parent."""
    poller = select.poll()  # select() takes no fd beyond 1,023
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def kill(pidfd: int) -> None:
    """Sends SIGKILL to the process, and to no other that has its pid by now."""
    _libc().syscall(_SYS_PIDFD_SEND_SIGNAL, ctypes.c_long(pidfd), ctypes.c_long(signal.SIGKILL), None, ctypes.c_long(0))
