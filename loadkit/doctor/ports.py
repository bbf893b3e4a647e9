"""The ports of the end that connects: those it needs open, and those that TIME_WAIT keeps of closed ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.doctor.ways import ADD_LOOPBACK, check_ways
from loadkit.endpoint import is_v6
from loadkit.plan.addresses import PER_TUPLE, held_ports, source_addresses, tuples_for
from loadkit.plan.capacity import ports_of
from loadkit.plan.time_wait import TIME_WAIT_S, kept_for_s, ports_kept
from loadkit.sockets import LOOPBACK_ADDRESSES
from loadkit.units import format_rate

__all__ = ["check_ports"]

# Of the whole port range, as root; those below 1024 are for services.
_ALL_PORTS, _WHOLE = "net.ipv4.ip_local_port_range=1024 65535", 64_512


def check_ports(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on ports, source addresses and TIME_WAIT, of which UNIX sockets have none."""
    if demand.is_unix:
        return
    if demand.serves_alone:
        if demand.churn_hz is not None:
            seen = "none here: the end that closes first keeps them, and that is the peer"
            yield Finding("time-wait", Level.OK, seen, "none")
        return
    yield _ports(demand)
    yield from check_ways(demand)
    if demand.churn_hz is not None:
        yield _time_wait_ports(demand, demand.churn_hz)
        if demand.host.tw_max is not None:
            yield _time_wait_table(demand, demand.churn_hz, demand.host.tw_max)
    elif demand.free_churn_hz is not None:
        yield _time_wait_ports(demand, demand.free_churn_hz)


def _ports(demand: Demand) -> Finding:
    """Judges the plan's routes, which have looked at what is in use; where it has none, its reason says why."""
    host, ports = demand.host, _ports_of(demand)
    sources, destinations = {one.source for one in demand.routes}, {one.destination for one in demand.routes}
    worst = max(route.connections for route in demand.routes)
    used, waiting = _in_use(demand)
    listening = len(demand.sockets.bound) if demand.sockets else 0
    seen = f"ip_local_port_range {host.port_low} {host.port_high}"
    if host.reserved_ports or listening:
        seen += f", less {host.reserved_ports:,} reserved and {listening:,} that something listens on"
    if used:
        seen += f" ({used:,} in use towards that port, {waiting:,} of them in TIME_WAIT)"
    needed = f"{demand.connections:,}, at most {PER_TUPLE:,} per pair of addresses"
    if demand.refused or worst > ports:
        # The way out that the words end with is for all; this one knows how many addresses it takes.
        why = demand.refused.partition(";")[0] or f"{worst:,} connections between two addresses, and {ports:,} ports"
        fixes, sysctls = _ways_out(demand, ports, used, waiting)
        seen += f", {ports:,} ports per pair of addresses"
        return Finding("ports", Level.FAIL, seen, needed, why, ", or ".join(fixes), sysctls)
    spread = f"{len(sources):,} source(s) x {len(destinations):,} destination(s)"
    seen += f": {spread}, at most {worst:,} of {ports:,} ports each"
    if any(route.connections > PER_TUPLE and route.ports is None for route in demand.routes):
        why = f"{worst:,} connections between two addresses: past {PER_TUPLE:,} each connect searches for a free port"
        return Finding("ports", Level.WARN, seen, needed, why, _more_sources(demand, ports))
    return Finding("ports", Level.OK, seen, needed)


def _in_use(demand: Demand) -> tuple[int, int]:
    """Returns how many sockets hold a port towards the target, and how many of these are in TIME_WAIT."""
    if demand.sockets is None:
        return 0, 0
    # Those of source None are there a second time, under the address that the kernel chooses.
    used = sum(count for (source, _), count in demand.sockets.used.items() if source is not None)
    return used, sum(count for (source, _), count in demand.sockets.waiting.items() if source is not None)


