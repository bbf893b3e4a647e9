"""Where worker processes come from: one warm process, which is forked for each of them.

It is started anew, so it has none of its parent's threads, loops and locks; it imports what workers need, and then
forks whenever it is asked to. A worker costs the memory that it writes to, the rest are shared pages. (The fork server
of multiprocessing does the same; what it unpickles, registers and looks up in every child costs 1.1 MB more of each.)

Parent to forker, over a socket that keeps messages apart: `F` with the file descriptors of the worker's pipe, its board
and its status pipe; answered by the pid, or minus the errno. Forker to parent, over a worker's status pipe: how it
ended. The forker ends when the parent closes the socket, and first kills the workers that are left. If the parent or
the forker is killed, the kernel kills what it has started (run/lifeline.py).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from multiprocessing.connection import Connection
from types import TracebackType

from loadkit.errors import WorkerError
from loadkit.run.child import STATUS, Child
from loadkit.run.lifeline import die_with_parent
from loadkit.run.signals import Interrupts, hold, leave_to_parent, name_of

__all__ = ["Forker", "main"]

_GONE_S = 5.0  # until a process whose socket is closed can be waited for
_LEAVE_S = 2.0  # until one that has nothing left to do but end is taken for one that hangs

_INT = struct.Struct("i")
# What all workers share the pages of. The engines are imported by name: native is not there without a compiler.
_PRELOADED = ("loadkit.run.worker", "loadkit.engine.aio.loop", "loadkit.engine.native.engine", "uvloop")
_START = (
    "import sys; sys.path[:] = sys.argv[3:]; from loadkit.run.forker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]))"
)


class Forker:
    """The parent's side. While entered, processes can be forked. Raises WorkerError where it cannot be started.

    The thread that makes it has to live as long as it does. A signal, which `interrupts` has, ends every wait for it.
    """

    is_in_worker = False

    def __init__(self, interrupts: Interrupts) -> None:
        if self.is_in_worker:
            # Importing an app ran the program that it stands in, which would start workers that import it, and so on.
            raise WorkerError(
                'workers cannot start workers: what starts a run belongs under `if __name__ == "__main__":` where the '
                "app is in the same file"
            )
        self.interrupts = interrupts
        self._has_answered = False
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, hold():
                self._process = subprocess.Popen(  # noqa: S603 - this very Python
                    [sys.executable, "-c", _START, str(theirs.fileno()), str(os.getpid()), *sys.path],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            self._socket.close()
            raise _cannot_fork(error.errno or 0) from None

    @property
    def pid(self) -> int:
        """The forker's own process id."""
        return self._process.pid

    def __enter__(self) -> Forker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        try:
            # One that has not answered yet is still importing, and hears nothing until it is done.
            self._process.wait(_LEAVE_S if self._has_answered else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def fork(self, pipe_fd: int, board_fd: int) -> Child:
        """Forks a worker, which is told the rest over its pipe. Raises WorkerError, and Interrupted at a signal."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = self._ask(pipe_fd, board_fd, write)
            if pid < 0:
                raise _cannot_fork(-pid)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Child(pid, read)

    def _ask(self, *fds: int) -> int:
        try:
            socket.send_fds(self._socket, [b"F"], fds)
            while self._socket not in self.interrupts.wait([self._socket]):
                self.interrupts.check()
            (pid,) = _INT.unpack(self._socket.recv(_INT.size))
        except (OSError, struct.error):
            raise WorkerError(f"the process that workers are forked from has ended: {self._say_end()}") from None
        self._has_answered = True
        return int(pid)

    def _say_end(self) -> str:
        """Says how it ended, as far as that is known: it is about to be gone, or was when its socket closed."""
        try:
            status = self._process.wait(_GONE_S)
        except subprocess.TimeoutExpired:
            return "it closed its socket, and did not say why"
        if status == -signal.SIGKILL:
            return "killed by SIGKILL, by another process or by the kernel for want of memory, which `dmesg` would say"
        if status < 0:
            return f"killed by {name_of(-status)}"
        return f"exit status {status}; its standard error says why"


def _cannot_fork(number: int) -> WorkerError:
    return WorkerError(
        f"cannot start a process: {os.strerror(number)}; `ulimit -u`, the control group's pids.max and kernel.pid_max "
        f"limit the number of processes: see `loadkit doctor`"
    )


# -- in the forker


def main(fd: int, parent_pid: int) -> None:
    """Forks for each request until the parent is gone, and then ends the process."""
    # Signals from the terminal reach the whole group; what they mean is for the parent to say.
    leave_to_parent()
    die_with_parent(parent_pid)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _warm_up()
    from loadkit.run.worker import name_process

    name_process("loadkit-forker")
    parent = socket.socket(fileno=fd)
    status_fds: dict[int, int] = {}
    poller = select.poll()
    for readable in (fd, wake_read):
        poller.register(readable, select.POLLIN)
    while True:
        ready = {number for number, _event in poller.poll()}
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(status_fds)
        if fd in ready and not _obey(parent, status_fds):
            break
    for pid in status_fds:
        os.kill(pid, signal.SIGKILL)
    _reap(status_fds, options=0)
    os._exit(0)


def _warm_up() -> None:
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # A page stays shared until somebody writes to it, and the collector writes to every object that it looks at.
    gc.collect()
    gc.freeze()


def _obey(parent: socket.socket, status_fds: dict[int, int]) -> bool:
    """Does what the parent asks; False when it is gone."""
    message, fds, _flags, _address = socket.recv_fds(parent, 64, 3)
    if not message:
        return False
    pipe_fd, board_fd, status_fd = fds
    forker_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        die_with_parent(forker_pid)
        _be_worker(pipe_fd, board_fd)
    os.close(pipe_fd)
    os.close(board_fd)
    if pid > 0:
        status_fds[pid] = status_fd
    else:
        os.close(status_fd)
    with contextlib.suppress(OSError):  # the parent is gone, which the next read says
        parent.send(_INT.pack(pid))
    return True


def _reap(status_fds: dict[int, int], options: int = os.WNOHANG) -> None:
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | options):
            status_fd = status_fds.pop(ended.si_pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with contextlib.suppress(OSError):  # the parent does not want to know
                os.write(status_fd, STATUS.pack(status))
            os.close(status_fd)
            # Not before the parent has been told: until then the pid is this process's (run/child.py).
            os.waitpid(ended.si_pid, 0)


# -- in the worker


def _be_worker(pipe_fd: int, board_fd: int) -> None:
    from loadkit.run.worker import run_worker

    Forker.is_in_worker = True
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The forker's, and those of other workers: a pipe is closed when all its holders have closed it.
    first, second = sorted((pipe_fd, board_fd))
    os.closerange(3, first)
    os.closerange(first + 1, second)
    os.closerange(second + 1, os.sysconf("SC_OPEN_MAX"))
    status = 1
    try:
        status = run_worker(Connection(pipe_fd), board_fd)
    finally:
        # What an app has printed.
        for stream in (sys.stdout, sys.stderr):
            if stream:  # None: closed when the program was started that we are in
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        # The frames above are the forker's.
        os._exit(status)
