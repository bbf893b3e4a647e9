"""A profile and the facts of the host, to a plan. Whatever cannot work is refused here, with the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping

from loadkit.errors import OptionError, PreflightError, ProfileError
from loadkit.host import Host
from loadkit.plan.addresses import is_loopback, loopback_addresses, plan_routes, source_addresses, tuples_for
from loadkit.plan.model import EMBEDDED, PhaseKind, PhasePlan, Plan, ServePlan, Target
from loadkit.profile.model import LONGEST_RUN, EngineName, PhaseSpec, Profile
from loadkit.units import NS_PER_S, Duration, format_count, format_duration, format_rate

__all__ = [
    "FD_RESERVE",
    "IMBALANCE",
    "blast_cores",
    "build_plan",
    "build_serve_plan",
    "ports_of",
    "sources_for",
    "workers_for",
]

# What a worker needs beside its connections: interpreter, loop, timers, control, listeners, libraries loaded late.
FD_RESERVE = 200
# A hash over SO_REUSEPORT listeners is uneven: 400 connections over 4 gave max/mean 1.04, 4,000 1.06, 64 1.25.
IMBALANCE = 1.15

DEFAULT_DURATION = Duration.parse("10s")
DEFAULT_WARMUP = Duration.parse("2s")
# How long past the longest latency asked for a histogram reaches; a message can be older than its timeout when it had
# to wait for its turn.
LEAST_HIGHEST = Duration.parse("60s")


def workers_for(connections: int, host: Host) -> int:
    """Returns how many processes hold `connections` fds. Raises PreflightError when one process can hold none."""
    budget = host.nofile_hard - FD_RESERVE
    if budget < 1:
        raise PreflightError(
            f"the hard limit of open files is {host.nofile_hard:,} a process and a worker needs {FD_RESERVE} for "
            f"itself; raise it: ulimit -Hn 65536 (as root), docker run --ulimit nofile=65536, systemd LimitNOFILE=65536"
        )
    return -(-connections // budget)


def blast_cores(host: Host, embedded: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns (blast end's cores, serve end's cores); an embedded server gets the other half of the machine."""
    if not embedded or len(host.cores) < 2:
        return host.cores, host.cores
    half = (len(host.cores) + 1) // 2
    return host.cores[:half], host.cores[half:]


def build_serve_plan(
    host: Host,
    addresses: tuple[str, ...],
    port: int,
    *,
    workers: int | None = None,
    cores: tuple[int, ...] | None = None,
    pin: bool = True,
    connections: int = 0,
    engine: EngineName = EngineName.AUTO,
    edge_triggered: bool = False,
    **more: int | None,
) -> ServePlan:
    """Decides a serve end: a worker a core, more when `connections` fds need them."""
    cores = host.cores if cores is None else cores
    count = int(workers) if workers else max(len(cores), workers_for(round(connections * IMBALANCE), host))
    _check_triggering(engine, edge_triggered)
    return ServePlan(
        addresses,
        port,
        engine,
        count,
        cores if pin else (),
        edge_triggered=edge_triggered,
        **more,  # type: ignore[arg-type]
    )


