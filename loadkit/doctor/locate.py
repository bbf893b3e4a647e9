"""Which of the addresses of a run are this machine's, asked of the kernel. Nothing is sent."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace

from loadkit.doctor.demand import Demand
from loadkit.sockets import is_own_address

__all__ = ["locate"]


def locate(demand: Demand) -> Demand:
    """Returns the demand with what is known of its addresses: is the target here, and which sources are not."""
    target = demand.target
    if target is None:
        return demand
    sources = dict.fromkeys(route.source for route in demand.routes if route.source)
    return replace(
        demand,
        is_own_target=not demand.loopback and all(is_own_address(address, target.port) for address in target.addresses),
        missing_sources=tuple(source for source in sources if not _can_bind(source)),
    )


def _can_bind(address: str) -> bool:
    """Whether a socket can have it; an AnyIP route (ip-route(8), `local`) lets it. Any doubt counts as yes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True
