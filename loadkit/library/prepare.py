"""From options to a plan that fits the machine, for the command line and the library alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loadkit.doctor.demand import Demand, demand_of_blast, demand_of_plan, demand_of_serve, demand_of_serve_plan
from loadkit.doctor.finding import Finding
from loadkit.doctor.preflight import in_our_words, preflight
from loadkit.engine.registry import choose_engine
from loadkit.engine.settings import check_settings
from loadkit.errors import PreflightError, UnreachableError
from loadkit.host import Host, raise_nofile, read_host
from loadkit.library.metrics import MetricsAsked
from loadkit.plan.app import app_of, parse_app
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.engine import ChosenEngine, needs_of
from loadkit.plan.messages import files_named
from loadkit.plan.serve import ServePlan, build_serve_plan
from loadkit.plan.sockets import sockets_of
from loadkit.plan.target import Target
from loadkit.profile.blast import Profile
from loadkit.profile.contents import read_contents
from loadkit.profile.read import load_profile, load_serve_profile
from loadkit.profile.spell import GivenOptions, as_given
from loadkit.report.conditions import check_watchable, parse_condition
from loadkit.report.counts import times_of
from loadkit.report.slo import check_possible, parse_slo
from loadkit.run.target import resolve, resolve_listen
from loadkit.sockets import Sockets, read_sockets

__all__ = ["PreparedBlast", "PreparedServe", "prepare_blast", "prepare_serve", "run_at_first_reachable"]

# Of a seed that nobody gave: short enough to be typed again.
SEED_BITS = 32

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class PreparedBlast:
    """A run decided, on the machine as it was seen, and what it asks of that.

    `find_next` decides the same run for the next address of the target's name; it returns None if no address is left.
    """

    plan: Plan
    host: Host
    demand: Demand
    metrics: MetricsAsked
    find_next: Callable[[], PreparedBlast | None]

    def check_machine(self) -> tuple[Finding, ...]:
        """Returns what limits the run. Raises PreflightError for what cannot work."""
        return preflight(self.demand)


@dataclass(frozen=True, slots=True)
class PreparedServe:
    """A serve end decided. `name` is the host as it was given."""

    plan: ServePlan
    host: Host
    name: str
    demand: Demand
    metrics: MetricsAsked

    def check_machine(self) -> tuple[Finding, ...]:
        """Returns what limits it. Raises PreflightError for what cannot work."""
        return preflight(self.demand)


def prepare_blast(
    target: str | None,
    profile_name: str | None,
    options: Mapping[str, Any],
    origins: Mapping[str, str] | None = None,
) -> PreparedBlast:
    """Reads profile and options, looks at the machine and decides the run; `target` None is an embedded server.

    `origins` has what came from the environment: name of an option, `target` or `profile` -> where from. The soft
    limit of open files is raised to the hard one. Raises ProfileError, OptionError, TargetError or PreflightError.
    """
    origins = origins or {}
    profile, sources = load_profile(profile_name, options, origins)
    sources |= {key: origin for key, origin in origins.items() if key in ("target", "profile")}
    objectives = [parse_slo(expression) for expression in profile.slo]
    conditions = [parse_condition(expression) for expression in profile.abort_on]
    raise_nofile()
    engine = choose_engine(profile.engine, needs_of(profile))
    check_settings(sockets_of(profile))
    contents = read_contents("--send", files_named(profile.send), read_host().free_memory_bytes)
    fresh_seed = secrets.randbits(SEED_BITS)
    asked = _Asked(profile, sources, profile_name, as_given(options), engine, fresh_seed, contents)
    if target is None:
        prepared = _prepare(asked, None, ())
    else:
        first, *others = resolve(target, profile.source)
        prepared = _prepare(asked, first, tuple(others))
    load = prepared.plan.load
    check_possible(objectives, [phase.name for phase in load.phases], times_of(load))
    check_watchable(conditions, load)
    return prepared


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a run was asked for, whatever address it goes to."""

    profile: Profile
    sources: Mapping[str, str]
    name: str | None
    options: GivenOptions
    engine: ChosenEngine
    fresh_seed: int
    contents: Mapping[str, bytes]  # of the files that its messages name


