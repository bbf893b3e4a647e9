"""An end of a connection: how it is written, reached and reset, and what the system says of an error of it.

An address is a text: an IP address, or `unix:PATH` for a UNIX socket, which has no port. `unix:@NAME` is in the
abstract namespace of Linux (unix(7)): no file, gone with its last socket, and private to its network namespace.

A connect to a port of the local range that no process listens on can draw that very port: then its SYN crosses itself
(RFC 9293, 3.5, simultaneous open), and the kernel calls it established. It echoes whatever is sent, and its port is
taken from the server that comes back.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

__all__ = [
    "IP_BIND_ADDRESS_NO_PORT",
    "LONGEST_UNIX_PATH",
    "UNIX",
    "SockAddr",
    "address_in",
    "bare",
    "family_of",
    "is_unix",
    "is_v6",
    "meets_itself",
    "place_of",
    "reached_at",
    "refuse_itself",
    "reset_on_close",
    "say_error",
    "sockaddr_of",
    "unix_path",
    "zone_of",
]

SockAddr = str | tuple[str, int] | tuple[str, int, int, int]  # what connect() and bind() take
UNIX = "unix:"  # begins the address of a UNIX socket
# unix(7): sun_path has 108 bytes, of which the last is a zero, or the first in the abstract namespace.
LONGEST_UNIX_PATH = 107

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
# struct linger {1, 0}: close() sends RST and leaves no TIME_WAIT (socket(7)).
_RESET = struct.pack("ii", 1, 0)
# ip(7): the local port is chosen at connect(), by the whole tuple, so one port serves many destinations. Python has no
# name for it before 3.12.
IP_BIND_ADDRESS_NO_PORT = 24


def place_of(host: str, port: int) -> str:
    """Returns HOST:PORT, an IPv6 address in brackets; a UNIX socket as it is."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if is_v6(host) else f"{host}:{port}"


def is_unix(address: str) -> bool:
    """Whether it is the address of a UNIX socket."""
    return address.startswith(UNIX)


def unix_path(address: str) -> str | None:
    """Returns the path of a UNIX socket's file; None in the abstract namespace, which has no files."""
    path = address.removeprefix(UNIX)
    return None if path.startswith("@") else path


def is_v6(address: str) -> bool:
    """Whether the address is of IPv6: no other text for an IP address, and no name of a host, has a colon in it."""
    return ":" in address and not is_unix(address)


def bare(address: str) -> str:
    """Returns the address without its zone: fe80::1 for fe80::1%eth0 (RFC 4007, 11)."""
    return address if is_unix(address) else address.partition("%")[0]


def zone_of(address: str) -> str:
    """Returns the zone, the name or number of an interface: eth0 for fe80::1%eth0; empty if the address has none."""
    return "" if is_unix(address) else address.partition("%")[2]


def family_of(address: str) -> socket.AddressFamily:
    """Returns AF_INET, AF_INET6 or AF_UNIX."""
    if is_unix(address):
        return socket.AF_UNIX
    return socket.AF_INET6 if is_v6(address) else socket.AF_INET


def sockaddr_of(address: str, port: int) -> SockAddr:
    """Returns what connect() and bind() take. Raises OSError for a zone that is no interface of this machine.

    The zone becomes the scope, in the fourth place. Inside the text it would be lost: connect() and bind() of the
    socket module resolve the text, and then set the scope to that of the fourth place, 0 without one.
    """
    if is_unix(address):
        return unix_path(address) or "\0" + address.removeprefix(UNIX)[1:]
    host, _, zone = address.partition("%")
    if not zone:
        return address, port
    return host, port, 0, int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


def address_in(sockaddr: Sequence[Any]) -> str:
    """Returns the address in what getsockname() or getaddrinfo() gave, with its zone by name if it has one."""
    address = str(sockaddr[0])
    scope = sockaddr[3] if len(sockaddr) > 3 else 0
    if not scope or "%" in address:
        return address
    try:
        return f"{address}%{socket.if_indextoname(scope)}"
    except OSError:  # the interface is gone
        return f"{address}%{scope}"


def reached_at(address: str) -> str:
    """Returns the address by which this machine reaches a listener: loopback for one on all addresses."""
    return _EVERYWHERE.get(address, address)


def reset_on_close(sock: socket.socket) -> None:
    """Has close() send RST and drop what is under way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def meets_itself(sock: socket.socket) -> bool:
    """Whether both ends of a connection are this socket; then its close() is a reset, and its port free at once."""
    try:
        is_itself: bool = sock.getsockname() == sock.getpeername()
    except OSError:
        return False  # not connected, or not any more
    if is_itself:
        reset_on_close(sock)
    return is_itself


def refuse_itself(sock: socket.socket) -> None:
    """Raises ConnectionRefusedError for a connection to itself: no process listens at that port."""
    if meets_itself(sock):
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def say_error(error: OSError) -> str:
    """Returns what the system says of an error, as `Connection refused`.

    One of getaddrinfo has a number of its own (EAI_…, below 0), which is no errno: strerror() would not know it.
    """
    number = error.errno
    if number is None or number <= 0:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(number)
