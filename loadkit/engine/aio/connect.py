"""Opening a connection along its route."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

from loadkit.endpoint import refuse_itself
from loadkit.engine.ports import IP_LOCAL_PORT_RANGE, knows_port_range, pack_port_range
from loadkit.plan.model import Route
from loadkit.units import NS_PER_S

__all__ = ["is_readable", "keep_alive", "open_route"]

# ip(7): the local port is chosen at connect(), by the whole tuple, so one port serves many destinations. Python has no
# name for it before 3.12.
_IP_BIND_ADDRESS_NO_PORT = 24


def keep_alive(sock: socket.socket, idle_ns: int) -> None:
    """Has the kernel probe the peer of a connection that was idle for so long (tcp(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_ns // NS_PER_S)


def is_readable(fd: int) -> bool:
    """Whether something has come that the loop has not read yet, the end of the stream included."""
    polled = select.poll()
    polled.register(fd, select.POLLIN)
    return bool(polled.poll(0))


async def open_route(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], route: Route, port: int
) -> None:
    """Connects from the route's source to its destination. Raises OSError."""
    if route.source is None and route.ports is None:
        # No bind at all: the kernel shares ports between destinations by itself, and it is the fastest way.
        await loop.create_connection(factory, route.destination, port)
        return
    family = socket.AF_INET6 if ":" in route.destination else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if route.ports and knows_port_range():
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, pack_port_range(*route.ports))
        if route.source:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((route.source, 0))
        await loop.sock_connect(sock, (route.destination, port))
        if route.may_meet_itself:
            # Here and not in connection_made: uvloop does not close a socket that was handed to it and aborted there.
            refuse_itself(sock)
        await loop.create_connection(factory, sock=sock)
    except BaseException:
        sock.close()
        raise