def _ways_out(demand: Demand, ports: int, used: int, waiting: int) -> tuple[list[str], tuple[str, ...]]:
    """Returns what would give ports enough, and the sysctls in it."""
    pairs = max(1, len(source_addresses(demand.networks, tuples_for(demand.connections, ports))))
    fixes, sysctls = list[str](), tuple[str, ...]()
    if waiting and demand.connections <= pairs * ports - used + waiting:
        fixes.append(f"wait {TIME_WAIT_S:g} s until the {waiting:,} in TIME_WAIT are gone")
    if ports:  # else no number of addresses would do
        fixes += _more_addresses(demand, ports)
    if _widens(demand) and (not fixes or demand.connections <= pairs * _WHOLE - used):
        fixes.append(sysctl_fix(_ALL_PORTS))
        sysctls = (_ALL_PORTS,)
    return fixes or ["fewer ports in net.ipv4.ip_local_reserved_ports"], sysctls


def _more_addresses(demand: Demand, ports: int) -> Iterator[str]:
    """Yields the way to as many pairs of addresses as it takes, if there is one."""
    if not demand.loopback:
        yield _more_sources(demand, ports)
    elif _lacks_loopback(demand):
        yield f"{ADD_LOOPBACK} (as root), and loadkit takes as many of its addresses as it needs"
    elif demand.target and is_v6(demand.target.addresses[0]):
        yield "127.0.0.1 in its place, because of 127.0.0.0/8 loadkit takes as many addresses as it needs"


def _more_sources(demand: Demand, ports: int) -> str:
    return _that_many_sources(demand, tuples_for(demand.connections, ports))


def _widens(demand: Demand) -> bool:
    """Whether the port range could be wider."""
    return demand.host.port_high - demand.host.port_low + 1 < _WHOLE


def _ports_of(demand: Demand) -> int:
    return ports_of(demand.host, demand.sockets, demand.embedded)


def _lacks_loopback(demand: Demand) -> bool:
    """Whether connections stay on loopback of IPv4, and not all of its addresses are there."""
    is_v4 = demand.loopback and demand.target is not None and not is_v6(demand.target.addresses[0])
    return is_v4 and demand.host.loopback_addresses < LOOPBACK_ADDRESSES


def _time_wait_ports(demand: Demand, churn_hz: float) -> Finding:
    """Judges the ports that TIME_WAIT keeps on the end that closes first, ours.

    Refused is what cannot be otherwise: a rate that was asked for, or half of what a lifetime would make it, for a
    connection lasts until its reply has come, and a minute from now there may be no TIME_WAIT of others. Of what may
    be, the rate that there are ports for is reported.
    """
    host, is_free = demand.host, demand.churn_hz is None
    kept_s = kept_for_s(host, demand.loopback)
    seconds = min(kept_s, demand.churn_s)
    pairs = {(route.source, route.destination) for route in demand.routes}
    held, waiting = held_ports(pairs, demand.sockets, host)
    room = max(0, len(pairs) * _ports_of(demand) - held)
    kept = ports_kept(churn_hz, seconds, demand.churn_most, host.tw_max)
    setting = "not known" if host.tw_reuse is None else host.tw_reuse
    without = ", tcp_timestamps 0" if host.timestamps == 0 else ""
    less = f" (less {held:,} in use or TIME_WAIT)" if held else ""
    seen = f"{room:,} ports{less}, tcp_tw_reuse {setting}{without}: each is kept for {kept_s:g} s after its connection"
    rate = f"up to {format_rate(churn_hz)}" if is_free else format_rate(churn_hz)
    closed = f"{rate} x {seconds:g} s" if kept == round(churn_hz * seconds) else f"{kept:,} that closed"
    needed = f"{demand.connections + kept:,} = {demand.connections:,} open + {closed}"
    if demand.connections + kept <= room or not seconds:
        return Finding("time-wait", Level.OK, seen, needed)
    most_hz = max(0, room - demand.connections) / seconds
    sum_ = f"({room:,} - {demand.connections:,}) / {seconds:g} s = {format_rate(most_hz)}"
    fixes, sysctls = _ways_to_close(demand, kept, most_hz, room)
    if demand.connections + kept <= room + waiting:
        fixes = f"wait {TIME_WAIT_S:g} s until the {waiting:,} in TIME_WAIT are gone; or {fixes}"
    least_hz = churn_hz if demand.is_least_churn else churn_hz / 2
    least = demand.connections + ports_kept(least_hz, seconds, demand.churn_most, host.tw_max)
    if is_free or demand.is_counted or least <= room + waiting:
        why = f"at more than {sum_} of new connections, connects fail with EADDRNOTAVAIL"
        return Finding("time-wait", Level.WARN, seen, needed, why, fixes, sysctls)
    why = f"connects fail with EADDRNOTAVAIL: {sum_} at most"
    return Finding("time-wait", Level.FAIL, seen, needed, why, fixes, sysctls)


