"""The body of a worker process: one thread, one loop, one core.

Workers are forked from a warm, single-threaded process (multiprocessing's forkserver, which has this module and what it
imports loaded), so that a new one shares its pages and starts in milliseconds, and nothing of the parent's threads,
loops or terminal comes along.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from loadkit.engine.registry import get_engine
from loadkit.errors import LoadkitError
from loadkit.host import raise_nofile
from loadkit.measure.board import Board, BoardLayout
from loadkit.plan.model import ServePlan, Shard
from loadkit.run.control import PipeControl

__all__ = ["BoardHandle", "ServeWork", "listen_on", "run_worker"]

_PR_SET_NAME = 15


class BoardHandle:
    """A board on its way to a worker: pickled, it is the layout and a duplicate of the file descriptor."""

    def __init__(self, layout: BoardLayout, fd: int) -> None:
        self.layout = layout
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _received_board, (self.layout, reduction.DupFd(self.fd))

    def open(self) -> Board:
        """Maps the board."""
        return Board(self.layout, self.fd)


def _received_board(layout: BoardLayout, duplicate: Any) -> BoardHandle:
    return BoardHandle(layout, duplicate.detach())


@dataclass(frozen=True)
class ServeWork:
    """Worker `index`'s part of a serve end, once its port is known."""

    plan: ServePlan
    index: int
    core: int | None


def run_worker(work: Shard | ServeWork, board: BoardHandle, pipe: Connection) -> None:
    """Does a shard, or a worker's part of serving, to its end. Exit status 1 when it failed, with the reason sent."""
    # Signals from the terminal reach the whole group; what they mean is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = PipeControl(pipe)
    try:
        _settle_in(work)
        slot = board.open().slots[work.index]
        slot.set("core", -1 if work.core is None else work.core)
        if isinstance(work, Shard):
            get_engine(work.plan.engine).blast(work, slot, control)
        else:
            listeners = listen_on(work.plan.addresses, work.plan.port, work.plan.backlog)
            get_engine(work.plan.engine).serve(work.plan, listeners, slot, control)
    except EOFError:
        return
    except LoadkitError as error:
        _give_up(control, str(error))
    except OSError as error:
        _give_up(control, f"{error.strerror or error} ({type(error).__name__})")
    except BaseException:
        _give_up(control, traceback.format_exc())


def _give_up(control: PipeControl, text: str) -> None:
    with contextlib.suppress(OSError):
        control.failed(text)
    os._exit(1)


def _settle_in(work: Shard | ServeWork) -> None:
    raise_nofile()
    end = "blast" if isinstance(work, Shard) else "serve"
    # The name that top and ps show, 15 bytes at most (prctl(2)).
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"loadkit-{end}-{work.index}".encode()[:15], 0, 0, 0)
    if work.core is not None:
        os.sched_setaffinity(0, {work.core})


def listen_on(addresses: Sequence[str], port: int, backlog: int | None) -> list[socket.socket]:
    """Returns SO_REUSEPORT sockets on the port of each address, listening if there is a backlog. Raises OSError."""
    listeners: list[socket.socket] = []
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((address, port))
            port = listener.getsockname()[1]
            if backlog is not None:
                listener.listen(backlog)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
