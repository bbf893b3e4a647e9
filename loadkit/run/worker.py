"""The body of a worker process, which run/forker.py forks: one thread, one loop, one core."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

import msgspec

from loadkit.endpoint import family_of, sockaddr_of
from loadkit.engine.aio.importing import import_app, said_in_a_line
from loadkit.engine.registry import get_engine
from loadkit.engine.settings import apply_settings
from loadkit.errors import LoadkitError, PreflightError
from loadkit.host import raise_nofile
from loadkit.imports import shadow_of
from loadkit.limits import limit_of, refusal
from loadkit.log import log
from loadkit.measure.board import Board
from loadkit.measure.settings import Value
from loadkit.plan.split import ServeShard, Shard
from loadkit.reserve import Reserve
from loadkit.run.control import PipeControl
from loadkit.run.pool import attach
from loadkit.run.signals import ignore

__all__ = ["listen_on", "name_process", "run_worker"]


def run_worker(pipe: Connection, board_fd: int, *more: int) -> int:
    """Does the work that the parent sends over the pipe: a shard, or a part of serving.

    Of a shard whose messages are in a pool, `more` has the pool (run/pool.py); of a part of serving, the listeners that
    all workers share (run/places.py). Without these it listens on sockets of its own.
    Returns the exit status. If it is 1, the reason was sent to the parent.
    """
    control = PipeControl(pipe)
    reserve = None  # given back when there is no more memory, so that this can be reported
    try:
        reserve = Reserve()
        work, layout = pipe.recv()
        if isinstance(work, Shard) and more:
            work = msgspec.structs.replace(work, script=attach(more[0]))
        _do(work, Board(layout, board_fd), control, more)
        return 0
    except EOFError:
        return 0
    except BaseException as error:
        if reserve:
            reserve.give_back()
        reason = _say(error)
    with contextlib.suppress(OSError):
        control.failed(reason)
    return 1


def _say(error: BaseException) -> str:
    """Returns in one line why a worker could not go on. A bug is logged as well."""
    if _is_for_memory(error):
        return f"it could not get the memory that it needs; {limit_of(MemoryError())}"
    if isinstance(error, LoadkitError):
        return str(error)
    if isinstance(error, OSError):
        return str(refusal(error, "go on"))
    if isinstance(error, ImportError) and (shadow := shadow_of(error)):
        return str(shadow)
    log.error("a worker failed", exc_info=error)
    return said_in_a_line(error)


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is about memory."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        error = error.__cause__ or error.__context__
    return False


def _do(work: Shard | ServeShard, board: Board, control: PipeControl, more: Sequence[int]) -> None:
    _settle_in(work)
    slot = board.slot(work.index)
    slot.set("core", -1 if work.core is None else work.core)
    if isinstance(work, Shard):
        ignore()
        before = board.slot(work.index - work.ramp.lanes) if work.connects_before else None
        get_engine(work.engine).blast(work, slot, control, before)
    else:
        # An app is imported first, and the engine listens once it has been tried: no peer connects to one that fails.
        if work.plan.app:
            import_app(work.plan.app)
        else:
            ignore()
        listeners = [socket.socket(fileno=fd) for fd in more] or listen_on(
            work.plan.addresses, work.port, None if work.plan.app else work.plan.backlog
        )
        get_engine(work.plan.engine).serve(work.plan, listeners, slot, control)


def _settle_in(work: Shard | ServeShard) -> None:
    raise_nofile()
    end = "blast" if isinstance(work, Shard) else "serve"
    name_process(f"loadkit-{end}-{work.index}")
    if work.core is not None:
        try:
            os.sched_setaffinity(0, {work.core})
        except OSError as error:
            raise PreflightError(
                f"it cannot be pinned to core {work.core}: {error.strerror}; a container's cpuset or seccomp profile "
                f"may be in the way (`loadkit doctor` says more): use --no-pin"
            ) from None


def name_process(name: str) -> None:
    """Sets the name that top and ps show, cut to 15 bytes (proc(5))."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb", buffering=0) as comm:  # noqa: PTH123 - fewer pages
        comm.write(name.encode())


def listen_on(
    addresses: Sequence[str], port: int, backlog: int | None, given: Mapping[str, Value] | None = None
) -> list[socket.socket]:
    """Returns SO_REUSEPORT sockets on the port of each address, listening if there is a backlog. Raises OSError."""
    listeners: list[socket.socket] = []
    try:
        for address in addresses:
            listener = socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(sockaddr_of(address, port))
            port = listener.getsockname()[1]
            if given:  # before listen(2): what is accepted inherits them
                apply_settings(listener, given)
            if backlog is not None:
                listener.listen(backlog)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
