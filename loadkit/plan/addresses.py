"""How connections spread over addresses, so that ports do not run out and connecting stays fast.

connect() picks a local port per (source, destination, destination port). Its first pass tries the ports of one parity,
half of the range; past that every connect scans: at 19,000 connections on one tuple 1,764 connects/s were measured
where 31,600 were with at most 8,000 (kernel 6.18). So a tuple takes PER_TUPLE connections when addresses allow it.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator, Sequence

from loadkit.errors import OptionError, PreflightError
from loadkit.plan.model import Route

__all__ = ["PER_TUPLE", "is_loopback", "loopback_addresses", "plan_routes", "source_addresses", "tuples_for"]

PER_TUPLE = 8_000


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own loopback."""
    return ipaddress.ip_address(address).is_loopback


def loopback_addresses(count: int, first: str = "127.0.0.1") -> tuple[str, ...]:
    """Returns `count` addresses from `first` on; all of 127.0.0.0/8 is local without being configured."""
    start = int(ipaddress.IPv4Address(first))
    return tuple(str(ipaddress.IPv4Address(start + i)) for i in range(count))


def source_addresses(networks: Sequence[str], most: int) -> tuple[str, ...]:
    """Returns up to `most` host addresses of the networks, taken from each in turn.

    Raises OptionError naming the network that is none.
    """
    pools: list[Iterator[str]] = []
    for network in networks:
        try:
            parsed = ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise OptionError(
                f"--source: expected a network such as 10.0.0.0/28 or an address, got {network!r}"
            ) from None
        pools.append(str(address) for address in parsed.hosts())
    turns = itertools.chain.from_iterable(itertools.zip_longest(*pools))
    return tuple(itertools.islice((address for address in turns if address is not None), most))


def tuples_for(connections: int, ports: int) -> int:
    """Returns how many tuples keep each at PER_TUPLE or under, and within its `ports`."""
    return max(1, -(-connections // max(1, min(PER_TUPLE, ports))))


def plan_routes(
    connections: int, sources: Sequence[str | None], destinations: Sequence[str], ports: int
) -> tuple[Route, ...]:
    """Spreads `connections` evenly over as few (source, destination) tuples as keep each within PER_TUPLE.

    Where there are fewer ports than that, they are what counts. When there are too few tuples, all are used, up to
    `ports` connections each. Raises PreflightError with the arithmetic when even that is too little.
    """
    tuples = len(sources) * len(destinations)
    if connections > tuples * ports:
        raise PreflightError(
            f"{connections:,} connections need more ports than there are: {len(sources):,} source address(es) x "
            f"{len(destinations):,} destination(s) x {ports:,} ephemeral ports = {tuples * ports:,}; give more source "
            f"addresses with --source CIDR, or widen net.ipv4.ip_local_port_range"
        )
    used = min(tuples, tuples_for(connections, ports))
    pairs = itertools.islice(itertools.product(sources, destinations), used)
    share, rest = divmod(connections, used)
    return tuple(
        Route(source, destination, share + (i < rest))
        for i, (source, destination) in enumerate(pairs)
        if share + (i < rest)
    )