def _ways_to_close(demand: Demand, kept: int, most_hz: float, room: int) -> tuple[str, tuple[str, ...]]:
    """Returns what leaves ports for `kept` closed connections beside the open ones, and the sysctls in it."""
    fixes = ["--close rst, which leaves none"]
    if most_hz and demand.churn_hz is not None:
        fixes.append(f"--lifetime {math.ceil(demand.connections / most_hz)}s or longer")
    ports = _ports_of(demand)
    destinations = len({route.destination for route in demand.routes})
    sources = -(-(demand.connections + kept) // max(1, ports * destinations))
    # A connection is opened again from where it was: more sources than connections are of no use. Where no rate was
    # asked for, each of them allows a higher one.
    if demand.churn_hz is None:
        sources = min(sources, demand.connections)
    if 1 < sources <= demand.connections and ports:
        fixes.append(_that_many_sources(demand, sources))
    pairs = len({(route.source, route.destination) for route in demand.routes})
    churn_hz = demand.churn_hz or demand.free_churn_hz or 0.0
    sysctls = _to_reuse_soon(demand)
    if not sysctls or demand.connections + churn_hz > room:
        sysctls = ()
        if _widens(demand) and demand.connections + kept <= pairs * _WHOLE:
            sysctls = (_ALL_PORTS,)
    if sysctls:
        fixes.append(" and ".join(map(sysctl_fix, sysctls)))
    return "; or ".join(fixes), sysctls


def _to_reuse_soon(demand: Demand) -> tuple[str, ...]:
    """Returns what has the kernel give a port out again a second after its connection; nothing where it does."""
    host, found = demand.host, list[str]()
    if not (host.tw_reuse == 1 or (host.tw_reuse == 2 and demand.loopback)):
        found.append("net.ipv4.tcp_tw_reuse=1")
    if host.timestamps == 0:
        found.append("net.ipv4.tcp_timestamps=1")
    if (host.tw_reuse_delay_ms or 0) > 1_000:
        found.append("net.ipv4.tcp_tw_reuse_delay=1000")
    return tuple(found)


def _that_many_sources(demand: Demand, count: int) -> str:
    """Returns the option for `count` sources; those of loopback are there without being added, as a rule."""
    if demand.loopback and demand.target and not is_v6(demand.target.addresses[0]):
        first = f"{ADD_LOOPBACK} (as root) and " if _lacks_loopback(demand) else ""
        return f"{first}--source 127.1.0.0/{32 - (count + 1).bit_length()}"  # its first and last address are no hosts
    return f"--source CIDR with {count:,} addresses of this machine (ip addr add ... for those it has not)"


def _time_wait_table(demand: Demand, churn_hz: float, limit: int) -> Finding:
    used, wanted = demand.host.time_waits or 0, round(churn_hz * demand.churn_s)
    seen = f"net.ipv4.tcp_max_tw_buckets {limit:,}, {used:,} in TIME_WAIT"
    needed = f"{wanted:,} = {format_rate(churn_hz)} x {demand.churn_s:g} s"
    if wanted <= limit - used:
        return Finding("tw-buckets", Level.OK, seen, needed)
    why = "beyond it the kernel drops TIME_WAITs early, and a late segment of an old connection can reach a new one"
    sysctl = f"net.ipv4.tcp_max_tw_buckets={used + 2 * wanted}"
    return Finding("tw-buckets", Level.WARN, seen, needed, why, sysctl_fix(sysctl), (sysctl,))
