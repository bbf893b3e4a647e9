"""Many worker processes as one thing to wait for: a tick costs no more for a hundred workers than for one."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterable

from loadkit.limits import setting_up
from loadkit.run.workers import Worker
from loadkit.units import NS_PER_S

__all__ = ["Watch"]

# Each process is also checked once per second: a forker that hangs does not report an end (run/child.py).
_ASK_NS = NS_PER_S


class Watch:
    """An epoll(7) over the pipes and the sentinels of workers: readable when a worker has sent something or has ended.

    It is edge-triggered, so an event that was seen does not keep it readable. Raises PreflightError if there is no file
    descriptor for it.
    """

    def __init__(self, workers: Iterable[Worker]) -> None:
        self._asked_ns = 0
        self._by_fd: dict[int, Worker] = {}
        with setting_up("watch the workers"):
            self._epoll = select.epoll()
        for worker in workers:
            self.add(worker)

    def fileno(self) -> int:
        """The file descriptor to wait for."""
        return self._epoll.fileno()

    def add(self, worker: Worker) -> None:
        """Watches one more worker."""
        self._add_fd(worker.pipe.fileno(), worker)
        self._add_fd(worker.sentinel, worker)

    def ended(self, now: int) -> list[Worker]:
        """Reads what the workers have sent; returns those that have ended since the last call. `now` is in ns."""
        said = {self._by_fd[fd] for fd, _event in self._epoll.poll(0) if fd in self._by_fd}
        for worker in said:
            worker.listen()
        if now - self._asked_ns >= _ASK_NS:
            self._asked_ns = now
            said.update(self._by_fd.values())
        return [worker for worker in sorted(said, key=lambda worker: worker.index) if self._has_ended(worker)]

    def _has_ended(self, worker: Worker) -> bool:
        if not worker.is_gone():
            if worker.sentinel not in self._by_fd:  # another one, once the forker is gone
                self._add_fd(worker.sentinel, worker)
            return False
        for fd in [fd for fd, one in self._by_fd.items() if one is worker]:
            del self._by_fd[fd]
            with contextlib.suppress(OSError):  # closed by now
                self._epoll.unregister(fd)
        return True

    def _add_fd(self, fd: int, worker: Worker) -> None:
        self._by_fd[fd] = worker
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def close(self) -> None:
        """Gives the file descriptor back."""
        self._epoll.close()