def _prepare(asked: _Asked, where: Target | None, others: tuple[Target, ...]) -> PreparedBlast:
    """Decides the run at one address; `others` are those that may be gone on to."""
    profile, host = asked.profile, read_host()
    sockets = _sockets_around(where, host)
    try:
        plan = build_plan(
            profile,
            asked.sources,
            host,
            where,
            asked.engine,
            name=asked.name,
            sockets=sockets,
            options=asked.options,
            fresh_seed=asked.fresh_seed,
            contents=asked.contents,
        )
    except PreflightError as error:
        if profile.phases:
            raise  # which the doctor knows nothing of
        demand = demand_of_blast(host, int(profile.connections), where, asked.engine, sockets, profile.source)
        raise in_our_words(error, demand) from None
    demand = demand_of_plan(host, plan, sockets)
    return PreparedBlast(
        plan, host, demand, MetricsAsked.of(profile), lambda: _prepare(asked, others[0], others[1:]) if others else None
    )


def _sockets_around(where: Target | None, host: Host) -> Sockets | None:
    """Returns the sockets around the target's port; None if it has none."""
    if where is None or where.is_unix:
        return None
    return read_sockets(where.port, where.addresses, (host.port_low, host.port_high))


def run_at_first_reachable(
    prepared: PreparedBlast, run: Callable[[Plan], _Result], say: Callable[[str], None]
) -> tuple[PreparedBlast, _Result]:
    """Runs at the first address of the target's name to which a connection can be opened.

    Nothing but the run's own first connection finds that out: a server that takes one connection has to have it. `say`
    is told of each address that is passed over. Returns what was prepared for the address, and what `run` returned.
    Raises UnreachableError with all the addresses if no address can be reached, and what `run` raises.
    """
    failed: list[str] = []
    while True:
        try:
            return prepared, run(prepared.plan)
        except UnreachableError as error:
            following = prepared.find_next()
            if following is None and not failed:
                raise
            failed.append(f"{prepared.plan.target.addresses[0]}: {error.reason}")
            if following is None:
                raise UnreachableError(error.where, "; ".join(failed), error.way_out) from None
            say(f"{error.where}: {failed[-1]}; going on to {following.plan.target.addresses[0]}")
            prepared = following
            prepared.check_machine()


def prepare_serve(
    listen: str,
    options: Mapping[str, Any],
    profile_name: str | None = None,
    origins: Mapping[str, str] | None = None,
) -> PreparedServe:
    """Reads the options of a serve end, looks at the machine and decides it. `app` of the options may be an object.

    `origins` has what came from elsewhere than an option: its name, or `listen` -> default or `environment LOADKIT_…`.
    The soft limit of open files is raised to the hard one. Raises ProfileError, OptionError, TargetError or
    PreflightError.
    """
    app = options.get("app")
    texts = {name: value for name, value in options.items() if name != "app" or isinstance(app, str)}
    profile, sources = load_serve_profile(profile_name, texts, origins)
    sources |= {"listen": (origins or {}).get("listen", "option")}
    if app is None or isinstance(app, str):
        spec = parse_app(profile.app, str(Path.cwd())) if profile.app else None
    else:
        spec, sources["app"] = app_of(app), "option"
    check_settings(sockets_of(profile))
    raise_nofile()
    host = read_host()
    where = resolve_listen(listen)
    chosen = choose_engine(profile.engine, needs_of(profile, has_app=spec is not None))
    try:
        plan = build_serve_plan(host, where.addresses, where.port, profile, engine=chosen, app=spec, sources=sources)
    except PreflightError as error:
        raise in_our_words(error, demand_of_serve(host, int(profile.max_connections or 0), chosen)) from None
    demand = demand_of_serve_plan(host, plan)
    return PreparedServe(plan, host, where.host, demand, MetricsAsked.of(profile))