def build_plan(
    profile: Profile, sources: Mapping[str, str], host: Host, target: Target | None, name: str | None = None
) -> Plan:
    """Decides a blast run against `target`, or against an embedded server when it is None.

    Raises OptionError, ProfileError or PreflightError for what cannot work.
    """
    phases = _phases(profile)
    connections = max(phase.connections for phase in phases)
    _check_loop(profile, phases)
    _check_ramp(profile, phases[0], sources)
    _check_triggering(profile.engine, profile.edge_triggered)
    blast, serve = blast_cores(host, target is None)
    serve_plan = None
    if target is None:
        listen = loopback_addresses(tuples_for(connections, ports_of(host)))
        target = Target(EMBEDDED, listen, 0, embedded=True)
        serve_plan = build_serve_plan(
            host,
            listen,
            0,
            cores=serve,
            pin=profile.pin,
            connections=connections,
            engine=profile.engine,
            edge_triggered=profile.edge_triggered,
        )
    workers = _workers(profile, connections, blast, host)
    _check_fds_system_wide(connections * (2 if serve_plan else 1), host)
    span_ns = sum(phase.duration_ns for phase in phases)
    return Plan(
        target=target,
        connections=connections,
        connect_rate_hz=float(profile.connect_rate),
        phases=phases,
        messages=_int(profile.messages),
        size_bytes=int(profile.size),
        depth=int(profile.depth),
        lifetime_ns=_int(profile.lifetime),
        timeout_ns=int(profile.timeout),
        connect_timeout_ns=int(profile.connect_timeout),
        close=profile.close,
        check=profile.check,
        engine=profile.engine,
        edge_triggered=profile.edge_triggered,
        workers=workers,
        cores=blast if profile.pin else (),
        routes=plan_routes(
            connections, sources_for(profile.source, connections, target, host), target.addresses, ports_of(host)
        ),
        serve=serve_plan,
        slo=profile.slo,
        highest_ns=max(int(LEAST_HIGHEST), 2 * (int(profile.timeout) + min(span_ns, 3600 * NS_PER_S))),
        profile=name,
        sources=dict(sources),
    )


def _phases(profile: Profile) -> tuple[PhasePlan, ...]:
    """The ramp that opens the first connections, what was asked, and the drain."""
    if profile.phases:
        for key in ("duration", "warmup"):
            if getattr(profile, key) is not None:
                raise ProfileError(f"{key}: each of the phases has a duration of its own; leave {key} out")
        asked = [_phase(spec, profile) for spec in profile.phases]
    else:
        first = DEFAULT_WARMUP if profile.messages is None else Duration(0)
        warmup = first if profile.warmup is None else profile.warmup
        whole = DEFAULT_DURATION if profile.messages is None else LONGEST_RUN
        hold = whole if profile.duration is None else profile.duration
        rate = (profile.rate[0], profile.rate[1]) if profile.rate else None
        asked = [PhasePlan("hold", PhaseKind.HOLD, int(hold), int(profile.connections), rate)]
        if warmup:
            flat = None if rate is None else (rate[0], rate[0])
            asked.insert(0, PhasePlan("warm-up", PhaseKind.WARMUP, int(warmup), int(profile.connections), flat))
    if not any(phase.kind is PhaseKind.HOLD for phase in asked):
        raise ProfileError("phases: none is measured; leave `measured = false` out of at least one")
    opened = asked[0].connections
    ramp = PhasePlan("ramp", PhaseKind.RAMP, round(opened / profile.connect_rate * NS_PER_S), opened)
    drain = PhasePlan("drain", PhaseKind.DRAIN, int(profile.timeout), asked[-1].connections)
    names = [phase.name for phase in (ramp, *asked, drain)]
    if len(set(names)) < len(names):
        raise ProfileError(
            f"phases: names must differ from one another and from ramp and drain: {', '.join(names[1:-1])}"
        )
    return (ramp, *asked, drain)


def _phase(spec: PhaseSpec, profile: Profile) -> PhasePlan:
    rate = spec.rate or profile.rate
    return PhasePlan(
        name=spec.name,
        kind=PhaseKind.HOLD if spec.measured else PhaseKind.WARMUP,
        duration_ns=int(spec.duration),
        connections=int(spec.connections or profile.connections),
        rate_hz=(rate[0], rate[1]) if rate else None,
    )


