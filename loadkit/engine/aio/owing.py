"""What a worker keeps for peers that do not read, and how it is bounded.

A transport hands over what it has read, up to 256 KiB, before it is known whether the peer takes its echo. What the
peer's socket does not take is kept, and the peer is not read from until that is sent. Beyond MOST_OWED_BYTES in all,
each connection is read in small pieces, so that one more peer that does not read costs next to nothing.

To change how a connection is read takes 3 us with uvloop and 11 us with asyncio. So of many some are changed at once
and the others in the turns that follow; until its turn, each of these may have one more read of 256 KiB.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from loadkit.engine.base import MOST_OWED_BYTES

__all__ = ["Owing"]

# Read at a time beyond that. 20,000 peers that do not read add 40 MiB to it.
_LITTLE_BYTES = 2048
_CHANGED_A_TURN = 1024


class Connection(Protocol):
    """A connection has to be its transport's asyncio.Protocol."""

    transport: asyncio.Transport

    def data_received(self, chunk: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Owing:
    """How much is kept in all, and how all of a worker's connections are read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: Callable[[], Collection[Connection]]) -> None:
        self._loop = loop
        self._connections = connections
        self._owed: dict[int, int] = {}  # by the id of the connection
        self._bytes = 0
        self._is_short = False
        self._unchanged = deque[Connection]()  # may still be read as they were before
        self._change: asyncio.Handle | None = None  # of more of them, in the next turn
        self.piece = bytearray(_LITTLE_BYTES)

    def begin(self, connection: Connection) -> None:
        """A connection has opened: from now on each byte that its socket does not take pauses it."""
        connection.transport.set_write_buffer_limits(high=0)
        if self._is_short:
            connection.transport.set_protocol(_LittleReads(connection, self.piece))

    def owe(self, connection: Connection) -> None:
        """The peer does not take its echo. It is not read from until it does."""
        connection.transport.pause_reading()
        self._owed[id(connection)] = owed = connection.transport.get_write_buffer_size()
        self._bytes += owed
        if self._bytes > MOST_OWED_BYTES and not self._is_short:
            self._read_all(is_short=True)

    def pay(self, connection: Connection) -> None:
        """The peer has taken all of it, and is read from again."""
        self.forget(connection)
        connection.transport.resume_reading()

    def forget(self, connection: Connection) -> None:
        """The peer has taken all of it, or is gone."""
        self._bytes -= self._owed.pop(id(connection), 0)
        if self._is_short and self._bytes < MOST_OWED_BYTES // 2:
            self._read_all(is_short=False)

    def _read_all(self, is_short: bool) -> None:
        """Has all connections read in small pieces, or as they were."""
        self._is_short = is_short
        self._unchanged = deque(self._connections())
        if self._change is None:
            self._change_some()

    def _change_some(self) -> None:
        for _ in range(min(_CHANGED_A_TURN, len(self._unchanged))):
            connection = self._unchanged.popleft()
            is_little = isinstance(connection.transport.get_protocol(), _LittleReads)
            if is_little != self._is_short and connection in self._connections():
                wanted = _LittleReads(connection, self.piece) if self._is_short else connection
                _change_protocol(connection.transport, wanted)  # type: ignore[arg-type]
        self._change = self._loop.call_soon(self._change_some) if self._unchanged else None


def _change_protocol(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Reads on in the way of the new protocol. uvloop asks a protocol for its way when reading begins."""
    if transport.is_closing():
        return
    was_reading = transport.is_reading()
    transport.pause_reading()
    transport.set_protocol(protocol)
    if was_reading:
        transport.resume_reading()


class _LittleReads(asyncio.BufferedProtocol):
    """Stands before a connection and has it read in pieces, all of which go through one buffer."""

    __slots__ = ("_connection", "_piece")

    def __init__(self, connection: Connection, piece: bytearray) -> None:
        self._connection = connection
        self._piece = piece

    def get_buffer(self, sizehint: int) -> bytearray:
        """Returns the piece."""
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Hands on what came."""
        self._connection.data_received(bytes(self._piece[:nbytes]))

    def pause_writing(self) -> None:
        """Hands it on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Hands it on."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hands it on."""
        self._connection.connection_lost(exc)
