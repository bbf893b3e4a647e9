"""A serve end, decided: by itself, or embedded in a blast run."""

from __future__ import annotations

import msgspec

from loadkit.errors import OptionError, PreflightError
from loadkit.host import Host
from loadkit.plan.addresses import loopback_addresses, tuples_for
from loadkit.plan.app import AppSpec
from loadkit.plan.capacity import IMBALANCE, fd_reserve, ports_of, workers_for
from loadkit.plan.engine import ChosenEngine
from loadkit.profile.model import EngineName, ProbePeers, Profile, Stamps
from loadkit.units import format_count

__all__ = ["ServePlan", "build_serve_plan", "check_triggering", "embedded_server"]


class ServePlan(msgspec.Struct, frozen=True):
    """A serve end: one worker a process, each with SO_REUSEPORT listeners on every one of `addresses`.

    Where `is_apart`, each has addresses of its own instead, as many as the others: then nothing is left to a hash,
    which would give one worker more connections than it has file descriptors for.

    `app` is what runs instead of the echo. `settle_ns` of the grace are for handshakes that are under way at the stop:
    where blast has both ends there are none. They take a round trip, and longer on a kernel that is busy.

    `port` 0 is a free one: the group of workers knows it once it is up. `fallback` is as in ChosenEngine.
    """

    addresses: tuple[str, ...]
    port: int
    engine: EngineName
    workers: int
    cores: tuple[int, ...]  # empty: not pinned; else worker i runs on cores[i % len(cores)]
    backlog: int = 4096
    max_connections: int | None = None
    idle_timeout_ns: int | None = None
    grace_ns: int = 5 * 10**9
    settle_ns: int = 50 * 10**6
    edge_triggered: bool = False
    stamps: Stamps = Stamps.OFF
    probes: ProbePeers = ProbePeers.LOOPBACK
    is_apart: bool = False
    app: AppSpec | None = None
    fallback: str | None = None

    def __post_init__(self) -> None:
        ChosenEngine(self.engine)  # refuses what is not decided

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
    *,
    workers: int | None = None,
    cores: tuple[int, ...] | None = None,
    pin: bool = True,
    connections: int = 0,
    engine: ChosenEngine,
    edge_triggered: bool = False,
    stamps: Stamps = Stamps.OFF,
    probes: ProbePeers = ProbePeers.LOOPBACK,
    app: AppSpec | None = None,
    **more: int | None,
) -> ServePlan:
    """Decides a serve end: a worker a core, more when `connections` fds need them. With `app` it runs that.

    Raises OptionError for what an app, or the engine, has not.
    """
    cores = host.worker_cores if cores is None else cores
    count = int(workers) if workers else _serve_workers(connections, len(cores), host)
    if app:
        _check_app(engine.name, edge_triggered, more.get("idle_timeout_ns"), probes)
    check_triggering(engine.name, edge_triggered)
    return ServePlan(
        addresses,
        port,
        engine.name,
        count,
        cores if pin else (),
        edge_triggered=edge_triggered,
        stamps=stamps,
        probes=probes,
        app=app,
        fallback=engine.fallback,
        **more,  # type: ignore[arg-type]
    )


def embedded_server(
    profile: Profile, connections: int, cores: tuple[int, ...], host: Host, engine: ChosenEngine
) -> ServePlan:
    """Returns the serve end of a run that has both: one worker per core, as `serve` has it.

    There are more if their file descriptors do not suffice, and then each has addresses of its own.
    """

    def plan(addresses: int, workers: int | None) -> ServePlan:
        return build_serve_plan(
            host,
            loopback_addresses(addresses),
            0,
            workers=workers,
            cores=cores,
            pin=profile.pin,
            connections=connections,
            engine=engine,
            edge_triggered=profile.edge_triggered,
            stamps=profile.stamps,
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
    return msgspec.structs.replace(plan(workers * each, workers), is_apart=True)


def _check_app(engine: EngineName, edge_triggered: bool, idle_timeout_ns: int | None, probes: ProbePeers) -> None:
    if engine is EngineName.NATIVE or edge_triggered:
        option = "--edge-triggered" if edge_triggered else "--engine native"
        raise OptionError(
            f"{option}: the native engine has no place for an app of Python; use --engine uvloop or asyncio, or leave "
            f"it out"
        )
    if idle_timeout_ns:
        raise OptionError("--idle-timeout: only the app knows when a connection of its own is idle; leave it out")
    if probes is ProbePeers.ALL:
        raise OptionError("--probes: an app answers by itself, and knows nothing of probes; leave it out")


def check_triggering(engine: EngineName, edge_triggered: bool) -> None:
    """Raises OptionError if the engine has no edge-triggered loop."""
    if edge_triggered and engine is not EngineName.NATIVE:
        raise OptionError(
            f"--edge-triggered: the loop of --engine {engine} is level-triggered; use --engine native, or leave it out"
        )
