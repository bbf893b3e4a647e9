"""The placement: one machine's share of a load. Which workers on which cores, by which routes, with which engine."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.errors import OptionError, PreflightError
from loadkit.host import Host
from loadkit.plan.addresses import check_families
from loadkit.plan.capacity import fd_reserve, workers_for
from loadkit.plan.cores import cores_for, stays_awake
from loadkit.plan.engine import ChosenEngine, check_engine, needs_of
from loadkit.plan.load import Load
from loadkit.plan.origins import DERIVED, asked_by, worked_out
from loadkit.plan.routes import routes_of
from loadkit.plan.serve import ServePlan, embedded_server
from loadkit.plan.target import EMBEDDED, Route, Target
from loadkit.plan.tcp_options import refuse_tcp_options
from loadkit.profile.blast import Profile
from loadkit.profile.engines import EngineName
from loadkit.sockets import Sockets
from loadkit.units import format_count

__all__ = ["Placement", "place"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's share of a load, decided: nothing in it is `auto`.

    The options behind each value stand on its field.
    """

    engine: Annotated[EngineName, asked_by("engine", otherwise=DERIVED)]
    fallback: Annotated[str | None, worked_out()] = None  # as in ChosenEngine
    edge_triggered: Annotated[bool, asked_by("edge_triggered")]
    workers: Annotated[int, asked_by("workers", otherwise=DERIVED)]
    cores: Annotated[tuple[int, ...], asked_by("pin", otherwise=DERIVED)]  # empty: not pinned
    # Workers that open connections at the same time, one per core; those of a core do so in turn.
    lanes: Annotated[int, worked_out()]
    stays_awake: Annotated[bool, worked_out()]  # before a message is due: only if each worker has a core of its own
    routes: Annotated[tuple[Route, ...], asked_by("source", otherwise=DERIVED)]
    serve: Annotated[ServePlan | None, worked_out()]  # the embedded serve end

    def __post_init__(self) -> None:
        ChosenEngine(self.engine)  # refuses what is not decided


def place(
    load: Load, profile: Profile, host: Host, target: Target | None, engine: ChosenEngine, sockets: Sockets | None
) -> tuple[Target, Placement]:
    """Decides where a load runs on a machine. Returns the target too: if `target` is None, the embedded server.

    Raises OptionError or PreflightError for a load that cannot work there.
    """
    check_engine(engine.name, needs_of(profile))
    cores, serve_cores = cores_for(profile, load.connections, target, host)
    serve = None
    if target is None:
        serve = embedded_server(profile, load.connections, serve_cores, host, engine)
        target = Target(EMBEDDED, serve.addresses, 0, embedded=True, is_local=True)
    if target.is_unix:
        refuse_tcp_options(profile, target.host)
    check_families(profile.source, target)
    workers = _workers(profile, load.connections, cores, host)
    return target, Placement(
        engine=engine.name,
        fallback=engine.fallback,
        edge_triggered=profile.edge_triggered,
        workers=workers,
        cores=cores if profile.pin else (),
        lanes=min(workers, len(cores) if profile.pin else len(host.worker_cores)),
        stays_awake=stays_awake(workers, cores, target, serve, host),
        routes=routes_of(profile, load.phases, target, serve, host, sockets, min(workers, len(cores))),
        serve=serve,
    )


def _workers(profile: Profile, connections: int, cores: tuple[int, ...], host: Host) -> int:
    needed = workers_for(connections, host)
    if profile.workers is None:
        # A worker with nothing to open would only add its cost.
        return min(connections, max(len(cores), needed))
    if profile.workers < needed:
        reserve = fd_reserve(host)
        budget = host.nofile_hard - reserve
        raise PreflightError(
            f"--workers {profile.workers}: {format_count(connections)} connections need {needed} processes of "
            f"{format_count(budget)} (hard limit of open files {format_count(host.nofile_hard)} less {reserve}); "
            f"leave --workers out, or raise the limit with ulimit -Hn"
        )
    if profile.workers > connections:
        raise OptionError(
            f"--workers: {profile.workers} workers for {connections} connections leave some workers idle; give at most "
            f"{connections}"
        )
    return int(profile.workers)
