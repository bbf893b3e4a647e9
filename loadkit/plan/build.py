"""A profile and the facts of the host, to a plan. Whatever cannot work is refused here, with the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from loadkit.errors import OptionError, PreflightError, ProfileError
from loadkit.host import Host
from loadkit.plan.addresses import (
    check_families,
    is_loopback,
    loopback_addresses,
    may_meet_itself,
    plan_addresses,
    plan_routes,
    reusable_ports,
    tuples_for,
)
from loadkit.plan.app import AppSpec
from loadkit.plan.model import EMBEDDED, PhaseKind, PhasePlan, Plan, Route, ServePlan, Target
from loadkit.plan.split import share
from loadkit.plan.time_wait import FAST_CHURN_HZ, churn_span_s, kept_for_s, ports_kept
from loadkit.profile.load import phased
from loadkit.profile.model import LONGEST_RUN, Close, EngineName, PhaseSpec, ProbePeers, Profile, Stamps
from loadkit.profile.spell import GivenOptions
from loadkit.sockets import Sockets
from loadkit.units import NS_PER_S, Duration, format_count, format_duration, format_rate

__all__ = [
    "FD_LEAST",
    "IMBALANCE",
    "blast_cores",
    "build_plan",
    "build_serve_plan",
    "busiest",
    "fd_limit_for",
    "fd_reserve",
    "ports_of",
    "workers_for",
]

# What a worker needs beside its connections: interpreter, loop, timers, control, listeners, libraries loaded late. It
# cannot do with fewer than the second, and where there are few a quarter is kept free for more.
_FD_RESERVE, FD_LEAST = 200, 36
IMBALANCE = 1.15
# Up to 10k/s one uvloop worker keeps up, and the connect histogram shows the peer and the kernel. Of many connections
# nobody wants to wait for: they come within 5 s, or at 20k/s, which is what two cores do of both ends.
DEFAULT_CONNECT_HZ, MOST_DEFAULT_CONNECT_HZ = 10_000.0, 20_000.0
DEFAULT_RAMP_S = 5.0

# All phases together are as long as one --duration may be (units.py): up to there every time is exact as a float.
LONGEST_NS = 2**53
_DAY_NS = 24 * 3600 * NS_PER_S

DEFAULT_DURATION = Duration.parse("10s")
DEFAULT_WARMUP = Duration.parse("2s")
# How long past the longest latency asked for a histogram reaches; a message can be older than its timeout when it had
# to wait for its turn.
LEAST_HIGHEST = Duration.parse("60s")


def fd_reserve(host: Host) -> int:
    """Returns how many of a process's file descriptors are not for connections."""
    return max(FD_LEAST, min(_FD_RESERVE, host.nofile_hard // 4))


def fd_limit_for(connections: int, host: Host) -> int:
    """Returns the lowest limit of open files with which a process holds so many connections."""
    limit = connections + FD_LEAST
    while limit - fd_reserve(replace(host, nofile_hard=limit)) < connections:
        limit += 1
    return limit


def workers_for(connections: int, host: Host) -> int:
    """Returns how many processes hold `connections` fds. Raises PreflightError when one process can hold none."""
    budget = host.nofile_hard - fd_reserve(host)
    if budget < 1:
        raise PreflightError(
            f"the hard limit of open files is {host.nofile_hard:,} a process and a worker needs {FD_LEAST} for "
            f"itself; raise it: ulimit -Hn 65536 (as root), docker run --ulimit nofile=65536, systemd LimitNOFILE=65536"
        )
    return -(-connections // budget)


def blast_cores(host: Host, embedded: bool, is_local: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns (blast end's cores, serve end's cores); an embedded server gets the other half of the machine.

    So does another server of this machine, which `is_local` stands for; but it is not for us to say where that runs. It
    has the first cores more often than the last ones: `loadkit serve -w 1` is pinned to the first.
    """
    cores = host.worker_cores
    if embedded and len(cores) >= 2:
        half = (len(cores) + 1) // 2
        return cores[:half], cores[half:]
    if is_local and not embedded:
        return cores[-_half(host) :], cores
    return cores, cores


def _half(host: Host) -> int:
    """Returns how many workers leave a server of this machine's its cores."""
    return (host.shared_cores + 1) // 2


def busiest(connections: int, workers: int) -> int:
    """Returns how many connections the busiest of the serve end's workers has to be able to take."""
    return connections if workers == 1 else -(-round(connections * IMBALANCE) // workers)


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
    engine: EngineName = EngineName.AUTO,
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
        _check_app(engine, edge_triggered, more.get("idle_timeout_ns"), probes)
    _check_triggering(engine, edge_triggered)
    return ServePlan(
        addresses,
        port,
        engine,
        count,
        cores if pin else (),
        edge_triggered=edge_triggered,
        stamps=stamps,
        probes=probes,
        app=app,
        **more,  # type: ignore[arg-type]
    )


def build_plan(
    profile: Profile,
    sources: Mapping[str, str],
    host: Host,
    target: Target | None,
    name: str | None = None,
    sockets: Sockets | None = None,
    options: GivenOptions | None = None,
) -> Plan:
    """Decides a blast run against `target`, or against an embedded server when it is None.

    `options` are those given beside the profile `name`; `profile` has them already. `sockets` are those around the
    target's port, where they are known: the run keeps off what they hold.
    Raises OptionError, ProfileError or PreflightError for what cannot work.
    """
    phases = _phases(profile)
    connections = max(phase.connections for phase in phases)
    _check_loop(profile, phases)
    _check_messages(profile)
    _check_triggering(profile.engine, profile.edge_triggered)
    is_beside = target is not None and target.is_local
    blast, serve = blast_cores(host, target is None, is_beside)
    if target is None and workers_for(connections, host) > len(serve):
        # More processes than cores, for their fds. They take turns, so each end may have all cores; connecting costs
        # the blast end three times what accepting costs the other.
        blast, serve = host.worker_cores, (*host.worker_cores[1:], host.worker_cores[0])
    elif is_beside and max(int(profile.workers or 0), workers_for(connections, host)) > len(blast):
        # That many were asked for, or their fds are needed: on all cores they are in each other's way the least.
        blast = host.worker_cores
    serve_plan = None
    if target is None:
        serve_plan = _embedded_server(profile, connections, serve, host)
        target = Target(EMBEDDED, serve_plan.addresses, 0, embedded=True, is_local=True)
    check_families(profile.source, target)
    workers = _workers(profile, connections, blast, host)
    span_ns = sum(phase.duration_ns for phase in phases)
    return Plan(
        target=target,
        connections=connections,
        connect_rate_hz=None if profile.connect_rate == math.inf else _connect_hz(profile, phases[0].connections),
        phases=phases,
        messages=_int(profile.messages),
        size_bytes=int(profile.size),
        depth=int(profile.depth),
        lifetime_ns=_int(profile.lifetime),
        timeout_ns=int(profile.timeout),
        connect_timeout_ns=int(profile.connect_timeout),
        opening=int(profile.opening),
        keepalive_ns=_int(profile.keepalive),
        close=profile.close,
        check=profile.check,
        engine=profile.engine,
        edge_triggered=profile.edge_triggered,
        workers=workers,
        cores=blast if profile.pin else (),
        lanes=min(workers, len(blast) if profile.pin else len(host.worker_cores)),
        stays_awake=_leaves_cores(workers, host)
        if is_beside
        else _has_cores_of_its_own(workers, blast, serve_plan, host),
        routes=_mark_own_ports(
            _routes(
                profile,
                connections,
                target,
                serve_plan,
                host,
                sockets,
                _kept_ports(profile, connections, phases, target, min(workers, len(blast)), host),
            ),
            target,
            host,
        ),
        serve=serve_plan,
        journey=profile.journey,
        stamps=profile.stamps,
        slo=profile.slo,
        highest_ns=max(int(LEAST_HIGHEST), 2 * (int(profile.timeout) + min(span_ns, 3600 * NS_PER_S))),
        profile=name,
        sources=dict(sources),
        options=options or {},
        phased=phased([_said(spec) for spec in profile.phases]),
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
    ramp = PhasePlan("ramp", PhaseKind.RAMP, round(opened / _connect_hz(profile, opened) * NS_PER_S), opened)
    drain = PhasePlan("drain", PhaseKind.DRAIN, int(profile.timeout), asked[-1].connections)
    names = [phase.name for phase in (ramp, *asked, drain)]
    if len(set(names)) < len(names):
        raise ProfileError(
            f"phases: names must differ from one another and from ramp and drain: {', '.join(names[1:-1])}"
        )
    total_ns = sum(phase.duration_ns for phase in (ramp, *asked))
    if total_ns > LONGEST_NS:
        raise ProfileError(
            f"the run would last {total_ns / _DAY_NS:,.0f} days, {ramp.duration_ns / _DAY_NS:,.0f} of them to open its "
            f"connections; {LONGEST_NS // _DAY_NS} days is the most: shorter phases, or a higher --connect-rate"
        )
    return (ramp, *asked, drain)


def _embedded_server(profile: Profile, connections: int, cores: tuple[int, ...], host: Host) -> ServePlan:
    """A worker a core, as `serve` has it; more where their fds do not suffice, and then each with its own addresses."""

    def plan(addresses: int, workers: int | None) -> ServePlan:
        return build_serve_plan(
            host,
            loopback_addresses(addresses),
            0,
            workers=workers,
            cores=cores,
            pin=profile.pin,
            connections=connections,
            engine=profile.engine,
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


def _kept_ports(
    profile: Profile, connections: int, phases: tuple[PhasePlan, ...], target: Target, workers: int, host: Host
) -> int:
    """Returns the ports beside those of the open connections that sources were asked for; 0 where none were.

    More sources than that the open connections need are taken only if they were given: addresses are not ours to take.
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


def _connect_hz(profile: Profile, connections: int) -> float:
    """Returns the connect rate; of --connect-rate max a guess, which says no more than how long the ramp may take."""
    if profile.connect_rate is not None and profile.connect_rate < math.inf:
        return float(profile.connect_rate)
    return min(MOST_DEFAULT_CONNECT_HZ, max(DEFAULT_CONNECT_HZ, connections / DEFAULT_RAMP_S))


def _phase(spec: PhaseSpec, profile: Profile) -> PhasePlan:
    rate = spec.rate or profile.rate
    return PhasePlan(
        name=spec.name,
        kind=PhaseKind.HOLD if spec.measured else PhaseKind.WARMUP,
        duration_ns=int(spec.duration),
        connections=int(spec.connections or profile.connections),
        rate_hz=(rate[0], rate[1]) if rate else None,
    )


def _said(spec: PhaseSpec) -> dict[str, object]:
    """Returns what a phase says for itself."""
    return {name: value for name in spec.__struct_fields__ if (value := getattr(spec, name)) is not None}


def _check_loop(profile: Profile, phases: tuple[PhasePlan, ...]) -> None:
    asked = [phase for phase in phases if phase.kind in (PhaseKind.WARMUP, PhaseKind.HOLD)]
    paced = [phase for phase in asked if phase.rate_hz is not None]
    if paced and len(paced) < len(asked):
        missing = next(phase.name for phase in asked if phase.rate_hz is None)
        raise ProfileError(
            f"phases: {missing} has no rate while {paced[0].name} has one; an open loop and a closed one cannot be "
            f"mixed in a run: give each phase a rate, or none"
        )
    held = [phase for phase in paced if phase.kind is PhaseKind.HOLD]
    if held and not any(sum(phase.rate_hz or ()) for phase in held):
        if profile.phases:
            raise ProfileError("phases: the measured ones all have rate 0 and send nothing; give one of them a rate")
        raise OptionError("--rate 0 sends nothing; give a rate, or leave it out for a closed loop")
    if profile.lifetime == 0 and paced:
        raise OptionError("--lifetime 0 (close after one exchange) is a closed loop; leave --rate out, or give a time")


def _check_messages(profile: Profile) -> None:
    """Refuses a schedule that --messages alone has to end, where it would not within the longest run."""
    if profile.messages is None or profile.rate is None or profile.duration is not None or profile.phases:
        return
    start_hz, end_hz = profile.rate
    if start_hz != end_hz:
        raise OptionError(
            f"--rate: it goes from {format_rate(start_hz)} to {format_rate(end_hz)} over --duration, and --messages "
            f"alone does not say how long that is; give a --duration too, or one rate"
        )
    span_ns = profile.messages * NS_PER_S / start_hz
    if span_ns > LONGEST_RUN:
        raise OptionError(
            f"--messages: {format_count(profile.messages)} messages at {format_rate(start_hz)} take "
            f"{format_duration(span_ns)}, longer than the {format_duration(LONGEST_RUN)} of the longest run without "
            f"--duration; a higher --rate, fewer --messages, or a --duration"
        )


def _has_cores_of_its_own(workers: int, cores: tuple[int, ...], serve: ServePlan | None, host: Host) -> bool:
    """Whether nobody waits for a core that a blast worker keeps by not sleeping."""
    everybody = workers + (serve.workers if serve else 0)
    apart = not serve or not set(cores) & set(serve.cores or cores)
    return workers <= len(cores) if apart else everybody <= len(host.worker_cores)


def _leaves_cores(workers: int, host: Host) -> bool:
    """Whether a server of this machine's can have a core that no worker keeps by not sleeping.

    20,000/s at an asyncio server on the same two cores: p99 4.6 to 5.2 ms with two workers that stay awake, 0.2 to
    0.3 ms with one, in six of six pairs (2-core VM, Linux 6.18).
    """
    return workers <= _half(host) and workers < host.shared_cores


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
        reserve = fd_reserve(host)
        budget = host.nofile_hard - reserve
        raise PreflightError(
            f"--workers {profile.workers}: {format_count(connections)} connections need {needed} processes of "
            f"{format_count(budget)} (hard limit of open files {format_count(host.nofile_hard)} less {reserve}); "
            f"leave --workers out, or raise the limit with ulimit -Hn"
        )
    if profile.workers > connections:
        raise OptionError(f"--workers: {profile.workers} workers for {connections} connections leave some with none")
    return int(profile.workers)


def _int(value: int | None) -> int | None:
    """Takes the unit off a quantity; the plan's field names carry it."""
    return None if value is None else int(value)


def ports_of(host: Host, sockets: Sockets | None = None, is_embedded: bool = False) -> int:
    """Returns how many ports connect() may choose from per (source, destination, port).

    Those that something listens on are not among them, whatever its address; an embedded server will take one of them.
    """
    bound = (len(sockets.bound) if sockets else 0) + is_embedded
    return max(0, host.port_high - host.port_low + 1 - host.reserved_ports - bound)
