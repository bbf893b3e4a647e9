"""The serve end's worker: echo with back-pressure.

A peer that sends faster than it reads fills its socket; then uvloop or asyncio buffers up to the high-water mark and
says pause_writing, and we stop reading from that peer. So a connection costs at most the mark plus one read.

When file descriptors run out, a loop that accepts on would spin: the listener stays readable and each accept fails
(EMFILE). So some are kept in reserve, and a connection that would use them is closed at once and counted.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from typing import Any

from loadkit.engine.aio.probing import Answering
from loadkit.engine.base import Control
from loadkit.engine.descriptors import free_descriptors
from loadkit.engine.probes import HELLO_BYTES
from loadkit.measure.board import OwnError, Slot
from loadkit.measure.tally import FOLD_NS, Tally
from loadkit.plan.model import ServePlan
from loadkit.units import NS_PER_S

__all__ = ["Echo"]

clock = time.monotonic_ns


class EchoConnection(asyncio.Protocol):
    """Writes back what it reads."""

    __slots__ = ("_write", "active_ns", "echo", "transport")

    def __init__(self, echo: Echo) -> None:
        self.echo = echo

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._write = self.transport.write
        self.active_ns = clock()
        self.echo.accepted(self)

    def data_received(self, chunk: bytes) -> None:
        """Echoes."""
        length = len(chunk)
        if length == HELLO_BYTES and self.echo.takes_probe(self, chunk):
            return
        self.echo.received_bytes += length
        self._write(chunk)

    def pause_writing(self) -> None:
        """The peer does not read: neither do we, from it."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has read."""
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self.echo.lost(self, exc)


class IdleEchoConnection(EchoConnection):
    """One that knows when it was last active; only --idle-timeout pays for the clock."""

    __slots__ = ()

    def data_received(self, chunk: bytes) -> None:
        """Echoes, and notes the time."""
        self.active_ns = clock()
        super().data_received(chunk)


class Echo:
    """A worker of the serve end under way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        plan: ServePlan,
        listeners: Sequence[socket.socket],
        slot: Slot,
        control: Control,
        answering: Answering | None = None,
    ) -> None:
        self.loop = loop
        self.plan = plan
        self.listeners = listeners
        self.slot = slot
        self.page = slot.pages[0]
        self.control = control
        self._answering = answering
        self.tally = Tally(slot, 0)
        self.connections: set[EchoConnection] = set()
        self.received_bytes = 0
        self._unsent_bytes = 0
        self._fd_limit = 0
        self._peak = 0
        self._servers: list[asyncio.AbstractServer] = []
        self._stop_at: int | None = None
        self._done: asyncio.Future[None] = loop.create_future()
        # Accepted connections are split evenly between workers by the kernel's hash, so the limit is too.
        most = plan.max_connections
        self._most = None if most is None else -(-most // plan.workers)

    async def run(self) -> None:
        """Serves until told to stop."""
        self.loop.set_exception_handler(self._loop_failed)
        kind = IdleEchoConnection if self.plan.idle_timeout_ns else EchoConnection
        for listener in self.listeners:
            server = await self.loop.create_server(lambda: kind(self), sock=listener, backlog=self.plan.backlog)
            self._servers.append(server)
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
            for connection in list(self.connections):
                connection.transport.abort()
            # The aborted ones report connection_lost in the next turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._publish()
            if self._answering:
                self._answering.close()

    def _heard(self) -> None:
        self.control.hear()
        if self.control.should_leave():
            self._finish()
        elif self.control.should_stop() and self._stop_at is None:
            self._stop_at = clock() + self.plan.grace_ns
            self._close_listeners()
            self._check_stopped()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()

    def _check_stopped(self) -> None:
        if self._stop_at is not None and (not self.connections or clock() >= self._stop_at):
            self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _tick(self) -> None:
        if self._done.done():
            return
        self._publish()
        if self.plan.idle_timeout_ns:
            limit = clock() - self.plan.idle_timeout_ns
            for connection in [one for one in self.connections if one.active_ns <= limit]:
                connection.transport.abort()
        self._check_stopped()
        self.loop.call_later(FOLD_NS / NS_PER_S, self._tick)

    def _publish(self) -> None:
        self.page.add("received_bytes", self.received_bytes)
        self.page.add("sent_bytes", self.received_bytes - self._unsent_bytes)
        self.received_bytes = self._unsent_bytes = 0
        self.slot.set("open", len(self.connections))
        self.slot.set("peak", max(self.slot.get("peak"), self._peak))
        self.tally.fold_cpu(clock())

    def accepted(self, connection: EchoConnection) -> None:
        """Counts a connection, or turns it away when there is no room for it."""
        full = len(self.connections) >= self._fd_limit
        if full or (self._most is not None and len(self.connections) >= self._most):
            self.page.add_error("connect", errno.EMFILE if full else OwnError.AT_LIMIT)
            connection.transport.abort()
            return
        self.connections.add(connection)
        self._peak = max(self._peak, len(self.connections))
        self.page.add("opened")

    def takes_probe(self, connection: EchoConnection, chunk: bytes) -> bool:
        """Whether these bytes made it a probe: it is none of the connections served, and counted apart, from now on."""
        if self._answering is None or not self._answering.takes(connection.transport, chunk):
            return False
        self.connections.discard(connection)
        self.page.add("opened", -1)
        return True

    def lost(self, connection: EchoConnection, exc: Exception | None) -> None:
        """Counts the end of a connection. A reset is how many peers close, so it is closed, and an error of receive."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.page.add("closed")
        # What was handed to the transport and never went out was not sent.
        self._unsent_bytes += connection.transport.get_write_buffer_size()
        if isinstance(exc, OSError) and exc.errno and exc.errno != errno.ECONNRESET:
            self.page.add_error("receive", exc.errno)
        if self._stop_at is not None:
            self._check_stopped()

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop could not accept: out of file descriptors, ours or the system's. It goes on by itself."""
        failure = context.get("exception")
        if isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE):
            self.page.add_error("connect", failure.errno)
        else:
            loop.default_exception_handler(context)
