"""The way of a connection through the kernel: the listener's queues, the ports, connection tracking, TIME_WAIT."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import TIME_WAIT_S, Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.plan.addresses import PER_TUPLE, tuples_for
from loadkit.plan.build import ports_of
from loadkit.units import format_rate

__all__ = ["check_net"]

# Of the whole port range, as root; 1024 and below are for services.
_ALL_PORTS = "net.ipv4.ip_local_port_range=1024 65535"
_CONNTRACK_TIME_WAIT_S = 120  # nf_conntrack_tcp_timeout_time_wait


def check_net(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on the listener (where it is here), ports, conntrack (where it is loaded) and TIME_WAIT."""
    host = demand.host
    if demand.local or demand.serves_alone:
        if host.somaxconn is not None:
            yield _somaxconn(demand, host.somaxconn)
        if host.syn_backlog is not None:
            yield _syn_backlog(demand, host.syn_backlog)
    if not demand.serves_alone:
        yield _ports(demand)
    if host.conntrack_max is not None:
        yield _conntrack(demand, host.conntrack_max, host.conntrack_used or 0)
    if demand.churn_hz is not None and demand.serves_alone:
        yield Finding(
            "time-wait", Level.OK, "none here: the end that closes first has them, and that is not ours", "none"
        )
    elif demand.churn_hz is not None:
        yield _time_wait_ports(demand, demand.churn_hz)
        if host.tw_max is not None:
            yield _time_wait_table(demand, demand.churn_hz, host.tw_max)


def _backlog(demand: Demand) -> tuple[int, str]:
    """Returns how many connections wait for accept at the most, and that in words."""
    if 0 < demand.connections < demand.backlog:
        return demand.connections, f"{demand.connections:,}, all connections at once"
    return demand.backlog, f"{demand.backlog:,}, the listener's backlog"


def _somaxconn(demand: Demand, somaxconn: int) -> Finding:
    wanted, needed = _backlog(demand)
    seen = f"net.core.somaxconn {somaxconn:,}"
    if somaxconn >= wanted:
        return Finding("somaxconn", Level.OK, seen, needed)
    why = f"the kernel cuts the backlog to {somaxconn:,}; a burst of connects above it waits a second for its next SYN"
    sysctl = f"net.core.somaxconn={demand.backlog}"
    return Finding("somaxconn", Level.WARN, seen, needed, why, sysctl_fix(sysctl), (sysctl,))


def _syn_backlog(demand: Demand, syn_backlog: int) -> Finding:
    """Judges tcp_max_syn_backlog, which limits only where SYN cookies are off: tcp_conn_request in tcp_input.c."""
    wanted, needed = _backlog(demand)
    seen = f"net.ipv4.tcp_max_syn_backlog {syn_backlog:,}"
    if demand.host.syncookies != 0:
        return Finding("syn-backlog", Level.OK, f"{seen}, and SYN cookies beyond it", needed)
    # A quarter is kept for peers that are known already.
    if syn_backlog * 3 // 4 >= wanted:
        return Finding("syn-backlog", Level.OK, seen, needed)
    why = "tcp_syncookies is 0: SYNs beyond three quarters of it are dropped and come again after a second"
    sysctl = f"net.ipv4.tcp_max_syn_backlog={-(-wanted * 4 // 3)}"
    fix = f"{sysctl_fix(sysctl)}; or sysctl -w net.ipv4.tcp_syncookies=1"
    return Finding("syn-backlog", Level.WARN, seen, needed, why, fix, (sysctl,))


def _ports(demand: Demand) -> Finding:
    """Judges the plan's routes, which have looked at what is in use; where it has none, its reason says why."""
    host, ports = demand.host, ports_of(demand.host, demand.sockets)
    destinations = len({route.destination for route in demand.routes})
    sources, worst = len({route.source for route in demand.routes}), max(route.connections for route in demand.routes)
    seen = f"ip_local_port_range {host.port_low} {host.port_high}{_in_use(demand)}"
    needed = f"{demand.connections:,}, of at most {PER_TUPLE:,} a pair of addresses"
    more = tuples_for(demand.connections, ports)
    fix = f"--source CIDR with {more:,} addresses of this machine (ip addr add ... for those it has not)"
    if demand.refused or worst > ports:
        # The way out that the words end with is for all; this one knows how many addresses it takes.
        why = demand.refused.partition(";")[0] or f"{worst:,} connections between two addresses, and {ports:,} ports"
        seen += f", {ports:,} ports a pair of addresses"
        if demand.local:
            return Finding("ports", Level.FAIL, seen, needed, why, sysctl_fix(_ALL_PORTS), (_ALL_PORTS,))
        return Finding("ports", Level.FAIL, seen, needed, why, fix)
    seen += f": {sources:,} source(s) x {destinations:,} destination(s), at most {worst:,} of {ports:,} ports each"
    if any(route.connections > PER_TUPLE and route.ports is None for route in demand.routes):
        why = f"{worst:,} connections between two addresses: past {PER_TUPLE:,} each connect searches for a free port"
        return Finding("ports", Level.WARN, seen, needed, why, fix)
    return Finding("ports", Level.OK, seen, needed)


