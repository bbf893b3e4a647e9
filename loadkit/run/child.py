"""A forked process, from the side of the parent, which is not the one that can wait for it: run/forker.py is."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time

from loadkit.run.lifeline import has_ended, kill, open_pidfd

__all__ = ["LOST", "STATUS", "Child"]

LOST = 255  # instead of an exit status: the forker was killed, or hangs, and does not say how the process ended
# What the forker says of the end, as subprocess has it: minus the signal's number. Behind it are the limits of memory
# that the process had, in words, if it died as a process may that gets no more.
STATUS = struct.Struct("i")
_SAID_BYTES = 4096

# Until the forker has said how a process has ended that has; then it is taken for one that hangs.
_TOLD_S = 2.0


class Child:
    """A process that the forker has forked. Its file descriptors are closed by `close`, and it is not killed by that.

    `status_fd` is where the forker says how it ended, before it lets go of its pid: as long as it has not, the pid is
    this process's, and so is a pidfd that was opened before. That one can be killed whatever becomes of the forker.
    """

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid = pid
        self._status_fd = status_fd
        self._pidfd = open_pidfd(pid)
        self._status: int | None = None
        self.limits = ""  # of its memory, if one of them may have ended it
        self._is_untold = False  # the forker is gone
        self._ended_s: float | None = None  # seen by the pidfd

    @property
    def sentinel(self) -> int:
        """For multiprocessing.connection.wait: readable when `poll` has more to say."""
        return self._pidfd if self._is_untold and self._pidfd is not None else self._status_fd

    def poll(self) -> int | None:
        """Returns how it ended as subprocess has it, or LOST; None as long as it lives."""
        if self._status is None:
            with contextlib.suppress(BlockingIOError):
                told = os.read(self._status_fd, _SAID_BYTES)
                if told:
                    (self._status,) = STATUS.unpack_from(told)
                    self.limits = told[STATUS.size :].decode()
                else:
                    self._is_untold = True
        if self._status is None and self._is_lost():
            self._status = LOST
        return self._status

    def _is_lost(self) -> bool:
        """Whether it has ended, and nobody will say how."""
        if self._pidfd is None:
            return self._is_untold
        if not has_ended(self._pidfd):
            return False
        self._ended_s = self._ended_s or time.monotonic()
        return self._is_untold or time.monotonic() - self._ended_s > _TOLD_S

    def kill(self) -> bool:
        """Kills it. Returns False when it has ended already."""
        if self.poll() is not None or self._ended_s is not None:
            return False
        if self._pidfd is not None:
            kill(self._pidfd)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._status_fd)
        if self._pidfd is not None:
            os.close(self._pidfd)
