"""The listener's queue and the ports to connect from."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.plan.addresses import PER_TUPLE, loopback_addresses, tuples_for
from loadkit.plan.build import ports_of, sources_for
from loadkit.plan.model import EMBEDDED, Target

__all__ = ["BACKLOG", "check_net"]

BACKLOG = 4096  # what `loadkit serve` listens with


def check_net(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on somaxconn (where the listener is here) and on ports."""
    if demand.local and demand.host.somaxconn is not None:
        yield _somaxconn(demand.host.somaxconn)
    yield _ports(demand)


def _somaxconn(somaxconn: int) -> Finding:
    seen, needed = f"net.core.somaxconn {somaxconn:,}", f"{BACKLOG:,}, the backlog of loadkit serve"
    if somaxconn >= BACKLOG:
        return Finding("somaxconn", Level.OK, seen, needed)
    why = f"the kernel cuts the backlog to {somaxconn:,}; a burst of connects above it waits a second for its next SYN"
    return Finding("somaxconn", Level.WARN, seen, needed, why, f"sysctl -w net.core.somaxconn={BACKLOG}")


def _ports(demand: Demand) -> Finding:
    host, ports = demand.host, ports_of(demand.host)
    wanted = tuples_for(demand.connections, ports)
    target = demand.target or Target(EMBEDDED, loopback_addresses(wanted), 0, embedded=True)
    sources = len(sources_for((), demand.connections, target, host))
    destinations = len(target.addresses)
    tuples = sources * destinations
    room = tuples * ports
    sum_ = f"{sources:,} source(s) x {destinations:,} destination(s) x {ports:,} ports = {room:,}"
    seen = f"ip_local_port_range {host.port_low} {host.port_high}: {sum_}"
    needed = f"{demand.connections:,}, of at most {PER_TUPLE:,} a pair of addresses"
    more = -(-wanted // destinations)
    fix = f"--source CIDR with {more:,} addresses of this machine (ip addr add ... for those it has not)"
    if demand.connections > room:
        why = f"{demand.connections:,} connections need more ports than there are: {sum_}"
        if demand.local:
            fix = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
        return Finding("ports", Level.FAIL, seen, needed, why, fix)
    if tuples < wanted:
        each = -(-demand.connections // tuples)
        why = f"{each:,} connections between two addresses: past {PER_TUPLE:,} each connect searches for a free port"
        return Finding("ports", Level.WARN, seen, needed, why, fix)
    return Finding("ports", Level.OK, seen, needed)
