"""From options to a plan that fits the machine, for the command line and the library alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadkit.doctor.demand import Demand, demand_of_blast, demand_of_plan, demand_of_serve, demand_of_serve_plan
from loadkit.doctor.finding import Finding
from loadkit.doctor.preflight import in_our_words, preflight
from loadkit.engine.registry import choose_engine, choose_serve_engine
from loadkit.errors import PreflightError
from loadkit.host import Host, raise_nofile, read_host
from loadkit.plan.build import build_plan, build_serve_plan
from loadkit.plan.model import Plan, ServePlan
from loadkit.profile.load import load_profile
from loadkit.profile.spell import as_given
from loadkit.report.slo import check_schedule, parse_slo
from loadkit.run.target import resolve
from loadkit.sockets import read_sockets

__all__ = ["PreparedBlast", "PreparedServe", "prepare_blast", "prepare_serve"]


@dataclass(frozen=True, slots=True)
class PreparedBlast:
    """A run decided, on the machine as it was seen, and what it asks of that."""

    plan: Plan
    host: Host
    demand: Demand

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
    raise_nofile()
    host = read_host()
    where = resolve(target) if target else None
    sockets = read_sockets(where.port, where.addresses, (host.port_low, host.port_high)) if where else None
    try:
        plan = build_plan(profile, sources, host, where, profile_name, sockets, as_given(options))
    except PreflightError as error:
        if profile.phases:
            raise  # which the doctor knows nothing of
        demand = demand_of_blast(host, int(profile.connections), where, profile.engine, sockets, profile.source)
        raise in_our_words(error, demand) from None
    check_schedule(objectives, plan.open_loop)
    engine = choose_engine(plan.engine, plan.edge_triggered)
    return PreparedBlast(plan, host, demand_of_plan(host, plan, engine, sockets))


def prepare_serve(listen: str, **options: Any) -> PreparedServe:
    """Looks at the machine and decides a serve end that listens there; `options` are those of build_serve_plan.

    The soft limit of open files is raised to the hard one. Raises OptionError, TargetError or PreflightError.
    """
    raise_nofile()
    host = read_host()
    where = resolve(listen, listening=True)
    try:
        plan = build_serve_plan(host, where.addresses, where.port, **options)
    except PreflightError as error:
        raise in_our_words(error, demand_of_serve(host, options.get("max_connections") or 0)) from None
    demand = demand_of_serve_plan(host, plan, engine=choose_serve_engine(plan))
    return PreparedServe(plan, host, where.host, demand)
