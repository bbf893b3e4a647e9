"""SIGINT and SIGTERM as something to wait for: the first asks to stop gently, the second to leave at once.

A program that has started a run in a thread of its own asks the same of it by `stop` and `leave`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """While entered, counts the signals instead of dying of them. Its file descriptor is readable after each."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._read = self._write = -1
        self._former: dict[int, Any] = {}
        # Between stop(), from any thread, and the end of the run: the number of a closed fd may be somebody else's.
        # A signal handler must not wait for it, and need not: it is taken away before the fds are closed.
        self._lock = threading.Lock()

    def __enter__(self) -> Interrupts:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Only the main thread may; elsewhere the program around us decides.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        with self._lock:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1

    def stop(self) -> None:
        """Asks what SIGINT would, from any thread; before it is entered, or after, too."""
        with self._lock:
            self.names.append(signal.SIGINT.name)
            if self._write >= 0:
                self._wake()

    def leave(self) -> None:
        """Asks to end at once, as a second signal does."""
        self.stop()
        self.stop()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.names.append(signal.Signals(number).name)
        self._wake()

    def _wake(self) -> None:
        # Full is readable too.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    @property
    def first(self) -> str | None:
        """The name of the first signal, None before it."""
        return self.names[0] if self.names else None

    @property
    def count(self) -> int:
        """How many have come."""
        return len(self.names)

    def fileno(self) -> int:
        """For multiprocessing.connection.wait."""
        return self._read

    def clear(self) -> None:
        """Makes the file descriptor unreadable again."""
        try:
            while os.read(self._read, 64):
                pass
        except BlockingIOError:
            pass
