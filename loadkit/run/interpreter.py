"""The Python that workers come from: the one that runs this program, started once more as this one was.

It says over a socket that it is ready, or why it cannot be: READY, or FAILED and the reason. What is written to its
standard error until then is read here, and its last line is quoted if it says neither; no noise of its start, such as
`Invalid -W option ignored`, is printed twice.

A program that is no Python, or that starts itself, would start a process that starts a process and so on. So what is
started gets MARK in its environment, which only run/forker.py takes away: a program that finds it there was started in
the place of Python, and refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import loadkit
from loadkit.errors import PreflightError
from loadkit.limits import of_memory, setting_up
from loadkit.run.signals import Interrupts, hold, name_of
from loadkit.standard_streams import fill

__all__ = ["FAILED", "READY", "Interpreter", "restore"]

MARK = "LOADKIT_FORKER"
READY, FAILED = b"R", b"E"
# Until it has imported what workers need: 0.3 s on an idle machine.
_READY_S = 60.0
_GONE_S = 5.0  # until a process whose socket is closed can be waited for
_LEAVE_S = 2.0  # until one that has nothing left to do but end is taken for one that hangs
_QUOTED_BYTES, _QUOTED_CHARACTERS = 4096, 160

_STARTED_FROM = "workers are started from the Python in sys.executable"
_WAY_OUT = "run this program with an installed Python, or set sys.executable to the one that has loadkit"

# What has an interpreter print lines of its own, or go on after its program: for the parent alone.
_NOISY = ("PYTHONDUMPREFS", "PYTHONINSPECT", "PYTHONMALLOCSTATS", "PYTHONPROFILEIMPORTTIME", "PYTHONVERBOSE")
# The parent's path, and the very loadkit that it runs: another may come first on that path by now.
_START = """\
import sys
version, fd, parent_pid, stderr_fd, changed, package, *sys.path = sys.argv[1:]
own = sys.version.split()[0]
if own != version:
    sys.exit("it is Python " + own + ", and this program runs in Python " + version)
if package:
    import importlib.util
    spec = importlib.util.spec_from_file_location("loadkit", package)
    sys.modules["loadkit"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["loadkit"])
