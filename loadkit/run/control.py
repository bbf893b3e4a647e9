"""The messages between parent and worker: small tuples over one pipe per worker, outside of the hot path.

Parent to worker: ("start", ns), ("ramp", ns), ("hold", ns), ("enough",), ("stop",), ("leave",). Worker to parent:
("ready",), ("came", bytes), ("finished",), ("failed", text).
A closed pipe means that the other end is gone, so no worker outlives its parent.
"""

from __future__ import annotations

import contextlib
from multiprocessing.connection import Connection

__all__ = ["PipeControl"]


class PipeControl:
    """The worker's end of the pipe, as the engine sees it (engine/base.py: Control)."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._start: int | None = None
        self._ramp: int | None = None
        self._hold: int | None = None
        self._stop = False
        self._enough = False
        self._leave = False

    def ready(self) -> None:
        """Tells the parent that the worker is set up."""
        self._pipe.send(("ready",))

    def failed(self, text: str) -> None:
        """Tells the parent why the worker cannot go on."""
        self._pipe.send(("failed", text))

    def came(self, first_bytes: bytes) -> None:
        """Tells the parent what came on the run's first connection, which failed."""
        with contextlib.suppress(OSError):
            self._pipe.send(("came", first_bytes))

    def finished(self) -> None:
        """Has the parent read the board now: this worker is done with its last message."""
        with contextlib.suppress(OSError):
            self._pipe.send(("finished",))

    def wait_start(self) -> int:
        """Waits for the start (monotonic ns). Raises EOFError if the parent is gone or stops the worker before it."""
        while self._start is None:
            self._read(block=True)
            if self._leave or self._stop:
                raise EOFError("told to stop before the start")
        return self._start

    def hear(self) -> None:
        """Reads what the parent has sent."""
        self._read()

    def ramp_start(self) -> int | None:
        """Returns when the connects of the ramp begin, None until the parent has sent it."""
        return self._ramp

    def hold_start(self) -> int | None:
        """Returns when the phases after the ramp begin, None until the parent has sent it."""
        return self._hold

    def should_stop(self) -> bool:
        """Whether to end gently."""
        return self._stop

    def should_stop_opening(self) -> bool:
        """Whether to open no more connections."""
        return self._enough

    def should_leave(self) -> bool:
        """Whether to end at once."""
        return self._leave

    def fileno(self) -> int:
        """The pipe's file descriptor: readable when the parent has sent something, or is gone."""
        return self._pipe.fileno()

    def _read(self, block: bool = False) -> None:
        try:
            while not self._leave and (block or self._pipe.poll()):
                block = False
                said, *rest = self._pipe.recv()
                if said == "start":
                    self._start = rest[0]
                elif said == "ramp":
                    self._ramp = rest[0]
                elif said == "hold":
                    self._hold = rest[0]
                elif said == "enough":
                    self._enough = True
                elif said == "stop":
                    self._stop = True
                elif said == "leave":
                    self._leave = True
        except (EOFError, OSError):
            self._leave = True
