"""A serve end, decided: by itself, or embedded in a blast run."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.endpoint import is_unix
from loadkit.errors import OptionError, PreflightError
from loadkit.host import Host
from loadkit.plan.addresses import loopback_addresses, tuples_for
from loadkit.plan.app import AppSpec
from loadkit.plan.capacity import IMBALANCE, fd_reserve, ports_of, workers_for
from loadkit.plan.engine import ChosenEngine, check_engine, needs_of
from loadkit.plan.origins import DERIVED, Sources, asked_by, origins_of, worked_out
from loadkit.plan.sockets import SOCKET_OPTIONS, SocketValues, socket_origins, sockets_of
from loadkit.plan.tcp_options import refuse_tcp_options
from loadkit.profile.blast import Profile
from loadkit.profile.both import Stamps
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ProbePeers, ServeProfile, embedded_profile
from loadkit.units import Count, format_count

__all__ = ["SETTLE_NS", "ServePlan", "build_serve_plan", "embedded_server"]

# How much of the grace is for handshakes that are under way at the stop.
SETTLE_NS = 50 * 10**6
_DEFAULTS = ServeProfile()


class ServePlan(msgspec.Struct, frozen=True):
    """A serve end: each worker is a process with SO_REUSEPORT listeners on each of `addresses`.

    If `is_apart`, each worker has addresses of its own instead, the same number for all. Then no hash chooses the
    worker: a hash could give one worker more connections than it has file descriptors for.

    `app` runs instead of the echo. `settle_ns` of the grace are for handshakes that are under way at the stop. They
    take a round trip, and longer if the kernel is busy. If blast has both ends, no handshake is under way then.

    `port` 0 is a free port; the group of workers knows its number when it is up. `fallback` is as in ChosenEngine.

    On a UNIX socket all workers accept from one listener, and `port` is 0. `socket_mode` are the permissions of its
    path; None: those that the umask leaves. With `proxy_protocol` each connection has to begin with a PROXY header.

    `origins` says where each of the other values came from, and is empty for a server that a blast embeds.
    `socket_origins` says it of each socket option.
    """

    addresses: Annotated[tuple[str, ...], asked_by("listen")]
    port: Annotated[int, asked_by("listen")]
    engine: Annotated[EngineName, asked_by("engine", otherwise=DERIVED)]
    workers: Annotated[int, asked_by("workers", otherwise=DERIVED)]
    # Empty: not pinned; else worker i runs on cores[i % len(cores)].
    cores: Annotated[tuple[int, ...], asked_by("pin", otherwise=DERIVED)]
    backlog: Annotated[int, asked_by("backlog")] = 4096
    max_connections: Annotated[int | None, asked_by("max_connections")] = None
    idle_timeout_ns: Annotated[int | None, asked_by("idle_timeout")] = None
    grace_ns: Annotated[int, asked_by("grace")] = 5 * 10**9
    settle_ns: Annotated[int, worked_out()] = SETTLE_NS
    edge_triggered: Annotated[bool, asked_by("edge_triggered")] = False
    stamps: Annotated[Stamps, asked_by("stamps")] = Stamps.OFF
    probes: Annotated[ProbePeers, asked_by("probes")] = ProbePeers.LOOPBACK
    is_apart: Annotated[bool, worked_out()] = False
    app: Annotated[AppSpec | None, asked_by("app")] = None
    fallback: Annotated[str | None, worked_out()] = None
    socket_mode: Annotated[int | None, asked_by("socket_mode")] = None
    proxy_protocol: Annotated[bool, asked_by("proxy_protocol")] = False
    sockets: Annotated[SocketValues, asked_by(*SOCKET_OPTIONS)] = {}
    socket_origins: Annotated[dict[str, str], worked_out()] = {}
    origins: Annotated[dict[str, str], worked_out()] = {}

    def __post_init__(self) -> None:
        ChosenEngine(self.engine)  # refuses what is not decided

    @property
    def is_unix(self) -> bool:
        """Whether it listens on a UNIX socket."""
        return bool(self.addresses) and is_unix(self.addresses[0])

    @property
    def is_hashed(self) -> bool:
        """Whether the kernel's hash gives connections to workers (SO_REUSEPORT)."""
        return not (self.is_apart or self.is_unix)

    def addresses_of(self, index: int) -> tuple[str, ...]:
        """Returns where worker `index` listens."""
        if not self.is_apart:
            return self.addresses
        each = len(self.addresses) // self.workers
        return self.addresses[index * each : (index + 1) * each]


