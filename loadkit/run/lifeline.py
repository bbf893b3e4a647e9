"""What ties processes together beyond a pipe: a child that dies with its parent, and a handle that outlives a pid.

Python has no prctl(2), and has os.pidfd_open only if it was built with the headers of Linux 5.3. So both are called by
ctypes. If the kernel or a seccomp profile refuses them, only the closed pipe is left: it ends a worker that reads it,
and not one that hangs.
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

    `parent_pid` is the expected parent. If it is not the parent any more, it has ended, and so does this process.
    """
    _libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def open_pidfd(pid: int) -> int | None:
    """Returns a pidfd of the process that has the pid now; None if there is no process, or pidfds are refused."""
    fd: int = _libc().syscall(_SYS_PIDFD_OPEN, ctypes.c_long(pid), ctypes.c_long(0))
    return fd if fd >= 0 else None


def has_ended(pidfd: int) -> bool:
    """Whether the process has ended. Its parent may not have waited for it yet."""
    poller = select.poll()  # select() takes no fd beyond 1,023
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def kill(pidfd: int) -> None:
    """Sends SIGKILL to the process, never to another one that has got its pid since."""
    _libc().syscall(_SYS_PIDFD_SEND_SIGNAL, ctypes.c_long(pidfd), ctypes.c_long(signal.SIGKILL), None, ctypes.c_long(0))
