"""Whether there is a way from each source address to each destination, as locate.py has asked the kernel."""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence

from loadkit.doctor.demand import Barred, Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.endpoint import bare, is_v6, zone_of
from loadkit.plan.addresses import is_loopback

__all__ = ["ADD_LOOPBACK", "check_ways"]

ADD_LOOPBACK = "ip addr add 127.0.0.1/8 dev lo"
# Without net.ipv6.conf.lo.disable_ipv6 the interface has ::1, as soon as it is up (init_loopback in addrconf.c).
_V6_ON = "net.ipv6.conf.lo.disable_ipv6=0"


def check_ways(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on routes and source addresses."""
    lost = [one for one in demand.barred if one.source is None]
    if lost:
        yield _no_route(demand, lost[0])
    barred = {one.source: one.errno for one in demand.barred if one.source is not None}
    # On loopback they are there without being added, as a rule.
    asked = {
        one.source for one in demand.routes if one.source and (one.source in barred or not is_loopback(one.source))
    }
    if asked:
        yield _sources(demand, len(asked), barred)


def _no_route(demand: Demand, lost: Barred) -> Finding:
    seen, needed = f"no route to {lost.destination} from here", "a route"
    why = f"connect() fails: {os.strerror(lost.errno)} ({errno.errorcode[lost.errno]})"
    if is_loopback(lost.destination):
        fix, sysctls = _bring_loopback_back(demand, lost.destination)
        return Finding("route", Level.FAIL, seen, needed, why, fix, sysctls)
    fix = f"ip route get {lost.destination} shows the way, which takes an interface that is up, its address and a route"
    return Finding("route", Level.FAIL, seen, needed, why, fix)


def _bring_loopback_back(demand: Demand, address: str) -> tuple[str, tuple[str, ...]]:
    """Returns what gives the loopback interface this address, and the sysctls in it."""
    if not demand.host.loopback_addresses:
        return "ip link set lo up (as root)", ()
    if not is_v6(address):
        return f"{ADD_LOOPBACK} (as root)", ()
    if demand.lacks_v6:
        return sysctl_fix(_V6_ON), (_V6_ON,)
    return "ip -6 addr add ::1/128 dev lo (as root)", ()


def _sources(demand: Demand, asked: int, barred: Mapping[str, int]) -> Finding:
    seen, needed = f"{asked - len(barred):,} of {asked:,} source address(es) can be connected from", "all of them"
    if not barred:
        return Finding("sources", Level.OK, seen, needed)
    unsettled = [source for source in barred if source in demand.unsettled]
    left = {source: number for source, number in barred.items() if source not in unsettled}
    missing = [source for source, number in left.items() if number == errno.EADDRNOTAVAIL]
    confined = [source for source in left if source not in missing and is_loopback(source)]
    others = [source for source in left if source not in missing and source not in confined]
    reasons, fixes = list[str](), list[str]()
    if unsettled:
        reasons.append(
            f"{_such_as(demand, unsettled)}: the kernel asks the network whether another machine has it (tentative), "
            f"or one has it (dadfailed)"
        )
        fixes.append("wait 2 s, and see `ip -6 addr`; an address that another machine has cannot be this one's too")
    if missing:
        reasons.append(f"{_such_as(demand, missing)}: no interface of this machine has it (EADDRNOTAVAIL)")
        fixes.append(_add(missing, demand.interface))
    if confined:
        reasons.append(f"{_such_as(demand, confined)}: a loopback address reaches this machine only")
        fixes.append("a --source that the target can answer to")
    if others:
        number = barred[others[0]]
        reasons.append(f"{_such_as(demand, others)}: {os.strerror(number)} ({errno.errorcode[number]})")
        fixes.append("a --source that connects to the target")
    return Finding("sources", Level.FAIL, seen, needed, "; ".join(reasons), "; and ".join(fixes))


def _such_as(demand: Demand, sources: Sequence[str]) -> str:
    count = sum(route.connections for route in demand.routes if route.source in sources)
    return f"{count:,} connections cannot be made from these addresses, such as {sources[0]}"


def _add(missing: Sequence[str], interface: str) -> str:
    """Returns the lines that make the addresses this machine's.

    bind() takes an IPv4 address of a local route, and of IPv6 only one that an interface has. That has to be the
    interface towards the target, for neighbours are told of its own addresses alone (RFC 4861, 7.2.3).
    """
    v4 = [address for address in missing if not is_v6(address) and not is_loopback(address)]
    zoned = [address for address in missing if zone_of(address)]
    v6 = [address for address in missing if is_v6(address) and not zone_of(address)]
    lines = [ADD_LOOPBACK] if len(v4) + len(v6) + len(zoned) < len(missing) else []
    if v4:
        networks = " ".join(map(str, ipaddress.collapse_addresses(map(ipaddress.IPv4Network, v4))))
        lines.append(f"for net in {networks}; do ip route add local $net dev lo; done")
    if v6:
        lines.append(f"for one in {' '.join(v6)}; do ip -6 addr add $one/128 dev {interface} nodad; done")
    lines += [f"ip -6 addr add {bare(address)}/64 dev {zone_of(address)} nodad" for address in zoned]
    return f"{'; '.join(lines)} (as root; other machines have to route them here)"
