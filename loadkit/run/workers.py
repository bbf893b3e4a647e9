"""Worker processes on this machine: started, spoken to, waited for."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from multiprocessing import connection

from loadkit.errors import WorkerError
from loadkit.limits import setting_up
from loadkit.measure.board import Board
from loadkit.measure.run_samples import WorkerEnd
from loadkit.plan.split import ServeShard, Shard
from loadkit.run.child import LOST
from loadkit.run.forker import Forker
from loadkit.run.signals import name_of

__all__ = ["Worker", "end_all", "let_go", "start_workers"]

# A worker has this long to be ready. 104 workers were ready within 5 s on two cores.
_READY_S = 60.0


class Worker:
    """A worker process, from the parent's side."""

    def __init__(self, forker: Forker, work: Shard | ServeShard, board: Board, *more: int) -> None:
        self.work = work
        self.index = work.index
        self.failure: str | None = None
        self.came = b""  # of the run's first connection, when that failed
        self._is_hung = False
        self.is_ready = False
        with setting_up("start a worker"):
            self.pipe, theirs = connection.Pipe()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self.pipe.close)
            self._child = forker.fork(theirs.fileno(), board.fd, *more)
            undo.pop_all()
        self.say(work, board.layout)
        self._slot = board.slots[work.index]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._child.pid

    @property
    def sentinel(self) -> int:
        """A file descriptor that is readable when the process has ended."""
        return self._child.sentinel

    def say(self, *words: object) -> None:
        """Sends it a message. A worker that is gone does not receive it."""
        with contextlib.suppress(OSError):
            self.pipe.send(words)

    def listen(self) -> None:
        """Reads what it has sent."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                said, *rest = self.pipe.recv()
                if said == "ready":
                    self.is_ready = True
                elif said == "came":
                    self.came = rest[0]
                elif said == "failed":
                    self.failure = rest[0]

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._child.poll() is not None

    def died(self) -> str | None:
        """Returns how it ended; None if it has not ended, or if it ended well."""
        status = self._child.poll()
        if not status:
            return None
        self.listen()
        if self._is_hung:
            return "killed by SIGKILL after it hung"
        if status == LOST:
            return "lost: the process that it was forked from was killed, or hangs"
        if status < 0:
            return "; ".join(filter(None, (f"killed by {name_of(-status)}", self._child.limits)))
        return self.failure or f"exit status {status}"

    def kill(self) -> None:
        """Kills it if it does not end by itself."""
        self._is_hung = self._child.kill()

    def end(self) -> WorkerEnd:
        """Returns how it ended."""
        died = self.died()
        mid_fold = died is not None and self._slot.get("sequence") % 2 == 1
        return WorkerEnd(self.index, self.pid, self.work.core, died, mid_fold)

    def close(self) -> None:
        """Closes the pipe, and what is kept of the process."""
        self.pipe.close()
        self._child.close()


def start_workers(forker: Forker, works: Sequence[Shard | ServeShard], board: Board, *more: int) -> list[Worker]:
    """Starts a worker for each and waits until all are ready.

    Raises WorkerError with the first one's reason, and Interrupted at a signal.
    """
    workers: list[Worker] = []
    try:
        forker.interrupts.check()
        workers.extend(Worker(forker, work, board, *more) for work in works)
        deadline = time.monotonic() + _READY_S
        while not all(worker.is_ready for worker in workers):
            waiting = [worker for worker in workers if not worker.is_ready]
            forker.interrupts.wait([worker.pipe for worker in waiting], timeout_s=1.0)
            forker.interrupts.check()
            for worker in waiting:
                worker.listen()
                if worker.failure or (worker.is_gone() and not worker.is_ready):
                    raise WorkerError(
                        f"worker {worker.index} could not start: {worker.failure or worker.died() or 'it ended'}"
                    )
            if time.monotonic() > deadline:
                raise WorkerError(f"worker {waiting[0].index} was not ready within {_READY_S:.0f} s")
    except BaseException:
        let_go(workers)
        raise
    return workers


def let_go(workers: Sequence[Worker]) -> None:
    """Kills the workers that are left, and closes what is held of all of them."""
    end_all(workers, patience_s=0.0)
    for worker in workers:
        worker.close()


def end_all(workers: Sequence[Worker], patience_s: float) -> None:
    """Waits for the workers to end, then kills those that have not."""
    _wait_for(workers, patience_s)
    for worker in workers:
        if not worker.is_gone():
            worker.kill()
    _wait_for(workers, None)


def _wait_for(workers: Sequence[Worker], patience_s: float | None) -> None:
    deadline = math.inf if patience_s is None else time.monotonic() + patience_s
    while running := [worker.sentinel for worker in workers if not worker.is_gone()]:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        connection.wait(running, timeout=min(left, 1.0))
