"""Opening a connection along its route."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Mapping

from loadkit.endpoint import IP_BIND_ADDRESS_NO_PORT, SockAddr, family_of, refuse_itself, sockaddr_of
from loadkit.engine.aio.line import Line
from loadkit.engine.ports import IP_LOCAL_PORT_RANGE, knows_port_range, pack_port_range
from loadkit.engine.settings import apply_settings
from loadkit.measure.settings import Value
from loadkit.plan.target import Route
from loadkit.units import NS_PER_S
from loadkit.wire.proxy_header import ProxyProtocol, make_header

__all__ = ["has_events", "header_of", "keep_alive", "open_route", "open_unix"]


def keep_alive(sock: socket.socket, idle_ns: int) -> None:
    """Has the kernel probe the peer of a connection that was idle for so long (tcp(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_ns // NS_PER_S)


def header_of(sock: socket.socket, version: ProxyProtocol) -> bytes:
    """Returns the PROXY header of a connected socket. Raises OSError if it is not connected any more."""
    return make_header(version, sock.getsockname(), sock.getpeername())


def has_events(fd: int, events: int) -> bool:
    """Whether the kernel has one of these events of poll(2) for it that the loop has not come to yet, or an error."""
    polled = select.poll()
    polled.register(fd, events)
    return bool(polled.poll(0))


async def _connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, sockaddr: SockAddr) -> None:
    """Does what loop.sock_connect does. That of uvloop asks a thread for the address, and loses its zone."""
    with contextlib.suppress(BlockingIOError):
        sock.connect(sockaddr)
        return
    settled = asyncio.Event()
    loop.add_writer(sock, settled.set)
    try:
        await settled.wait()
    finally:
        loop.remove_writer(sock)
    if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


async def open_unix(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.Protocol],
    route: Route,
    line: Line,
    given: Mapping[str, Value],
) -> None:
    """Connects to a UNIX socket, once there is room in its listener's queue. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        apply_settings(sock, given)
        await line.connect(sock, sockaddr_of(route.destination, 0))
        await loop.create_unix_connection(factory, sock=sock)
    except BaseException:
        sock.close()
        raise


async def open_route(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.Protocol],
    route: Route,
    port: int,
    given: Mapping[str, Value],
) -> None:
    """Connects from the route's source to its destination, which is no UNIX socket. Raises OSError."""
    if route.source is None and route.ports is None and "%" not in route.destination and not given:
        # No bind at all: the kernel shares ports between destinations by itself, and it is the fastest way.
        await loop.create_connection(factory, route.destination, port)
        return
    sock = socket.socket(family_of(route.destination), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        apply_settings(sock, given)
        if route.ports and knows_port_range():
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, pack_port_range(*route.ports))
        if route.source:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(sockaddr_of(route.source, 0))
        await _connect(loop, sock, sockaddr_of(route.destination, port))
        if route.may_meet_itself:
            # Here and not in connection_made: uvloop does not close a socket that was handed to it and aborted there.
            refuse_itself(sock)
        await loop.create_connection(factory, sock=sock)
    except BaseException:
        sock.close()
        raise
