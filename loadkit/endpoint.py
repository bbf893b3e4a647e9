"""An end of a TCP connection: how it is written, where one that listens everywhere is reached, how it is reset."""

from __future__ import annotations

import socket
import struct

__all__ = ["place_of", "reached_at", "reset_on_close"]

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
