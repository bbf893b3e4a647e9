"""A worker that runs a user's app instead of the echo: the app's protocol, with loadkit's listeners and counters.

The loop calls the app's protocol directly. Its class is replaced by a subclass that sees connection_made and
connection_lost, twice in a connection's life. Bytes are not counted: they do not pass through loadkit's code.
"""

from __future__ import annotations

import asyncio
import errno
import traceback
import types
from typing import Any

from loadkit.engine.aio.context import ServeContext
from loadkit.engine.aio.importing import import_app, make_protocol, protocol_factory
from loadkit.engine.aio.serving import Serving
from loadkit.errors import AppError
from loadkit.log import log
from loadkit.measure.names import OwnError
from loadkit.plan.app import AppSpec

__all__ = ["AppServing"]

# The most failures that are shown, each with its place in the code.
_MOST_SHOWN = 20
# These do not count as failures of an app. A read or a write raises them when the peer resets, as many peers do to
# close, and few apps catch them. At the end of the worker the app is cancelled.
_ENDED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, asyncio.CancelledError)
# How long tasks of the app that were cancelled may take to end.
_CANCEL_S = 1.0


class AppServing(Serving):
    """A worker that runs an app. Raises AppError from `run` when the app cannot serve a connection."""

    def __init__(self, spec: AppSpec, context: ServeContext) -> None:
        super().__init__(context)
        self._spec = spec
        self._factory = protocol_factory(import_app(spec))
        self._counted: dict[type, type[asyncio.BaseProtocol]] = {}
        self._counting: set[type] = set()
        # By the id of the protocol, which lives as long as its transport: it need not be hashable.
        self.connections: dict[int, asyncio.Transport] = {}
        self._shown: set[tuple[object, ...]] = set()

    async def run(self) -> None:
        """Tries the app once, without a connection, then serves until told to stop."""
        self._count(make_protocol(self._spec, self._factory))
        await super().run()

    def protocol(self) -> asyncio.BaseProtocol:
        """Returns a protocol of the app; if the app fails to make one, a protocol that closes the connection."""
        try:
            protocol = make_protocol(self._spec, self._factory)
            self._count(protocol)
        except AppError as error:
            self._failed(error.__cause__ or error)
            return _Closing()
        return protocol

    def abort_all(self) -> None:
        """Aborts every connection."""
        for transport in list(self.connections.values()):
            transport.abort()

    def unfinished(self) -> int:
        """Returns how many connections are open, or are closing with bytes left to send.

        loadkit does not see the end of one that the app gave to another protocol (transport.set_protocol).
        """
        return sum(not one.is_closing() or one.get_write_buffer_size() > 0 for one in self.connections.values())

    async def close(self) -> None:
        """Cancels what the app still runs, as asyncio.run does at its end."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for one in left:
            one.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCEL_S)
        await self.loop.shutdown_asyncgens()

    def made(self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> bool:
        """Takes a connection in; returns False if it was turned away."""
        if not self.has_room(transport):
            return False
        self.connections[id(protocol)] = transport
        self.count_opened()
        return True

    def lost(self, protocol: asyncio.BaseProtocol, exc: BaseException | None) -> bool:
        """Counts the end of a connection; returns False if it was turned away, and the app never saw it."""
        if self.connections.pop(id(protocol), None) is None:
            return False
        self.count_closed(exc)
        return True

    def _count(self, protocol: asyncio.BaseProtocol) -> None:
        own = type(protocol)
        if own in self._counting:
            return  # the app returns the same protocol again
        try:
            if own not in self._counted:
                self._counted[own] = _counting_class(own, self)
                self._counting.add(self._counted[own])
            protocol.__class__ = self._counted[own]
        except TypeError as error:
            raise AppError(
                f"app {self._spec}: connections of {own.__name__} cannot be counted ({error}); give a subclass of it"
            ) from None

    def loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handles an error in the loop: of the app, or of accept."""
        failure = context.get("exception")
        if failure is None or (isinstance(failure, OSError) and failure.errno in (errno.EMFILE, errno.ENFILE)):
            super().loop_failed(loop, context)
        elif not isinstance(failure, _ENDED):
            self._failed(failure)

    def _failed(self, error: BaseException) -> None:
        """Counts a failure of the app, and logs the first one from each place in the code."""
        self.page.add_error("receive", OwnError.APP_FAILED)
        frames = traceback.extract_tb(error.__traceback__)
        kind = (type(error), *[(frame.filename, frame.lineno) for frame in frames[-1:]])
        if kind not in self._shown and len(self._shown) < _MOST_SHOWN:
            self._shown.add(kind)
            log.error("app %s failed; more of the same are counted, not shown", self._spec, exc_info=error)


def _counting_class(own: type[asyncio.BaseProtocol], serving: AppServing) -> type[asyncio.BaseProtocol]:
    """Returns a subclass of `own` that counts, with the same name and layout. Raises TypeError if there is none."""

    def connection_made(self: asyncio.BaseProtocol, transport: asyncio.Transport) -> None:
        if serving.made(self, transport):
            own.connection_made(self, transport)

    def connection_lost(self: asyncio.BaseProtocol, exc: Exception | None) -> None:
        if serving.lost(self, exc):
            own.connection_lost(self, exc)

    body = {
        "__slots__": (),
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "__doc__": own.__doc__,
        "connection_made": connection_made,
        "connection_lost": connection_lost,
    }
    return types.new_class(own.__name__, (own,), exec_body=lambda its: its.update(body))


class _Closing(asyncio.Protocol):
    """Closes a connection for which the app made no protocol."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Aborts it."""
        transport.abort()  # type: ignore[attr-defined]
