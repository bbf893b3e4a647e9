"""Which local port a connection takes, where there are many on one pair of addresses."""

from __future__ import annotations

import errno
import functools
import socket
import struct

__all__ = ["IP_LOCAL_PORT_RANGE", "knows_port_range", "pack_port_range"]

IP_LOCAL_PORT_RANGE = 51  # linux/in.h, since Linux 6.3; Python has no name for it


def pack_port_range(low: int, high: int) -> bytes:
    """Returns the option's value: ip(7), the low port in the lower 16 bits, the high one in the upper."""
    return struct.pack("=I", low | high << 16)


@functools.cache
def knows_port_range() -> bool:
    """Whether this kernel lets a socket have a port range of its own."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, pack_port_range(0, 0))
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True
