"""Apps for the tests of `serve --app`, as somebody's own module would have them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import struct


class Upper(asyncio.Protocol):
    """Answers in capitals: no echo, so that nobody takes it for ours."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


class Telling(Upper):
    """Tells what it is made of, to show that nothing stands between it and the loop."""

    __slots__ = ("lost", "transport")

    def data_received(self, data: bytes) -> None:
        own = self.transport.get_protocol() is self
        self.transport.write(f"{type(self).__module__} {type(self).__qualname__} {own}\n".encode())


class Buffered(asyncio.BufferedProtocol):
    """Echoes from a buffer of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = bytearray(65536)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))  # type: ignore[attr-defined]


class Failing(Upper):
    """Fails at the first message."""

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("out of stock")


class Echo(Upper):
    """Echoes."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Handing(Upper):
    """Hands its connection to another protocol at the first message."""

    def data_received(self, data: bytes) -> None:
        echo = Echo()
        echo.connection_made(self.transport)
        self.transport.set_protocol(echo)
        self.transport.write(b"handed")


BULK = bytes(range(256)) * 2**16


class Pouring(Upper):
    """Answers with more than a socket holds, and closes."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(BULK)
        self.transport.close()


class Nested:
    """Holds one."""

    class Inner(Upper):
        """The one."""

    @classmethod
    def make(cls) -> Upper:
        return Upper()


async def lengths(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each line with its length, a 32-bit number, until an empty one."""
    while line := (await reader.readline()).rstrip():
        writer.write(struct.pack("!I", len(line)))
        await writer.drain()
    writer.close()


async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


async def one_argument(reader: asyncio.StreamReader) -> None:
    """Takes too little to serve a stream."""


def with_argument(shop: str) -> Upper:
    """Takes more than a factory does."""
    return Upper()


def upper() -> Upper:
    """Makes one by a function."""
    return Upper()


def failing() -> Upper:
    """Makes none."""
    raise LookupError("no database")


class _Once:
    made = 0


def failing_later() -> Upper:
    """Makes two, and then no more."""
    _Once.made += 1
    if _Once.made > 2:
        raise LookupError("no more")
    return Upper()


def nothing() -> None:
    """Makes nothing."""


LIMIT = 3
made_by_partial = functools.partial(Upper)
nameless = lambda: Upper()  # noqa: E731 - that it has no name is the point


def closure() -> type[Upper]:
    """Returns a class that only this call has."""

    class Local(Upper):
        pass

    return Local


async def raising(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Fails at the first line."""
    await reader.readline()
    raise RuntimeError("out of stock")


async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes each message of 64 bytes 50 ms after it came."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while message := await reader.readexactly(64):
            await asyncio.sleep(0.05)
            writer.write(message)
    writer.close()