def _in_use(demand: Demand) -> str:
    """Says what others, or a run before, hold of the ports towards the target."""
    if demand.sockets is None or not demand.sockets.used:
        return ""
    used, waiting = sum(demand.sockets.used.values()), sum(demand.sockets.waiting.values())
    return f" ({used:,} in use towards that port, {waiting:,} of them in TIME_WAIT)"


def _conntrack(demand: Demand, limit: int, used: int) -> Finding:
    wanted = demand.connections + round((demand.churn_hz or 0) * _CONNTRACK_TIME_WAIT_S)
    seen = f"net.netfilter.nf_conntrack_max {limit:,}, {used:,} in use"
    needed = f"{wanted:,}, one a connection" + (
        f" and {_CONNTRACK_TIME_WAIT_S} s of closed ones" if demand.churn_hz else ""
    )
    if not used:
        # The module alone tracks nothing: a rule has to ask for it, and then there would be an entry by now.
        return Finding("conntrack", Level.OK, f"{seen}: loaded, but it tracks nothing", needed)
    if wanted <= limit - used:
        return Finding("conntrack", Level.OK, seen, needed)
    why = (
        f"{max(0, limit - used):,} entries are left; when the table is full the packets of new connections are dropped"
    )
    sysctl = f"net.netfilter.nf_conntrack_max={used + 2 * wanted}"
    return Finding("conntrack", Level.WARN, seen, needed, why, sysctl_fix(sysctl), (sysctl,))


def _time_wait_ports(demand: Demand, churn_hz: float) -> Finding:
    """Judges the ports that TIME_WAIT keeps on the end that closes first, ours.

    tcp_tw_reuse lets connect() take one after a second: 1 for all, 2 on loopback alone (ip-sysctl.rst).
    """
    reuse = demand.host.tw_reuse == 1 or (demand.host.tw_reuse == 2 and demand.local)
    seconds = min(1.0 if reuse else TIME_WAIT_S, demand.churn_s)
    room = len({(route.source, route.destination) for route in demand.routes}) * ports_of(demand.host)
    kept = round(churn_hz * seconds)
    setting = "not known" if demand.host.tw_reuse is None else demand.host.tw_reuse
    seen = f"{room:,} ports, tcp_tw_reuse {setting}: each is kept for {seconds:g} s after its connection"
    needed = f"{demand.connections + kept:,} = {demand.connections:,} open + {format_rate(churn_hz)} x {seconds:g} s"
    if demand.connections + kept <= room:
        return Finding("time-wait", Level.OK, seen, needed)
    at_most = max(0, room - demand.connections) / seconds
    why = (
        f"connects fail with EADDRNOTAVAIL: ({room:,} - {demand.connections:,}) / {seconds:g} s = "
        f"{format_rate(at_most)} at most"
    )
    fix = "--close rst, which leaves none; or --source CIDR with more addresses"
    sysctls: tuple[str, ...] = ()
    if not reuse:
        sysctls = ("net.ipv4.tcp_tw_reuse=1",)
        fix += f"; or {sysctl_fix(sysctls[0])}"
    return Finding("time-wait", Level.FAIL, seen, needed, why, fix, sysctls)


def _time_wait_table(demand: Demand, churn_hz: float, limit: int) -> Finding:
    used, wanted = demand.host.time_waits or 0, round(churn_hz * demand.churn_s)
    seen = f"net.ipv4.tcp_max_tw_buckets {limit:,}, {used:,} in TIME_WAIT"
    needed = f"{wanted:,} = {format_rate(churn_hz)} x {demand.churn_s:g} s"
    if wanted <= limit - used:
        return Finding("tw-buckets", Level.OK, seen, needed)
    why = "past it the kernel forgets TIME_WAITs early, and a late segment of an old connection can reach a new one"
    sysctl = f"net.ipv4.tcp_max_tw_buckets={used + 2 * wanted}"
    return Finding("tw-buckets", Level.WARN, seen, needed, why, sysctl_fix(sysctl), (sysctl,))
