"""Where worker processes come from: one warm process, which is forked for each of them.

It is started anew, so it has none of its parent's threads, loops and locks; it imports what workers need, and then
forks whenever it is asked to. A worker costs the memory that it writes to, the rest are shared pages. (The fork server
of multiprocessing does the same; what it unpickles, registers and looks up in every child costs 1.1 MB more of each.)

Forker to parent, over a socket that keeps messages apart: `R` when it is ready, or `E` and why it cannot be. What is
written to its standard error until then is for the parent to read, who quotes its last line if there is neither.
Parent to forker: `F` with the file descriptors of the worker's pipe, its board, what else it is to have, and its status
pipe; answered by the pid, or minus the errno. Forker to parent, over a worker's status pipe: how it ended. The forker
ends when the parent closes the socket, and first kills the workers that are left. If the parent or the forker is
killed, the kernel kills what it has started (run/lifeline.py).
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from types import TracebackType

from loadkit.errors import PreflightError, WorkerError
from loadkit.imports import shadow_of
from loadkit.limits import of_cpu, of_memory, refusal, setting_up
from loadkit.run.child import STATUS, Child
from loadkit.run.interpreter import FAILED, READY, Interpreter, restore, say_end
from loadkit.run.lifeline import die_with_parent
from loadkit.run.signals import Interrupts, leave_to_parent
from loadkit.standard_streams import fill

__all__ = ["Forker", "main"]

_INT = struct.Struct("i")
_WAIT_S = 1.0
# File descriptors of a worker beside its pipe and its board; one message takes 253 (unix(7), SCM_RIGHTS).
_MOST_MORE = 200
# How libraries end a process that gets no more memory: uvloop reads through NULL, others abort.
_FOR_MEMORY = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
# How the kernel ends a process that has used up its CPU time: at the soft limit, and at the hard one (getrlimit(2)).
_FOR_CPU = (signal.SIGXCPU, signal.SIGKILL)
# What all workers share the pages of, beside the engines that are there. The last two are imported by name: native is
# not there without a compiler.
_PRELOADED = ("loadkit.run.worker", "loadkit.engine.aio.loop", "loadkit.engine.native.engine", "uvloop.loop")


class Forker:
    """The parent's side. While entered, processes can be forked. Raises PreflightError if it cannot be started.

    The thread that makes it has to live as long as it does. A signal taken by `interrupts` ends every wait for it.
    """

    is_in_worker = False
    patience_s = 20.0  # a fork takes milliseconds

    def __init__(self, interrupts: Interrupts) -> None:
        if self.is_in_worker:
            # Importing an app runs the program around it. That would start workers that import it, and so on.
            raise WorkerError(
                'workers cannot start workers: what starts a run belongs under `if __name__ == "__main__":` where the '
                "app is in the same file"
            )
        self.interrupts = interrupts
        self._interpreter = Interpreter(interrupts)
        self._socket = self._interpreter.socket

    @property
    def pid(self) -> int:
        """The forker's own process id."""
        return self._interpreter.process.pid

    def __enter__(self) -> Forker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interpreter.close()

    def fork(self, pipe_fd: int, board_fd: int, *more: int) -> Child:
        """Forks a worker, which is told the rest over its pipe. It has `more` file descriptors, up to _MOST_MORE.

        Raises PreflightError or WorkerError, and Interrupted at a signal.
        """
        self._interpreter.wait_ready()
        self.interrupts.check()  # if an answer and a signal end a wait together, the wait does not report the signal
        with setting_up("start a worker"):
            read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = self._ask(pipe_fd, board_fd, *more, write)
            if pid < 0:
                raise refusal(OSError(-pid, os.strerror(-pid)), "start a worker")
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Child(pid, read)

    def _ask(self, *fds: int) -> int:
        try:
            socket.send_fds(self._socket, [b"F"], fds)
            self._wait_for_answer()
            (pid,) = _INT.unpack(self._socket.recv(_INT.size))
        except (OSError, struct.error):
            end = say_end(self._interpreter.process)
            raise WorkerError(f"the process that workers are forked from {end}") from None
        return int(pid)

    def _wait_for_answer(self) -> None:
        waited_s, begin = 0.0, time.monotonic()
        while self._socket not in self.interrupts.wait([self._socket], _WAIT_S):
            self.interrupts.check()
            # If this process was frozen meanwhile, so was the forker, and a wait took longer than requested.
            waited_s += min(_WAIT_S, time.monotonic() - begin)
            begin = time.monotonic()
            if waited_s > self.patience_s:
                raise WorkerError(
                    f"the process that workers are forked from (pid {self.pid}) has not answered for "
                    f"{waited_s:.0f} s: it was stopped, or hangs"
                )


# -- in the forker


