"""All bytes of a message from a socket, or of what comes before it is read."""

from __future__ import annotations

import socket


def receive(sock: socket.socket, count: int) -> bytes:
    """Returns so many bytes, less at the end of the stream.

    MSG_WAITALL does not do it: a socket with a time-out does not block for Python, and returns what is there.
    """
    got = bytearray()
    while len(got) < count and (chunk := sock.recv(count - len(got))):
        got += chunk
    return bytes(got)


def peek(sock: socket.socket, count: int) -> bytes:
    """Returns so many bytes and leaves them there; less at the end of the stream. The socket may have no time-out."""
    assert sock.gettimeout() is None
    return sock.recv(count, socket.MSG_PEEK | socket.MSG_WAITALL)
