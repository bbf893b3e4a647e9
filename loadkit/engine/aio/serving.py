"""A worker of the serve end, whatever it does with its connections: from its listeners to its last connection.

When file descriptors run out, a loop that accepts would spin: the listener stays readable and each accept fails
(EMFILE). So some are kept in reserve. A connection that would need them is closed at once and counted.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import errno
import socket
import time
from collections import deque
from collections.abc import Iterator, Sized
from typing import Any

from loadkit.engine.aio.context import ServeContext
from loadkit.engine.aio.shared import SharedListener
from loadkit.engine.descriptors import free_descriptors
from loadkit.engine.listening import end_connects
from loadkit.engine.settings import apply_settings
from loadkit.log import log
from loadkit.measure.names import OwnError
from loadkit.measure.settings import note_settings
from loadkit.measure.tally import FOLD_NS, Tally
from loadkit.units import NS_PER_S

__all__ = ["Serving"]

clock = time.monotonic_ns

_TURNS_UNTIL_MADE = 3
_ACCEPTS_A_TURN = 256  # native/serve.h


class Serving(abc.ABC):
    """Accepts, counts, and ends when it is told to. `connections` are the accepted ones that are open."""

    connections: Sized

    def __init__(self, context: ServeContext) -> None:
        self.loop = loop = context.loop
        self.plan = plan = context.plan
        self.listeners = context.listeners
        self.slot = slot = context.slot
        self.page = slot.pages[0]
        self.control = context.control
        self.tally = Tally(slot, 0)
        self._sets_sockets, self._has_noted = bool(plan.sockets), False
        self._fd_limit = 0
        self._peak = 0
        self._epoll_fd = context.epoll_fd
        self._servers: list[asyncio.AbstractServer | SharedListener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = deque[socket.socket]()  # accepted at the stop, and not yet taken in
        self._stopping: asyncio.Task[None] | None = None
        self._has_all = False  # no connection is to come any more
        self._stop_at: int | None = None
        self._done: asyncio.Future[None] = loop.create_future()

    # -- what becomes of a connection

    @abc.abstractmethod
    def protocol(self) -> asyncio.BaseProtocol:
        """Returns the protocol of a connection that has come."""

    @abc.abstractmethod
    def abort_all(self) -> None:
        """Aborts every connection that is open."""

    def unfinished(self) -> int:
        """Returns how many connections are left to wait for."""
        return len(self.connections)

    def probe_count(self) -> int:
        """Returns how many probes there are beside the connections. They count against the same limits."""
        return 0

    @abc.abstractmethod
    async def close(self) -> None:
        """Closes what it has beside connections, at the very end."""

    # -- its life

    async def run(self) -> None:
        """Serves until told to stop."""
        self.loop.set_exception_handler(self.loop_failed)
        for listener in self.listeners:
            self._servers.append(await self._listen(listener))
        self._fd_limit = free_descriptors()
        self.tally.begin_phase(0, 0)
        self.control.ready()
        self.loop.add_reader(self.control.fileno(), self._heard)
        self._tick()
        try:
            await self._done
        finally:
            self.loop.remove_reader(self.control.fileno())
            self._close_listeners()
            self._drop_waiting()
            self.page.add_error("close", OwnError.CUT, self.unfinished())
            self.abort_all()
            # The aborted ones report connection_lost in the next turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.publish()
            await self.close()

    async def _listen(self, listener: socket.socket) -> asyncio.AbstractServer | SharedListener:
        if listener.family == socket.AF_UNIX:
            shared = SharedListener(self.loop, listener, self._epoll_fd, self._begin_to_take_in, self._note_failure)
            await shared.begin()
            return shared
        # asyncio accepts a backlog in one turn, uvloop one connection. The second listen(2) only sets the backlog.
        few = min(_ACCEPTS_A_TURN, self.plan.backlog)
        server = await self.loop.create_server(self.protocol, sock=listener, backlog=few)
        listener.listen(self.plan.backlog)
        return server

    def _begin_to_take_in(self, sock: socket.socket) -> None:
        task = self.loop.create_task(self._take_in(sock))
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _take_in(self, sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(self.protocol, sock)
        except OSError as error:  # it is gone again
            self._note_failure(error)

    def _note_failure(self, error: OSError) -> None:
        """Counts what kept a connection from being taken in."""
        self.page.add_error("connect", error.errno or OwnError.UNKNOWN)

    def _heard(self) -> None:
        self.control.hear()
        if self.control.should_leave():
            self._finish()
        elif self.control.should_stop() and self._stopping is None:
            end_connects(self.listeners)
            self._stop_at = clock() + self.plan.grace_ns
            self._stopping = self.loop.create_task(self._stop())

    def _accept_waiting(self) -> Iterator[socket.socket]:
        """Yields what waits in the accept queues."""
        for listener in self.listeners:
            while True:
                try:
                    sock, _address = listener.accept()
                except BlockingIOError:
                    break
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    self._note_failure(error)
                    break
                sock.setblocking(False)
                yield sock

    async def _stop(self) -> None:
        """Takes in the last connections: their peers see them as connected already."""
        await asyncio.sleep(min(self.plan.settle_ns, self.plan.grace_ns) / NS_PER_S)
        self._waiting += self._accept_waiting()
        while self._waiting:
            await self._take_in(self._waiting.popleft())
        # Connections that the loop has accepted itself are made within two turns, by a task or a callback each. asyncio
        # loses them if the server is closed before that (Server._attach).
        for _ in range(_TURNS_UNTIL_MADE):
            await asyncio.sleep(0)
        self._close_listeners()
        self._has_all = True
        self._check_stopped()

    def _drop_waiting(self) -> None:
        """Closes accepted connections that are not taken in any more."""
        if self._stopping:
            self._stopping.cancel()
        for sock in self._waiting:
            self.page.add_error("close", OwnError.CUT)
            sock.close()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()

    def _check_stopped(self) -> None:
        if self._stop_at is None or not self._has_all:
            return
        if not self.unfinished() or clock() >= self._stop_at:
            self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _tick(self) -> None:
        if self._done.done():
            return
        self.publish()
        self._check_stopped()
        self.loop.call_later(FOLD_NS / NS_PER_S, self._tick)

    def publish(self) -> None:
        """Brings the board up to date."""
        self.slot.set("open", len(self.connections))
        self.slot.set("peak", max(self.slot.get("peak"), self._peak))
        self.tally.fold_cpu(clock())

    def _settle_socket(self, sock: socket.socket) -> None:
        """Sets the requested options on a connection's socket: the transport has switched Nagle's algorithm off."""
        with contextlib.suppress(OSError):  # gone by now
            if self._sets_sockets:
                apply_settings(sock, self.plan.sockets)
            if not self._has_noted:
                note_settings(self.slot, sock)
                self._has_noted = True

    # -- counting

    def has_room(self, transport: asyncio.BaseTransport) -> bool:
        """Whether there is room for one more connection. If not, it is turned away and counted as that."""
        self._settle_socket(transport.get_extra_info("socket"))
        full = len(self.connections) + self.probe_count() >= self._fd_limit
        if full or (self.slot.tokens and not self.slot.tokens.take()):
            self.page.add_error("connect", errno.EMFILE if full else OwnError.AT_LIMIT)
            transport.abort()  # type: ignore[attr-defined]
            return False
        return True

    def count_opened(self) -> None:
        """Counts the connection that was just taken in."""
        self._peak = max(self._peak, len(self.connections))
        self.page.add("opened")

    def count_closed(self, exc: BaseException | None) -> None:
        """Counts the end of a connection. Many peers close by a reset, so that is no error."""
        if self.slot.tokens:
            self.slot.tokens.give()
        self.page.add("closed")
        if isinstance(exc, OSError) and exc.errno and exc.errno != errno.ECONNRESET:
            self.page.add_error("receive", exc.errno)
        if not self.connections:
            self._check_stopped()

    def loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop could not accept: out of file descriptors, ours or the system's. It goes on by itself."""
        failure = context.get("exception")
        if isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE):
            self.page.add_error("connect", failure.errno)
        else:
            # Not the loop's own handler: what it writes quotes an app's objects as they are.
            log.error("%s", context.get("message", "the loop failed"), exc_info=failure)
