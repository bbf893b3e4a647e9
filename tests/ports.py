"""A port for what is to listen, or to connect, at a number known beforehand."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 10_000


def free_port() -> int:
    """Returns a port that nobody has, below those that the kernel gives away by itself.

    A connection of another test would be given one of the latter before it is used.
    """
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        with socket.socket() as sock:
            port = random.randrange(_LOWEST, first_given) if first_given > 2 * _LOWEST else 0
            try:
                sock.bind(("", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
