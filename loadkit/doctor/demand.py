"""What a run would ask of the machine: the numbers that the checks share, decided by the plan's own functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from loadkit.errors import PreflightError
from loadkit.host import Host
from loadkit.limits import Ulimit
from loadkit.measure.board import BoardLayout
from loadkit.plan.addresses import is_loopback
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import ServePlan, build_serve_plan
from loadkit.plan.target import Route, Target
from loadkit.plan.time_wait import FAST_CHURN_HZ, TIME_WAIT_S, churn_span_s
from loadkit.profile.blast import Close, Profile
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ServeProfile
from loadkit.sockets import LOOPBACK_ADDRESSES, Sockets
from loadkit.units import NS_PER_S, Count, Duration

__all__ = [
    "Barred",
    "Demand",
    "demand_of_blast",
    "demand_of_plan",
    "demand_of_serve",
    "demand_of_serve_plan",
]

BACKLOG = 4096  # what `loadkit serve` listens with

_ENDLESS_FDS: dict[str, Any] = {"nofile_hard": 2**62}
_ENDLESS_PORTS: dict[str, Any] = {"port_low": 0, "port_high": 2**31, "reserved_ports": 0}
_WHOLE_LOOPBACK: dict[str, Any] = {"loopback_addresses": LOOPBACK_ADDRESSES}


class Barred(NamedTuple):
    """A pair of addresses between which no connection can begin, and the errno that says so (sockets.find_obstacle)."""

    source: str | None
    destination: str
    errno: int


@dataclass(frozen=True, slots=True)
class Demand:
    """The `connections` that `host` is to hold, and which of their ends are here. 0: as many as others open."""

    host: Host
    connections: int
    target: Target | None  # None: only the serve end is here, and the connections come from elsewhere
    engine: EngineName
    blast_workers: int  # 0: the blast end is not ours, or no process can hold any connection
    serve_workers: int
    routes: tuple[Route, ...] = ()
    refused: str = ""  # the plan's words, where there are too few ports
    backlog: int = BACKLOG
    churn_hz: float | None = None  # connections closed by FIN a second
    is_least_churn: bool = False  # no fewer than that; where a lifetime decides, slow replies make it fewer
    free_churn_hz: float | None = None  # the most there can be, where nothing but the speed of both ends limits them
    churn_most: int | None = None  # how many are closed by FIN at all, where that is known
    is_counted: bool = False  # the run ends with a number of messages, at a time that is not known
    sockets: Sockets | None = None  # around the target's port, where they are known
    churn_s: float = TIME_WAIT_S  # how long for, as far as it matters: TIME_WAITs older than a minute are gone
    networks: tuple[str, ...] = ()  # that sources were asked for from
    is_own_target: bool = False  # one of this machine's own addresses, other than loopback
    barred: tuple[Barred, ...] = ()
    unsettled: tuple[str, ...] = ()  # sources that an interface has, and that the kernel lets no socket have yet
    lacks_v6: bool = False  # IPv6 is switched off on the loopback interface
    interface: str = "lo"  # by which connections to the target leave
    open_files: int = 0  # of the process that would start the workers
    ulimits: tuple[Ulimit, ...] = ()  # of that process, which the workers inherit
    blast_board_bytes: int = 0  # the shared memory in which workers count
    serve_board_bytes: int = 0
    pool_bytes: int = 0  # of messages that are made before the run, which all workers share
    fallback: str | None = None  # as in ChosenEngine
    is_unix: bool = False  # the connections are UNIX sockets, whose ends are both here

    @property
    def embedded(self) -> bool:
        """Whether loadkit is both ends."""
        return self.target is not None and self.target.embedded

    @property
    def serves_alone(self) -> bool:
        """Whether only the serve end is here."""
        return self.target is None

    @property
    def loopback(self) -> bool:
        """Whether connections go over loopback."""
        return self.embedded or (self.target is not None and all(map(is_loopback, self.target.addresses)))

    @property
    def local(self) -> bool:
        """Whether both ends of a connection live in this machine's kernel."""
        return self.loopback or self.is_own_target or self.is_unix

    @property
    def ends(self) -> int:
        """Ends of a connection that are here, each with a socket and a file descriptor."""
        return 2 if self.local else 1

    @property
    def workers(self) -> int:
        """Processes of both ends."""
        return self.blast_workers + self.serve_workers


