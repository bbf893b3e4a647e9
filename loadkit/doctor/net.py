"""The way of a connection through the kernel beside its ports: the listener's queues and connection tracking."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix

__all__ = ["check_net"]

_CONNTRACK_TIME_WAIT_S = 120  # nf_conntrack_tcp_timeout_time_wait


def check_net(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on the listener (where it is here) and on conntrack (where it is loaded)."""
    host = demand.host
    if demand.local or demand.serves_alone:
        if host.somaxconn is not None:
            yield _somaxconn(demand, host.somaxconn)
        if host.syn_backlog is not None and not demand.is_unix:
            yield _syn_backlog(demand, host.syn_backlog)
    if host.conntrack_max is not None and not demand.is_unix:
        yield _conntrack(demand, host.conntrack_max, host.conntrack_used or 0)


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
    why = f"the kernel cuts the backlog to {somaxconn:,}; connects beyond it "
    why += "get EAGAIN, and are tried again" if demand.is_unix else "wait a second for their next SYN"
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
    why = "tcp_syncookies is 0: SYNs beyond three quarters of it are dropped and sent again after a second"
    sysctl = f"net.ipv4.tcp_max_syn_backlog={-(-wanted * 4 // 3)}"
    fix = f"{sysctl_fix(sysctl)}; or sysctl -w net.ipv4.tcp_syncookies=1"
    return Finding("syn-backlog", Level.WARN, seen, needed, why, fix, (sysctl,))


def _conntrack(demand: Demand, limit: int, used: int) -> Finding:
    wanted = demand.connections + round((demand.churn_hz or 0) * _CONNTRACK_TIME_WAIT_S)
    seen = f"net.netfilter.nf_conntrack_max {limit:,}, {used:,} in use"
    needed = f"{wanted:,}, one per connection" + (
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
