"""The serve end's echo, with back-pressure.

A peer that sends faster than it reads fills its socket. Then uvloop or asyncio keeps the rest and calls pause_writing,
and the worker stops reading from that peer. So a connection costs one read at most; owing.py bounds all of them.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque

import numpy as np

from loadkit.engine.aio.connect import has_events
from loadkit.engine.aio.context import ServeContext
from loadkit.engine.aio.owing import Owing
from loadkit.engine.aio.serving import Serving
from loadkit.engine.probes import HELLO_BYTES
from loadkit.measure.tally import record
from loadkit.measure.tcp_info import last_moved_ns

__all__ = ["Echo"]

clock = time.monotonic_ns

# Connections closed for being idle in one turn of the loop: 100,000 at once would stop it for a second.
_IDLE_A_TURN = 256


class EchoConnection(asyncio.Protocol):
    """Writes back what it reads."""

    __slots__ = ("_write", "active_ns", "echo", "echoed_bytes", "transport")

    def __init__(self, echo: Echo) -> None:
        self.echo = echo

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._write = self.transport.write
        self.active_ns = clock()
        self.echoed_bytes = 0
        self.echo.accepted(self)

    def data_received(self, chunk: bytes) -> None:
        """Echoes."""
        length = len(chunk)
        if length == HELLO_BYTES:
            echoed = self.echo.greet(self, chunk)
            if echoed is None:
                return
            chunk = echoed
        self.echo.received_bytes += length
        self.echoed_bytes += length
        self._write(chunk)

    def pause_writing(self) -> None:
        """The peer does not read: neither do we, from it."""
        self.echo.owing.owe(self)

    def resume_writing(self) -> None:
        """The peer has read."""
        self.echo.owing.pay(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self.echo.lost(self, exc)


class IdleEchoConnection(EchoConnection):
    """One that notes when it was last active. Reading the clock costs something, so it needs --idle-timeout."""

    __slots__ = ()

    def data_received(self, chunk: bytes) -> None:
        """Echoes, and notes the time."""
        self.active_ns = clock()
        super().data_received(chunk)


def _last_active(transport: asyncio.Transport) -> int:
    """Returns when bytes of the connection last moved in either direction, as the kernel reports it.

    That is now if the connection waits for this worker, as every one does after a standstill that was not idle.
    """
    fd, now = transport.get_extra_info("socket").fileno(), clock()
    events = select.POLLIN if transport.is_reading() else 0
    if transport.get_write_buffer_size():
        events |= select.POLLOUT
    return now if has_events(fd, events) else last_moved_ns(fd, now)


class Echo(Serving):
    """A worker that echoes. `kind` is what its connections are, if not plain echoes."""

    def __init__(self, context: ServeContext, kind: type[EchoConnection] | None = None) -> None:
        super().__init__(context)
        self._answering = context.answering
        self._kind = kind or (IdleEchoConnection if context.plan.idle_timeout_ns else EchoConnection)
        self.connections: set[EchoConnection] = set()
        self.owing = Owing(self.loop, lambda: self.connections)
        self._idle = deque[EchoConnection]()  # to be closed if they still are
        self.received_bytes = 0
        self._unsent_bytes = 0
        self._shares: list[
            int
        ] = []  # bytes sent back on each connection that has ended since `publish` was last called

    def protocol(self) -> EchoConnection:
        """Returns one that echoes."""
        return self._kind(self)

    def abort_all(self) -> None:
        """Aborts every connection."""
        for connection in list(self.connections):
            connection.transport.abort()

    def probe_count(self) -> int:
        """Returns how many probes there are."""
        return self._answering.count if self._answering else 0

    async def close(self) -> None:
        """Closes the probes."""
        if self._answering:
            self._answering.close()

    def publish(self) -> None:
        """Brings the board up to date, and closes connections that are idle."""
        self.page.add("received_bytes", self.received_bytes)
        self.page.add("sent_bytes", self.received_bytes - self._unsent_bytes)
        self.received_bytes = self._unsent_bytes = 0
        if self._shares:
            record(self.page, "per_connection", np.array(self._shares, np.int64))
            self._shares.clear()
        super().publish()
        if self._answering:
            self._answering.end_idle()
        if self.plan.idle_timeout_ns and not self._idle:
            limit = clock() - self.plan.idle_timeout_ns
            self._idle.extend(one for one in self.connections if one.active_ns <= limit)
            self._end_idle()

    def _end_idle(self) -> None:
        """Closes some of those that are idle, and the others in the next turn."""
        limit = clock() - (self.plan.idle_timeout_ns or 0)
        for _ in range(min(_IDLE_A_TURN, len(self._idle))):
            connection = self._idle.popleft()
            if connection not in self.connections:
                continue
            connection.active_ns = max(connection.active_ns, _last_active(connection.transport))
            if connection.active_ns <= limit:
                connection.transport.abort()
        if self._idle:
            self.loop.call_soon(self._end_idle)

    def accepted(self, connection: EchoConnection) -> None:
        """Takes a connection in, or turns it away when there is no room for it."""
        if self.has_room(connection.transport):
            self.connections.add(connection)
            self.owing.begin(connection)
            self.count_opened()

    def greet(self, connection: EchoConnection, chunk: bytes) -> bytes | None:
        """Returns what to send back; None if it is a probe, which is not one of the served connections from now on."""
        echoed = self._answering.greet(connection.transport, chunk) if self._answering else chunk
        if echoed is None:
            self.connections.discard(connection)
            self.page.add("opened", -1)
        return echoed

    def lost(self, connection: EchoConnection, exc: Exception | None) -> None:
        """Counts the end of a connection."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.owing.forget(connection)
        # What was handed to the transport and never went out was not sent.
        unsent = connection.transport.get_write_buffer_size()
        self._unsent_bytes += unsent
        self._shares.append(max(0, connection.echoed_bytes - unsent))
        self.count_closed(exc)
