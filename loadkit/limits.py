"""What the kernel refuses this process, in one line: what failed, the limit in the way, and how far it reaches.

The limits are those of getrlimit(2). `ulimit` and its letter are how a shell calls them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from loadkit.errors import PreflightError
from loadkit.units import format_size

__all__ = [
    "Ulimit",
    "limit_of",
    "of_cpu",
    "of_memory",
    "open_descriptors",
    "refusal",
    "require_memory",
    "setting_up",
    "thread_starts",
    "ulimits",
    "within_memory",
]

# What a process needs to import numpy with OpenBLAS, which ends it if it has less; and what one of the smallest run
# needs. 112 and 172 MiB of address space sufficed, 60 and 112 MiB of data (CPython 3.11, numpy 2.4, uvloop 0.23).
TO_READ_BYTES = {resource.RLIMIT_AS: 128 * 2**20, resource.RLIMIT_DATA: 72 * 2**20}
TO_RUN_BYTES = {resource.RLIMIT_AS: 200 * 2**20, resource.RLIMIT_DATA: 128 * 2**20}
# Errors of this machine, whoever is spoken to.
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_MEMORY = {resource.RLIMIT_AS: "-v", resource.RLIMIT_DATA: "-d"}
_MOST_LOOKED_AT = 4096  # descriptors, where /proc does not list them: new ones have the lowest free numbers


class Ulimit(NamedTuple):
    """A limit of this process in bytes, by the letter that `ulimit` has for it."""

    letter: str  # v: address space, d: data, f: size of a file
    soft: int
    hard: int | None  # None: unlimited


def ulimits() -> tuple[Ulimit, ...]:
    """Returns those of the limits of address space, data and the size of a file that are set."""
    found = []
    for letter, number in (("v", resource.RLIMIT_AS), ("d", resource.RLIMIT_DATA), ("f", resource.RLIMIT_FSIZE)):
        soft, hard = resource.getrlimit(number)
        if soft != resource.RLIM_INFINITY:
            found.append(Ulimit(letter, soft, None if hard == resource.RLIM_INFINITY else hard))
    return tuple(found)


@contextlib.contextmanager
def setting_up(what: str) -> Iterator[None]:
    """Turns an error of the system inside into a PreflightError: `cannot {what}: Too many open files; …`."""
    try:
        yield
    except (OSError, MemoryError) as error:
        raise refusal(error, what) from None


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Turns a MemoryError inside, wherever it comes from, into a PreflightError that names the limit."""
    try:
        yield
    except MemoryError as error:
        raise PreflightError(f"out of memory: {limit_of(error)}") from None


@contextlib.contextmanager
def thread_starts() -> Iterator[None]:
    """Turns the RuntimeError of a thread that cannot be started into a PreflightError."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        stack = _size(resource.getrlimit(resource.RLIMIT_STACK)[0])
        raise PreflightError(
            f"cannot start a thread: {_of_processes()}; its stack takes `ulimit -s` of address space ({stack})"
        ) from None


def refusal(error: OSError | MemoryError, what: str) -> PreflightError:
    """Returns the error in one line that says what could not be done, and which limit is in the way if one is."""
    limit = limit_of(error)
    return PreflightError(f"cannot {what}: {_said(error)}" + (f"; {limit}" if limit else ""))


def limit_of(error: OSError | MemoryError) -> str:
    """Returns the limit behind an error, what it is set to and what raises it; empty if no limit causes it."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno
    if number == errno.EMFILE:
        return _of_files()
    if number == errno.ENFILE:
        return "the whole machine is out of open files: raise that with sysctl -w fs.file-max="
    if number == errno.EAGAIN:
        return _of_processes()
    if number in (errno.ENOMEM, errno.ENOBUFS):
        return of_memory() or (
            "the machine, or the control group, has no memory left for it (`loadkit doctor` says how much there is); "
            "vm.overcommit_memory=2 limits it too"
        )
    if number == errno.EFBIG:
        most = _size(resource.getrlimit(resource.RLIMIT_FSIZE)[0])
        return f"`ulimit -f` is {most}, and limits shared memory too: raise it"
    if number == errno.ENOSPC:
        return "its file system is full"
    if number in (errno.ENOSYS, errno.EPERM):
        return "a filter of system calls (seccomp) may refuse it: see `loadkit doctor`"
    return ""


def require_memory(needs: Mapping[int, int] = TO_RUN_BYTES) -> None:
    """Raises PreflightError if a limit of this process leaves less memory than `needs`: limit -> bytes.

    Called before numpy is imported.
    """
    for limit, least in needs.items():
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and soft < least:
            raise PreflightError(
                f"`ulimit {_MEMORY[limit]}` is {_size(soft)} per process, and each process of loadkit needs "
                f"{_size(least)}: raise it, or set it to unlimited"
            )


def open_descriptors() -> int:
    """Returns how many file descriptors this process has open; without /proc, how many below the first 4,096."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - less the one that lists them
    except OSError:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = _MOST_LOOKED_AT if limit == resource.RLIM_INFINITY else min(limit, _MOST_LOOKED_AT)
        return sum(map(_is_open, range(most)))


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def _said(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}: {error.filename}" if error.filename else said


def _of_files() -> str:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"this process may have {soft:,} files open (`ulimit -n`) and has {open_descriptors():,}: raise the limit"


def _of_processes() -> str:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    most = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    return (
        f"`ulimit -u` ({most} per user), the control group's pids.max, kernel.pid_max and kernel.threads-max limit the "
        f"number of processes and threads: see `loadkit doctor`"
    )


def of_memory(pid: int | None = None) -> str:
    """Returns the limits of a process's memory, as far as they are set; empty if none is.

    The process is this one, or another one of this user, which may be dead and not yet waited for. Raises OSError if it
    is gone.
    """
    soft = {limit: (resource.prlimit(pid, limit) if pid else resource.getrlimit(limit))[0] for limit in _MEMORY}
    set_ = [
        f"`ulimit {letter}` is {_size(soft[limit])}"
        for limit, letter in _MEMORY.items()
        if soft[limit] != resource.RLIM_INFINITY
    ]
    return f"{' and '.join(set_)} per process: raise it, or use fewer connections or workers" if set_ else ""


def of_cpu(pid: int) -> str:
    """Returns the limit of a process's CPU time; empty if none is set. Raises OSError as `of_memory` does."""
    soft = resource.prlimit(pid, resource.RLIMIT_CPU)[0]
    return "" if soft == resource.RLIM_INFINITY else f"`ulimit -t` is {soft:,} s per process: raise it"


def _size(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else format_size(limit)
