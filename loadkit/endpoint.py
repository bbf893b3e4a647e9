"""An end of a TCP connection: how it is written, where a listener on all addresses is reached, how it is reset.

And what the system says of an error of it.
"""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["place_of", "reached_at", "reset_on_close", "say_error"]

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


def say_error(error: OSError) -> str:
    """Returns what the system says of an error, as `Connection refused`.

    One of getaddrinfo has a number of its own (EAI_…, below 0), which is no errno: strerror() would not know it.
    """
    number = error.errno
    if number is None or number <= 0:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(number)