def main(fd: int, parent_pid: int, stderr_fd: int, changed: str) -> None:
    """Forks for each request until the parent is gone, and then ends the process.

    `changed` and `stderr_fd` restore the environment and the standard error of the parent.
    """
    # Signals from the terminal reach the whole group; the parent decides what they mean.
    leave_to_parent()
    die_with_parent(parent_pid)
    parent = socket.socket(fileno=fd)
    try:
        fill()
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _warm_up()
        restore(changed)
        _take_stderr(stderr_fd)
        answer = READY
    except Exception as error:
        answer = FAILED + _say(error).encode(errors="replace")
    with contextlib.suppress(OSError):
        parent.send(answer)
    if answer == READY:
        _fork_for(parent, wake_read)
    # Not by the interpreter's own shutdown, which may print something.
    os._exit(0 if answer == READY else 1)


def _fork_for(parent: socket.socket, wake_read: int) -> None:
    status_fds: dict[int, int] = {}
    poller = select.poll()
    for readable in (parent.fileno(), wake_read):
        poller.register(readable, select.POLLIN)
    while True:
        ready = {number for number, _event in poller.poll()}
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(status_fds)
        if parent.fileno() in ready and not _obey(parent, status_fds):
            break
    for pid in status_fds:
        os.kill(pid, signal.SIGKILL)
    _reap(status_fds, options=0)


def _warm_up() -> None:
    from loadkit.engine.probes import machine_key
    from loadkit.engine.registry import get_engine
    from loadkit.profile.engines import ENGINES
    from loadkit.run.worker import name_process

    name_process("loadkit-forker")
    for name in _PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            # A module that is not installed is not needed; one that another module shadows is an error.
            if shadow_of(error):
                raise
    for engine in ENGINES:
        with contextlib.suppress(PreflightError):
            get_engine(engine)
    machine_key()
    # A page stays shared until a process writes to it, and the garbage collector writes to every object that it visits.
    gc.collect()
    gc.freeze()


def _take_stderr(fd: int) -> None:
    """Makes the parent's standard error this process's."""
    os.dup2(fd, 2)
    os.close(fd)


def _say(error: Exception) -> str:
    """Returns why it cannot be ready, in one line."""
    if isinstance(error, OSError | MemoryError):
        return str(refusal(error, "start the process that they are forked from"))
    return str(shadow_of(error) or " ".join(f"{type(error).__name__}: {error}".split()))


def _obey(parent: socket.socket, status_fds: dict[int, int]) -> bool:
    """Forks a worker if the parent requests one; returns False if the parent is gone."""
    try:
        message, fds, flags, _address = socket.recv_fds(parent, 64, 3 + _MOST_MORE)
    except ConnectionError:  # it went before it had read the last answer: unix(7), ECONNRESET
        return False
    for fd in fds:
        # A program that an app starts would inherit the board and the pipe. recv_fds ignores its flags
        # (MSG_CMSG_CLOEXEC). Nothing else runs here that could fork in between.
        os.set_inheritable(fd, False)
    if not message:
        return False
    pid, forker_pid = -errno.EMFILE, os.getpid()
    if not flags & socket.MSG_CTRUNC:  # else the limit of open files truncated them: cmsg(3)
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or errno.EAGAIN)
    if pid == 0:
        die_with_parent(forker_pid)
        _be_worker(fds[:-1])
    if pid > 0:
        status_fds[pid] = fds.pop()
    for fd in fds:
        os.close(fd)
    with contextlib.suppress(OSError):  # the parent is gone; the next read reports it
        parent.send(_INT.pack(pid))
    return True


def _reap(status_fds: dict[int, int], options: int = os.WNOHANG) -> None:
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | options):
            status_fd = status_fds.pop(ended.si_pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with contextlib.suppress(OSError):  # the parent has closed its end
                os.write(status_fd, STATUS.pack(status) + _limits_of(ended.si_pid, status).encode())
            os.close(status_fd)
            # Only after that report: until the wait, the pid is this process's (run/child.py).
            os.waitpid(ended.si_pid, 0)


def _limits_of(pid: int, status: int) -> str:
    """Returns which limits of the process may have ended it, by its status; empty if none."""
    with contextlib.suppress(OSError):
        if -status in _FOR_MEMORY and (limits := of_memory(pid)):
            return f"it may have got no more memory: {limits}"
        if -status in _FOR_CPU and (limit := of_cpu(pid)):
            return f"it may have used up its CPU time: {limit}"
    return ""


# -- in the worker


def _be_worker(fds: list[int]) -> None:
    from loadkit.run.worker import run_worker

    Forker.is_in_worker = True
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Closes the forker's descriptors and those of other workers: a pipe ends when all its holders have closed it.
    for before, kept in pairwise((2, *sorted(fds), os.sysconf("SC_OPEN_MAX"))):
        os.closerange(before + 1, kept)
    status = 1
    try:
        pipe_fd, board_fd, *more = fds
        status = run_worker(Connection(pipe_fd), board_fd, *more)
    finally:
        # An app may have printed something.
        for stream in (sys.stdout, sys.stderr):
            if stream:  # None: closed when the program was started that we are in
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        # The frames above are the forker's.
        os._exit(status)
