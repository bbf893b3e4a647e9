"""An end of a TCP connection: how it is written, reached and reset, and what the system says of an error of it.

A connect to a port of the local range that no process listens on can draw that very port: then its SYN crosses itself
(RFC 9293, 3.5, simultaneous open), and the kernel calls it established. It echoes whatever is sent, and its port is
taken from the server that comes back.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

__all__ = ["meets_itself", "place_of", "reached_at", "refuse_itself", "reset_on_close", "say_error"]

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
# struct linger {1, 0}: close() sends RST and leaves no TIME_WAIT (socket(7)).
_RESET = struct.pack("ii", 1, 0)


def place_of(host: str, port: int) -> str:
    """Returns HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
