"""Connections of the serve end that have to begin with a PROXY header; native/greeting.c does the same in C."""

from __future__ import annotations

import asyncio

from loadkit.engine.aio.echo import Echo, IdleEchoConnection
from loadkit.measure.names import OwnError
from loadkit.units import NS_PER_S
from loadkit.wire.proxy_header import HEADER_NS, BadHeader, read_header

__all__ = ["GreetedConnection"]


class GreetedConnection(IdleEchoConnection):
    """One of which nothing is echoed before its header is whole."""

    __slots__ = ("_came", "_timer")

    def __init__(self, echo: Echo) -> None:
        super().__init__(echo)
        self._came: bytes | None = None  # of a header that is not whole; None: it is, or is awaited no more
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away."""
        super().connection_made(transport)
        if self in self.echo.connections:
            self._came = b""
            late = OwnError.PROXY_TIMEOUT
            self._timer = self.echo.loop.call_later(HEADER_NS / NS_PER_S, self._refuse, late)

    def data_received(self, chunk: bytes) -> None:
        """Takes the header off what comes, and echoes the rest."""
        if self._came is None:
            super().data_received(chunk)
            return
        came = self._came + chunk
        try:
            header = read_header(came)
        except BadHeader:
            self._refuse(OwnError.NO_PROXY_HEADER)
            return
        if header is None:
            self._came = came
            return
        self._settle()
        self.echo.page.add(f"proxy_v{header.version}")
        if not header.is_known:
            self.echo.page.add("proxy_unknown")
        if rest := came[header.length :]:
            super().data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over. One that said nothing at all, as a health check, has done no wrong."""
        if self._came:
            self.echo.page.add_error("receive", OwnError.NO_PROXY_HEADER)
        self._settle()
        super().connection_lost(exc)

    def _settle(self) -> None:
        self._came = None
        if self._timer:
            self._timer.cancel()

    def _refuse(self, number: int) -> None:
        self._settle()
        self.echo.page.add_error("receive", number)
        self.transport.abort()
