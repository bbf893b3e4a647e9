"""Signals that end a process, as something to wait for: the first stops the run gently, the second at once.

A program that runs loadkit in a thread does the same by `stop` and `leave`.

There are three kinds of process. Each sets its handlers before anything else:
- `loadkit` itself (__main__.py) ends at once with 128 + n outside of a run. In a run, `Interrupts` takes the signals.
- A program that calls the library keeps its own mask and handlers; `Interrupts` takes them while a run is under way.
- The forker and the workers leave signals to their parent (`leave_to_parent`). The forker is started with all of them
  blocked (`hold`): until it has handlers, a Ctrl-C in the terminal would end it.
A signal that is ignored when loadkit starts is ignored in all of them, as nohup and a shell's `&` intend.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from loadkit.errors import Interrupted
from loadkit.limits import setting_up
from loadkit.procfs import text_of

__all__ = ["ENDING", "HasFileno", "Interrupts", "entered", "hold", "ignore", "leave_to_parent", "name_of"]

# What ends a process by default, and is sent by a terminal, a service manager or a person.
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class HasFileno(Protocol):
    """A socket, or one end of a pipe."""

    def fileno(self) -> int:
        """Returns its file descriptor."""


def name_of(number: int) -> str:
    """Returns what kill(1) calls the signal. The real-time ones have names by their distance: signal(7)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        above = number - signal.SIGRTMIN
        return f"SIGRTMIN+{above}" if above > 0 else f"signal {number}"  # libc keeps those below for itself


@contextlib.contextmanager
def hold() -> Iterator[None]:
    """While entered, signals to this thread are blocked; also in a process that it starts, until that unblocks them.

    In a program with more threads, another thread may take them.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def leave_to_parent() -> None:
    """Makes this process do nothing at a signal, and clears the mask that it was started with.

    The handler does nothing. SIG_IGN would be inherited by programs that an app starts (execve(2)).
    """
    for number in _not_ignored():
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def ignore() -> None:
    """Ignores signals in a worker that starts no process, so that they do not even end a wait."""
    for number in _not_ignored():
        signal.signal(number, signal.SIG_IGN)


def _not_ignored() -> list[signal.Signals]:
    # None is a handler that is not Python's, and that Python could not set again.
    return [number for number in ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]


class Interrupts:
    """While entered, counts the signals instead of dying of them, and each ends a `wait`.

    `is_command`: this process is `loadkit`, whose signals are all ours; the third ends it, whatever it waits for. In
    another program they are SIGINT and SIGTERM, which go to its own handlers when the run has ended, and what else
    would end it. Only the main thread may take signals; in another one the program around us decides.
    """

    def __init__(self, is_command: bool = False) -> None:
        self.numbers: list[int] = []
        self._is_command = is_command
        self._came_late = 0
        self._is_reporting = self._is_kept = False
        self._read = self._write = -1
        self._former: dict[int, Any] = {}
        self._is_woken = False
        self.at_exit: Callable[[], None] | None = None  # what puts a terminal back before a signal ends the process
        # Between stop(), from any thread, and the end of the run: the number of a closed fd may be somebody else's.
        # A signal handler must not wait for it, and need not: it is taken away before the fds are closed.
        self._lock = threading.Lock()

    def __enter__(self) -> Interrupts:
        with setting_up("start a run"):
            self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if threading.current_thread() is threading.main_thread():
            self._be_woken()
            for number in _not_ignored():
                if self._is_command or _ends(number):
                    self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        if self._is_woken:
            signal.set_wakeup_fd(-1)
        with self._lock:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1

    def _be_woken(self) -> None:
        """Has the signal itself write to our pipe: one that comes just before a wait begins would else not end it."""
        other = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._is_woken = other == -1
        if not self._is_woken:
            signal.set_wakeup_fd(other)  # an event loop's, which we are in the middle of

    def stop(self) -> None:
        """Asks what SIGINT would, from any thread; before it is entered, or after, too."""
        with self._lock:
            self.numbers.append(signal.SIGINT)
            if self._write >= 0:
                self._wake()

    def leave(self) -> None:
        """Asks to end at once, as a second signal does."""
        self.stop()
        self.stop()

    def begin_report(self) -> None:
        """Tells it that the run is over, and is being written down.

        A signal then waits for that, and the next one does not.
        """
        self._is_reporting = True

    def end_report(self) -> None:
        """Tells it that the record is kept, and is left to be printed: a signal ends that at once."""
        self._is_kept = True

    def linger(self, wait_s: float) -> None:
        """Waits so long when all is done, or until a signal comes, which ends nothing but this."""
        self._is_reporting = self._is_kept = False
        before, deadline = self.count, time.monotonic() + wait_s
        while self.count == before and (left_s := deadline - time.monotonic()) > 0:
            self.wait((), left_s)
        del self.numbers[before:]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.numbers.append(number)
        self._came_late += self._is_reporting
        if self._is_command and (self._is_kept or self._came_late > 1 or self.count > 2):
            if self.at_exit:
                self.at_exit()
            os._exit(128 + number)
        self._wake()

    def _wake(self) -> None:
        # Full is readable too.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    @property
    def first(self) -> str | None:
        """The name of the first signal, None before it."""
        return name_of(self.numbers[0]) if self.numbers else None

    @property
    def count(self) -> int:
        """How many have come."""
        return len(self.numbers)

    def check(self) -> None:
        """Raises Interrupted when one has come: there is no run yet that could be stopped gently."""
        if self.numbers:
            error = Interrupted(f"{self.first} ended the command before it had begun")
            error.exit_status = 128 + self.numbers[0]
            raise error

    def wait(self, others: Sequence[int | HasFileno], timeout_s: float | None = None) -> list[object]:
        """Returns those of the others that are readable, once there is one, a signal has come, or the time is up."""
        poller, asked = select.poll(), {fd if isinstance(fd, int) else fd.fileno(): fd for fd in others}
        for fd in (self._read, *asked):
            poller.register(fd, select.POLLIN)
        ready = {fd for fd, _event in poller.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))}
        if self._read in ready:
            # Bytes of signals that are not ours are among them, where the program has handlers for more.
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read, 64):
                    pass
        return [one for fd, one in asked.items() if fd in ready]


def entered(interrupts: Interrupts | None) -> contextlib.AbstractContextManager[Interrupts]:
    """Returns a context with the caller's, which it has entered and will leave; with new ones if there are none."""
    return contextlib.nullcontext(interrupts) if interrupts else Interrupts()


def _ends(number: signal.Signals) -> bool:
    """Whether a signal to a program that is not ours is taken: one that it has a use for, as a reload, is not."""
    if signal.getsignal(number) is signal.SIG_DFL:
        return not _is_caught(number)
    return number in (signal.SIGINT, signal.SIGTERM)


def _is_caught(number: signal.Signals) -> bool:
    """Whether there is a handler that Python does not know, as faulthandler.register() sets one: proc_pid_status(5)."""
    for line in text_of(Path("/proc/self/status")).splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
