"""Which of the addresses of a run are this machine's, asked of the kernel. Nothing is sent."""

from __future__ import annotations

from dataclasses import replace

from loadkit.doctor.demand import Demand
from loadkit.sockets import can_bind, is_own_address

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
        missing_sources=tuple(source for source in sources if not can_bind(source)),
    )
