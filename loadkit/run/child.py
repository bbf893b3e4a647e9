"""A forked process as its parent sees it. Only the forker can wait for it (run/forker.py)."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time

from loadkit.run.lifeline import has_ended, kill, open_pidfd

__all__ = ["LOST", "STATUS", "Child"]

LOST = 255  # instead of an exit status, if the forker was killed or hangs and so does not report how the process ended
# What the forker says of the end, as subprocess has it: minus the signal's number. Behind it are the limits, in words,
# that may have ended the process.
STATUS = struct.Struct("i")
_SAID_BYTES = 4096

# The forker has this long to report how a process ended. After that, the forker is assumed to hang.
_TOLD_S = 2.0


class Child:
    """A process that the forker has forked. `close` closes its file descriptors and does not kill it.

    The forker reports on `status_fd` how the process ended, before it waits for it. Until then the pid is this
    process's, and so is a pidfd that was opened before. With the pidfd it can be killed even if the forker is gone.
    """

    def __init__(self, pid: int, status_fd: int) -> None:
        self.pid = pid
        self._status_fd = status_fd
        self._pidfd = open_pidfd(pid)
        self._status: int | None = None
        self.limits = ""  # which of them may have ended it, in words
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
        """Whether it has ended and the forker will not report how."""
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
        """Closes its file descriptors."""
        os.close(self._status_fd)
        if self._pidfd is not None:
            os.close(self._pidfd)
