"""The routes that a machine's connections take to the target, apart from the ports that closed ones still hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from loadkit.host import Host
from loadkit.plan.addresses import is_loopback, may_meet_itself, plan_addresses, plan_routes, reusable_ports
from loadkit.plan.capacity import ports_of
from loadkit.plan.pacing import share
from loadkit.plan.phases import PhasePlan
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Route, Target
from loadkit.plan.time_wait import FAST_CHURN_HZ, churn_span_s, kept_for_s, ports_kept
from loadkit.profile.blast import Close, Profile
from loadkit.sockets import Sockets
from loadkit.units import NS_PER_S

__all__ = ["routes_of"]


def routes_of(
    profile: Profile,
    phases: Sequence[PhasePlan],
    target: Target,
    serve: ServePlan | None,
    host: Host,
    sockets: Sockets | None,
    lanes: int,
) -> tuple[Route, ...]:
    """Returns the routes of the connections. `sockets` are those around the target's port, whose ports the run avoids.

    `lanes` is how many workers open connections at the same time. Raises PreflightError if there are too few ports.
    """
    connections = max(phase.connections for phase in phases)
    if target.is_unix:
        return (Route(None, target.addresses[0], connections),)
    kept = _kept_ports(profile, connections, phases, target, lanes, host)
    return _mark_own_ports(_routes(profile, connections, target, serve, host, sockets, kept), target, host)


def _kept_ports(
    profile: Profile, connections: int, phases: Sequence[PhasePlan], target: Target, workers: int, host: Host
) -> int:
    """Returns how many ports closed connections will hold (TIME_WAIT), for which more sources are taken.

    It is 0 unless sources were given: loadkit takes no addresses by itself.
    """
    if not profile.source or profile.close is not Close.FIN or profile.lifetime is None:
        return 0
    lifetime_ns = int(profile.lifetime)
    churn_hz = connections * NS_PER_S / lifetime_ns if lifetime_ns else FAST_CHURN_HZ * workers
    seconds = min(
        kept_for_s(host, target.embedded or all(map(is_loopback, target.addresses))),
        churn_span_s(phases),
    )
    return ports_kept(churn_hz, seconds, None, host.tw_max)


def _routes(
    profile: Profile,
    connections: int,
    target: Target,
    serve: ServePlan | None,
    host: Host,
    sockets: Sockets | None,
    kept: int,
) -> tuple[Route, ...]:
    if serve and serve.is_apart:
        # Every address is some serve worker's, and has its share.
        of = len(target.addresses)
        return tuple(
            Route(None, address, share(connections, index, of)) for index, address in enumerate(target.addresses)
        )
    ports = ports_of(host, sockets, target.embedded)
    sources, destinations = plan_addresses(
        connections + kept,
        target.addresses,
        profile.source,
        ports,
        sockets,
        target.embedded,
        host.loopback_addresses,
    )
    return plan_routes(
        connections,
        sources,
        destinations,
        ports,
        used=sockets.used if sockets else {},
        reusable=reusable_ports(sockets, host),
        port_range=(host.port_low, host.port_high),
        uses_all=kept > 0,
    )


def _mark_own_ports(routes: Iterable[Route], target: Target, host: Host) -> tuple[Route, ...]:
    """Marks the routes whose connections have to be checked for being connected to themselves."""
    ports = host.port_low, host.port_high
    return tuple(
        msgspec.structs.replace(route, may_meet_itself=may_meet_itself(route, target.port, ports, target.is_local))
        for route in routes
    )