def demand_of_plan(host: Host, plan: Plan, sockets: Sockets | None = None) -> Demand:
    """Returns what a run asks of this machine; `sockets` are those around the target's port."""
    load, here = plan.load, plan.here
    serve = here.serve
    by_fin = load.close is Close.FIN and load.lifetime_ns is not None
    lifetime_ns, counted = load.lifetime_ns or 0, load.messages is not None
    return Demand(
        host=host,
        connections=load.connections,
        target=plan.target,
        engine=here.engine,
        blast_workers=here.workers,
        serve_workers=serve.workers if serve else 0,
        routes=here.routes,
        backlog=serve.backlog if serve else BACKLOG,
        blast_board_bytes=BoardLayout.of_blast(load, here).size_bytes,
        serve_board_bytes=BoardLayout.of_serve(serve).size_bytes if serve else 0,
        churn_hz=load.connections * NS_PER_S / lifetime_ns if by_fin and lifetime_ns else None,
        # How long a connection of one exchange lasts is the target's affair.
        free_churn_hz=FAST_CHURN_HZ * here.lanes if by_fin and not lifetime_ns else None,
        # Each of these has one message.
        churn_most=load.connections + (load.messages or 0) if by_fin and counted and not lifetime_ns else None,
        is_counted=counted,
        pool_bytes=load.pool.memory_bytes if load.pool else 0,
        churn_s=churn_span_s(load.phases),
        sockets=sockets,
        fallback=here.fallback,
        is_unix=plan.target.is_unix,
    )


def demand_of_serve_plan(host: Host, plan: ServePlan, connections: int = 0) -> Demand:
    """Returns what a serve end asks, for at most `connections` where that is known."""
    return Demand(
        host=host,
        connections=connections or plan.max_connections or 0,
        target=None,
        engine=plan.engine,
        blast_workers=0,
        serve_workers=plan.workers,
        backlog=plan.backlog,
        serve_board_bytes=BoardLayout.of_serve(plan).size_bytes,
        fallback=plan.fallback,
        is_unix=plan.is_unix,
    )


def demand_of_blast(
    host: Host,
    connections: int,
    target: Target | None,
    engine: ChosenEngine,
    sockets: Sockets | None = None,
    source: tuple[str, ...] = (),
    churn_hz: float | None = None,
) -> Demand:
    """Returns what `loadkit blast -c N` would ask, with an embedded server where `target` is None.

    `sockets` are those around the target's port, `source` the networks to connect from; `churn_hz` connections are
    closed by FIN a second, for as long as it takes. Where the plan refuses, the numbers are those of a machine that
    has what is missing. Raises OptionError for a text that is not a network.
    """
    profile = Profile(connections=Count(connections), source=source)
    if churn_hz is not None:
        lifetime = Duration(max(1, round(connections * NS_PER_S / churn_hz)))
        profile = msgspec.structs.replace(
            profile, close=Close.FIN, lifetime=lifetime, duration=Duration(lifetime + round(TIME_WAIT_S) * NS_PER_S)
        )
    plan, refused = _try(host, profile, target, engine, sockets), ""
    if isinstance(plan, str):
        # Ports and addresses stand in the way, or files; the findings report both by themselves.
        without_files = _try(replace(host, **_ENDLESS_FDS), profile, target, engine, sockets)
        with_loopback = _try(replace(host, **_WHOLE_LOOPBACK), profile, target, engine, sockets)
        lacks_loopback = not isinstance(with_loopback, str)
        refused = without_files if isinstance(without_files, str) else plan if lacks_loopback else ""
        hosts = (replace(host, **more) for more in (_ENDLESS_PORTS, _ENDLESS_FDS, _ENDLESS_FDS | _ENDLESS_PORTS))
        plans = (_try(one, profile, target, engine, sockets) for one in hosts)
        plan = next(one for one in plans if not isinstance(one, str))
    demand = demand_of_plan(host, plan, sockets)
    return replace(
        demand, refused=refused, churn_hz=churn_hz, is_least_churn=True, churn_s=TIME_WAIT_S, networks=source
    )


def demand_of_serve(host: Host, connections: int, engine: ChosenEngine) -> Demand:
    """Returns what `loadkit serve` would ask for `connections` from elsewhere."""
    try:
        plan = build_serve_plan(host, (), 0, engine=engine, connections=connections)
    except PreflightError:
        plan = build_serve_plan(host, (), 0, ServeProfile(workers=Count(len(host.worker_cores))), engine=engine)
    return demand_of_serve_plan(host, plan, connections)


def _try(
    host: Host, profile: Profile, target: Target | None, engine: ChosenEngine, sockets: Sockets | None
) -> Plan | str:
    """Returns the plan, or the words in which it refuses."""
    try:
        return build_plan(profile, {}, host, target, engine, sockets=sockets)
    except PreflightError as error:
        return str(error)