def _serve_workers(connections: int, cores: int, host: Host) -> int:
    if cores == workers_for(connections, host) == 1:
        return 1
    return max(cores, workers_for(round(connections * IMBALANCE), host))


def build_serve_plan(
    host: Host,
    addresses: tuple[str, ...],
    port: int,
    profile: ServeProfile = _DEFAULTS,
    *,
    engine: ChosenEngine,
    app: AppSpec | None = None,
    cores: tuple[int, ...] | None = None,
    connections: int = 0,
    settle_ns: int = SETTLE_NS,
    sources: Sources | None = None,
) -> ServePlan:
    """Decides a serve end: a worker per core, or more if `connections` need more file descriptors.

    With `app` it runs that instead of the echo. Raises OptionError for an option that the app or the engine lacks, and
    PreflightError if a process may not open enough files for a single connection.
    """
    cores = host.worker_cores if cores is None else cores
    count = int(profile.workers) if profile.workers else _serve_workers(connections, len(cores), host)
    if app:
        _check_app(profile)
    if addresses and is_unix(addresses[0]):
        refuse_tcp_options(profile, addresses[0])
        settle_ns = 0  # there are no handshakes
    elif profile.socket_mode is not None:
        raise OptionError("--socket-mode: only the path of a UNIX socket has permissions; leave it out")
    check_engine(engine.name, needs_of(profile, has_app=app is not None))
    return ServePlan(
        addresses,
        port,
        engine.name,
        count,
        cores if profile.pin else (),
        backlog=int(profile.backlog),
        max_connections=None if profile.max_connections is None else int(profile.max_connections),
        idle_timeout_ns=None if profile.idle_timeout is None else int(profile.idle_timeout),
        grace_ns=int(profile.grace),
        settle_ns=settle_ns,
        edge_triggered=profile.edge_triggered,
        stamps=profile.stamps,
        probes=ProbePeers.of(profile.probes),
        app=app,
        fallback=engine.fallback,
        proxy_protocol=profile.proxy_protocol,
        socket_mode=None if profile.socket_mode is None else profile.socket_mode.bits,
        sockets=sockets_of(profile),
        socket_origins=socket_origins(sources or {}),
        origins={} if sources is None else _origins(sources),
    )


def _origins(sources: Sources) -> dict[str, str]:
    found = origins_of(ServePlan, sources)
    return {name: origin for name, origin in found.items() if not name.endswith("origins")}


def embedded_server(
    profile: Profile, connections: int, cores: tuple[int, ...], host: Host, engine: ChosenEngine
) -> ServePlan:
    """Returns the serve end that a blast embeds: one worker per core, as `serve` has.

    If their file descriptors do not suffice, there are more workers, and each has addresses of its own. Raises
    PreflightError if loopback has too few addresses for that.
    """

    def plan(addresses: int, workers: Count | None) -> ServePlan:
        return build_serve_plan(
            host,
            loopback_addresses(addresses),
            0,
            msgspec.structs.replace(embedded_profile(profile), workers=workers),
            engine=engine,
            cores=cores,
            connections=connections,
            settle_ns=0,
        )

    ports = ports_of(host, is_embedded=True)
    whole = plan(max(1, min(tuples_for(connections, ports), host.loopback_addresses)), None)
    if whole.workers <= len(cores):
        return whole
    workers = max(len(cores), workers_for(connections, host))
    each = tuples_for(-(-connections // workers), ports)
    while -(-connections // (workers * each)) * each > host.nofile_hard - fd_reserve(host):
        workers += 1
    if workers * each > host.loopback_addresses:
        raise PreflightError(
            f"{format_count(connections)} connections take {workers} workers to serve, each with {each} address(es) of "
            f"loopback, and there are {host.loopback_addresses}; add 127.0.0.0/8: ip addr add 127.0.0.1/8 dev lo"
        )
    return msgspec.structs.replace(plan(workers * each, Count(workers)), is_apart=True)


def _check_app(profile: ServeProfile) -> None:
    """Raises OptionError for what only the echo can do, whatever the engine."""
    if profile.idle_timeout:
        raise OptionError("--idle-timeout: only the app knows when a connection of its own is idle; leave it out")
    if profile.proxy_protocol:
        raise OptionError("--proxy-protocol: an app reads all bytes of its connections by itself; leave it out")
    if profile.probes:
        raise OptionError("--probes: an app answers by itself, and knows nothing of probes; leave it out")
