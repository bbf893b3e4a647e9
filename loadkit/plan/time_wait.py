"""Ports that closed connections keep: the end that closes first, ours with --close fin, has them in TIME_WAIT.

connect() does not give such a port out again towards the same address and port, for a minute, or for a second where
net.ipv4.tcp_tw_reuse lets it.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.host import Host
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.units import NS_PER_S

__all__ = ["FAST_CHURN_HZ", "TIME_WAIT_S", "churn_span_s", "kept_for_s", "ports_kept"]

TIME_WAIT_S = 60.0  # TCP_TIMEWAIT_LEN of include/net/tcp.h
_REUSED_MS = 1_000  # net.ipv4.tcp_tw_reuse_delay; Linux before 6.14 has none, and compares whole seconds
# Where a connection lasts for one exchange, nothing but both ends' speed limits how many end. A worker on a core of its
# own ended 14,000 by FIN in a second on loopback (2-core VM, Linux 6.18): this is beyond what one does.
FAST_CHURN_HZ = 20_000.0


def kept_for_s(host: Host, is_loopback: bool) -> float:
    """Returns for how many seconds a port is kept after its connection ended.

    tcp_tw_reuse (ip-sysctl.rst): 1 gives a port out again after a second, 2 on loopback only, 0 never; None: not known.
    Without TCP timestamps none is given out again early (tcp_twsk_unique in net/ipv4/tcp_ipv4.c).
    """
    reuses = host.tw_reuse == 1 or (host.tw_reuse == 2 and is_loopback)
    if not reuses or host.timestamps == 0:
        return TIME_WAIT_S
    delay_ms = _REUSED_MS if host.tw_reuse_delay_ms is None else host.tw_reuse_delay_ms
    return min(TIME_WAIT_S, delay_ms / 1_000)


def churn_span_s(phases: Sequence[PhasePlan]) -> float:
    """Returns for how many seconds connections end and others open in their place; at most TIME_WAIT_S, as ports do.

    In the drain nothing opens any more. In all other phases each connection ends as often as they have a lifetime.
    """
    total_ns = sum(phase.duration_ns for phase in phases if phase.kind is not PhaseKind.DRAIN)
    return min(TIME_WAIT_S, total_ns / NS_PER_S)


def ports_kept(churn_hz: float, seconds: float, most: int | None, tw_max: int | None) -> int:
    """Returns how many ports are kept at a time if `churn_hz` connections end per second; at most `most`.

    net.ipv4.tcp_max_tw_buckets is no rate: with so many in TIME_WAIT the kernel frees the port of the next one at once.
    Seen on Linux 6.18: of 3,000 ports and 1,000 buckets 14,600 connections per second went on for as long as asked.
    """
    limits = (round(churn_hz * seconds), most, tw_max)
    return min(limit for limit in limits if limit is not None)