from loadkit.run.forker import main
main(int(fd), int(parent_pid), int(stderr_fd), changed)
"""


class Interpreter:
    """A Python that has been started, from its parent's side. Raises PreflightError if it cannot be.

    A signal, which `interrupts` has, ends the wait for it.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        executable = _find_executable()
        environment, changed = _environment()
        self.is_ready = False
        with setting_up("start Python, which workers come from"), _streams_taken(), contextlib.ExitStack() as undo:
            self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self.socket.close)
            with theirs, contextlib.ExitStack() as passed:
                said, stderr = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                passed.callback(os.close, stderr)
                undo.callback(os.close, said)
                os.set_blocking(stderr, True)
                passed.callback(os.close, own_stderr := _duplicate_stderr())
                version = sys.version.split()[0]
                arguments = [version, str(theirs.fileno()), str(os.getpid()), str(own_stderr), changed, _package()]
                self.process = _start(
                    [executable, *_flags(), "-c", _START, *arguments, *sys.path],
                    stderr,
                    environment,
                    [theirs.fileno(), own_stderr],
                )
            self._said_fd = said
            undo.pop_all()

    def wait_ready(self) -> None:
        """Returns once it is ready, at once the second time. Raises PreflightError if it cannot be, and Interrupted."""
        if self.is_ready:
            return
        deadline, said, watched = time.monotonic() + _READY_S, b"", {self.socket.fileno(), self._said_fd}
        while True:
            ready = self._interrupts.wait([*watched], max(0.0, deadline - time.monotonic()))
            self._interrupts.check()
            if self._said_fd in ready:
                part = _read(self._said_fd)
                said = (said + part)[-_QUOTED_BYTES:]
                if not part:
                    watched.remove(self._said_fd)
            if self.socket.fileno() in ready:
                break
            # A wait that ends before was ended by a signal that the program around us has a use for.
            if not ready and time.monotonic() >= deadline:
                raise _not_ready(f"is not ready after {_READY_S:.0f} s", said)
        answer = self.socket.recv(64 * 1024)
        if answer[:1] == FAILED:
            raise PreflightError(f"{_STARTED_FROM}, {sys.executable!r}: {answer[1:].decode()}")
        if answer != READY:
            end = say_end(self.process)
            raise _not_ready(end, said + _read(self._said_fd))
        self.is_ready = True
        self._forget_said()

    def close(self) -> None:
        """Ends it: it does when its socket closes. What is not ready may be another program, and is killed."""
        self.socket.close()
        self._forget_said()
        try:
            self.process.wait(_LEAVE_S if self.is_ready else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _forget_said(self) -> None:
        if self._said_fd >= 0:
            os.close(self._said_fd)
            self._said_fd = -1


def say_end(process: subprocess.Popen[bytes]) -> str:
    """Says how it ended, as far as that is known: it is about to be gone, or was when its socket closed."""
    try:
        status = process.wait(_GONE_S)
    except subprocess.TimeoutExpired:
        return "closed its socket, and did not say why"
    if status == -signal.SIGKILL:
        return "was killed by SIGKILL: by another process, or by the kernel because memory ran out (see `dmesg`)"
    if status < 0:
        return f"was killed by {name_of(-status)}"
    return f"ended with exit status {status}"


def restore(changed: str) -> None:
    """Gives this process, which was started so, the environment that its parent has."""
    for name, value in json.loads(changed).items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _find_executable() -> str:
    """Returns the file of the Python that runs this program. Raises PreflightError if there is none."""
    if MARK in os.environ:
        raise _no_executable("it starts this program, which was started in the place of Python")
    if getattr(sys, "frozen", False):
        raise _no_executable("this program is frozen (sys.frozen), and is no Python")
    if not sys.executable:
        raise _no_executable("it is empty, as in a program that has Python built in")
    return sys.executable


def _start(
    command: list[str], stderr: int, environment: dict[str, str], pass_fds: list[int]
) -> subprocess.Popen[bytes]:
    try:
        with hold():
            return subprocess.Popen(  # noqa: S603 - this very Python
                command, stdin=subprocess.DEVNULL, stderr=stderr, env=environment, pass_fds=pass_fds
            )
    except OSError as error:
        if error.filename == command[0]:
            raise _no_executable(os.strerror(error.errno or 0)) from None
        raise


def _no_executable(why: str) -> PreflightError:
    return PreflightError(f"{_STARTED_FROM}, {sys.executable!r}: {why}; {_WAY_OUT}")


def _not_ready(end: str, said: bytes) -> PreflightError:
    lines = said.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    quoted = f" ({last[:_QUOTED_CHARACTERS]})" if last else ""
    return PreflightError(
        f"{_STARTED_FROM}, {sys.executable!r}: what was started {end}{quoted}; {of_memory() or _WAY_OUT}"
    )


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 64 * 1024)
    except BlockingIOError:
        return b""


@contextlib.contextmanager
def _streams_taken() -> Iterator[None]:
    """While entered, this program has all three standard streams, for what it starts."""
    filled = fill()
    try:
        yield
    finally:
        for fd in filled:
            os.close(fd)


def _duplicate_stderr() -> int:
    """Returns another number of what a program that is started has as standard error.

    That is the null device if the number is taken by a file that is closed on exec: this program has closed its own.
    """
    return os.dup(2) if os.get_inheritable(2) else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _package() -> str:
    """Returns the file of this loadkit; empty if it is in an archive, where the path leads."""
    file = loadkit.__file__ or ""
    return file if Path(file).is_file() else ""


def _environment() -> tuple[dict[str, str], str]:
    """Returns the forker's environment, and what `restore` undoes there."""
    environment, former = dict(os.environ), dict[str, str | None]()
    wanted: dict[str, str | None] = dict.fromkeys(_NOISY)
    # A worker is one thread. numpy's OpenBLAS starts one more for each core of every process that imports it.
    wanted |= {MARK: "1", "OPENBLAS_NUM_THREADS": environment.get("OPENBLAS_NUM_THREADS", "1")}
    for name, value in wanted.items():
        if environment.get(name) == value:
            continue
        former[name] = environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment, json.dumps(former)


def _flags() -> list[str]:
    """Returns the options that this Python was started with, except those that make it print, or end otherwise."""
    own = sys.flags
    letters = {
        "I": own.isolated,
        "E": own.ignore_environment and not own.isolated,
        "s": own.no_user_site and not own.isolated,
        "S": own.no_site,
        "B": own.dont_write_bytecode,
        "O" * own.optimize: own.optimize,
    }
    options = {name: sys._xoptions[name] for name in ("dev", "utf8") if name in sys._xoptions}
    return [
        *(f"-{letter}" for letter, is_set in letters.items() if is_set),
        *(f"-W{option}" for option in sys.warnoptions),
        *(f"-X{name}" if value is True else f"-X{name}={value}" for name, value in options.items()),
    ]