def _check_loop(profile: Profile, phases: tuple[PhasePlan, ...]) -> None:
    asked = [phase for phase in phases if phase.kind in (PhaseKind.WARMUP, PhaseKind.HOLD)]
    paced = [phase for phase in asked if phase.rate_hz is not None]
    if paced and len(paced) < len(asked):
        missing = next(phase.name for phase in asked if phase.rate_hz is None)
        raise ProfileError(
            f"phases: {missing} has no rate while {paced[0].name} has one; an open loop and a closed one cannot be "
            f"mixed in a run: give each phase a rate, or none"
        )
    if profile.lifetime == 0 and paced:
        raise OptionError("--lifetime 0 (close after one exchange) is a closed loop; leave --rate out, or give a time")


def _check_ramp(profile: Profile, ramp: PhasePlan, sources: Mapping[str, str]) -> None:
    """Refuses a ramp longer than what it is for: a run that mostly opens connections measures nothing else."""
    if profile.phases:
        return
    duration = profile.duration or (DEFAULT_DURATION if profile.messages is None else LONGEST_RUN)
    if ramp.duration_ns > duration:
        needed = math.ceil(ramp.connections * NS_PER_S / duration)
        raise OptionError(
            f"--connect-rate: {format_count(ramp.connections)} connections at {format_rate(profile.connect_rate)} take "
            f"{format_duration(ramp.duration_ns)}, longer than the {format_duration(duration)} of --duration; ask for "
            f"--connect-rate {needed} or more, or --duration {-(-ramp.duration_ns // NS_PER_S)}s or more"
        )


def _check_triggering(engine: EngineName, edge_triggered: bool) -> None:
    if edge_triggered and engine not in (EngineName.AUTO, EngineName.NATIVE):
        raise OptionError(
            f"--edge-triggered: the loop of --engine {engine} is level-triggered; use --engine native, or leave it out"
        )


def _workers(profile: Profile, connections: int, cores: tuple[int, ...], host: Host) -> int:
    needed = workers_for(connections, host)
    if profile.workers is None:
        # A worker with nothing to open would only add its cost.
        return min(connections, max(len(cores), needed))
    if profile.workers < needed:
        budget = host.nofile_hard - FD_RESERVE
        raise PreflightError(
            f"--workers {profile.workers}: {format_count(connections)} connections need {needed} processes of "
            f"{format_count(budget)} (hard limit of open files {format_count(host.nofile_hard)} less {FD_RESERVE}); "
            f"leave --workers out, or raise the limit with ulimit -Hn"
        )
    if profile.workers > connections:
        raise OptionError(f"--workers: {profile.workers} workers for {connections} connections leave some with none")
    return int(profile.workers)


def _check_fds_system_wide(needed: int, host: Host) -> None:
    if host.file_max is None:
        return
    free = host.file_max - (host.files_used or 0)
    if needed > free:
        raise PreflightError(
            f"{format_count(needed)} file descriptors are needed on this machine and {format_count(free)} are left of "
            f"fs.file-max {format_count(host.file_max)}; raise it: sysctl -w fs.file-max={needed * 2}"
        )


def sources_for(networks: tuple[str, ...], connections: int, target: Target, host: Host) -> tuple[str | None, ...]:
    """Returns the addresses to connect from: those of `networks` if any, else as many of loopback as are needed.

    (None,) leaves the choice to the kernel. Raises OptionError for a network that is none.
    """
    wanted = tuples_for(connections, ports_of(host))
    if networks:
        return source_addresses(networks, wanted)
    if target.embedded or wanted == 1 or not all(_is_v4_loopback(address) for address in target.addresses):
        return (None,)
    # A foreign server on loopback may listen on one address only, so we fan out over sources.
    return loopback_addresses(wanted)


def _int(value: int | None) -> int | None:
    """Takes the unit off a quantity; the plan's field names carry it."""
    return None if value is None else int(value)


def _is_v4_loopback(address: str) -> bool:
    return is_loopback(address) and ":" not in address


def ports_of(host: Host) -> int:
    """Returns how many ports connect() may choose from per (source, destination, port)."""
    return host.port_high - host.port_low + 1 - host.reserved_ports
