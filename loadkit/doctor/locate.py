"""What the kernel is asked for a run: whose addresses they are, which reach each other, what is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from loadkit.doctor.demand import Barred, Demand
from loadkit.doctor.route import find_interface, is_unsettled
from loadkit.limits import open_descriptors, ulimits
from loadkit.procfs import text_of
from loadkit.sockets import find_obstacle, find_source, is_own_address

__all__ = ["locate"]

_V6_OFF = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")


def locate(demand: Demand) -> Demand:
    """Returns the demand with what the kernel says of its addresses, and of this process."""
    demand = replace(demand, open_files=open_descriptors(), ulimits=ulimits())
    target = demand.target
    if target is None or target.is_unix:
        return demand
    pairs = dict.fromkeys((route.source, route.destination) for route in demand.routes)
    barred = tuple(
        Barred(source, destination, number)
        for source, destination in pairs
        if (number := find_obstacle(source, destination, target.port)) is not None
    )
    first = target.addresses[0]
    source = find_source(first, target.port or 7) if barred else None
    return replace(
        demand,
        is_own_target=not demand.loopback and all(is_own_address(address, target.port) for address in target.addresses),
        barred=barred,
        unsettled=tuple(one.source for one in barred if one.source and is_unsettled(one.source)),
        lacks_v6=text_of(_V6_OFF).strip() == "1",
        interface=(find_interface(first, source) if source else None) or "lo",
    )
