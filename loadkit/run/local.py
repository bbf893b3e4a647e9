"""Worker processes on this machine: started, spoken to, waited for."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Sequence
from multiprocessing import connection

from loadkit.errors import WorkerError
from loadkit.measure.board import Board
from loadkit.measure.samples import WorkerEnd
from loadkit.plan.model import Shard
from loadkit.run.worker import BoardHandle, ServeWork, run_worker

__all__ = ["Worker", "end_all", "start_workers"]

# Until a worker says that it is ready; 104 of them were ready within 5 s on two cores.
_READY_S = 60.0


# What workers share the pages of; the last is not there without a compiler, which the forkserver passes over.
_PRELOADED = ["loadkit.run.worker", "loadkit.engine.aio.loop", "loadkit.engine.native.engine"]


class Worker:
    """A worker process, from the parent's side."""

    def __init__(self, work: Shard | ServeWork, board: Board) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.work = work
        self.index = work.index
        self.failure: str | None = None
        self._is_hung = False
        self.is_ready = False
        self.pipe, theirs = context.Pipe()
        handle = BoardHandle(board.layout, board.fd)
        self.process = context.Process(target=run_worker, args=(work, handle, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._slot = board.slots[work.index]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid or 0

    def say(self, *words: object) -> None:
        """Sends it a message; one that is gone does not hear it."""
        with contextlib.suppress(OSError):
            self.pipe.send(words)

    def listen(self) -> None:
        """Takes in what it has said."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                said, *rest = self.pipe.recv()
                if said == "ready":
                    self.is_ready = True
                elif said == "failed":
                    self.failure = rest[0]

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self.process.exitcode is not None

    def died(self) -> str | None:
        """Says how it ended when it did not end well, else None."""
        status = self.process.exitcode
        self.listen()
        if not status:
            return None
        if self._is_hung:
            return "killed by SIGKILL after it hung"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return self.failure or f"exit status {status}"

    def kill(self) -> None:
        """Ends one that does not end by itself."""
        self._is_hung = True
        self.process.kill()
        self.process.join()

    def end(self) -> WorkerEnd:
        """Returns how it ended."""
        died = self.died()
        mid_fold = died is not None and self._slot.get("sequence") % 2 == 1
        return WorkerEnd(self.index, self.pid, self.work.core, died, mid_fold)

    def close(self) -> None:
        """Lets go of the process and the pipe."""
        self.pipe.close()
        if self.is_gone():
            self.process.close()


def start_workers(works: Sequence[Shard | ServeWork], board: Board) -> list[Worker]:
    """Starts a worker for each and waits until all are ready. Raises WorkerError with the first one's reason."""
    workers: list[Worker] = []
    try:
        workers.extend(Worker(work, board) for work in works)
        deadline = time.monotonic() + _READY_S
        while not all(worker.is_ready for worker in workers):
            waiting = [worker for worker in workers if not worker.is_ready]
            connection.wait([worker.pipe for worker in waiting], timeout=1.0)
            for worker in waiting:
                worker.listen()
                if worker.failure or (worker.is_gone() and not worker.is_ready):
                    raise WorkerError(
                        f"worker {worker.index} could not start: {worker.failure or worker.died() or 'it ended'}"
                    )
            if time.monotonic() > deadline:
                raise WorkerError(f"worker {waiting[0].index} was not ready within {_READY_S:.0f} s")
    except BaseException:
        end_all(workers, patience_s=0.0)
        raise
    return workers


def end_all(workers: Sequence[Worker], patience_s: float) -> None:
    """Waits for the workers to end, then kills those that have not."""
    deadline = time.monotonic() + patience_s
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    for worker in workers:
        if not worker.is_gone():
            worker.kill()
