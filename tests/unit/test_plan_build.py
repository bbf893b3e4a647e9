from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.cgroup import CgroupLimits
from loadkit.distribution import Durations
from loadkit.errors import LoadkitError, OptionError, PreflightError, ProfileError
from loadkit.host import Host
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.capacity import FD_LEAST, fd_reserve, ports_of, workers_for
from loadkit.plan.cores import blast_cores
from loadkit.plan.phases import PhaseKind
from loadkit.plan.serve import build_serve_plan
from loadkit.plan.split import Shard, split
from loadkit.plan.target import Target
from loadkit.profile.blast import PhaseSpec, Profile
from loadkit.profile.read import load_profile
from loadkit.profile.serve import ServeProfile
from loadkit.units import NS_PER_S, ConnectRate, Count, Duration, Pace
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

_HOST = made_up_host()
_REMOTE = Target("db", ("10.0.0.1",), 5432)
_LOCAL = Target("localhost", ("127.0.0.1",), 9000)


def _plan(target: Target | None = None, host: Host = _HOST, **options: Any) -> Plan:
    return build_plan(*load_profile(None, options), host, target, ENGINE)


def _phase(name: str, **more: Any) -> PhaseSpec:
    return PhaseSpec(name=name, duration=Duration.parse("1s"), **more)


def _split(plan: Plan) -> tuple[Shard, ...]:
    return split(plan.load, plan.here, plan.target.port)


def _shape(plan: Plan) -> list[tuple[str, PhaseKind, int]]:
    return [(phase.name, phase.kind, phase.duration_ns) for phase in plan.load.phases]


def test_a_run_is_a_ramp_a_warm_up_a_hold_and_a_drain() -> None:
    # 1,000 connections at 20,000/s take 50 ms; the drain is at most the time-out
    assert _shape(_plan(connect_rate="20k")) == [
        ("ramp", PhaseKind.RAMP, 50_000_000),
        ("warm-up", PhaseKind.WARMUP, 2 * 10**9),
        ("hold", PhaseKind.HOLD, 10 * 10**9),
        ("drain", PhaseKind.DRAIN, 10 * 10**9),
    ]


def test_a_run_of_a_number_of_messages_has_no_warm_up_and_a_day_to_end() -> None:
    plan = _plan(messages="5k", timeout="3s")
    assert _shape(plan)[1:] == [
        ("hold", PhaseKind.HOLD, 24 * 3600 * 10**9),
        ("drain", PhaseKind.DRAIN, 3 * 10**9),
    ]
    assert plan.load.messages == 5_000


def test_a_warm_up_of_zero_is_left_out() -> None:
    assert [phase.name for phase in _plan(warmup="0").load.phases] == ["ramp", "hold", "drain"]


def test_a_ramp_of_rates_warms_up_at_its_first_rate() -> None:
    plan = _plan(rate="1k:10k")
    assert [phase.rate_hz for phase in plan.load.phases] == [None, (1_000, 1_000), (1_000, 10_000), None]
    assert plan.load.open_loop
    assert plan.load.asked_rate_hz == 5_500  # (1,000 + 10,000) / 2


def test_without_a_rate_the_loop_is_closed() -> None:
    plan = _plan()
    assert not plan.load.open_loop
    assert plan.load.asked_rate_hz is None


@pytest.mark.parametrize(
    ("options", "seed", "origin"),
    [
        pytest.param({"rate": "1k"}, None, "derived", id="nothing is random"),
        pytest.param({"think": "5ms"}, 99, "derived", id="pauses"),
        pytest.param({"rate": "1k", "arrivals": "exp"}, 99, "derived", id="no seed was given"),
        pytest.param({"rate": "1k", "arrivals": "exp", "seed": 7}, 7, "option", id="a seed was given"),
        pytest.param({"rate": "1k", "arrivals": "exp", "seed": 0}, 0, "option", id="seed 0 is a seed"),
    ],
)
def test_a_run_has_one_seed_and_says_where_it_came_from(options: dict[str, Any], seed: int | None, origin: str) -> None:
    plan = build_plan(*load_profile(None, options), _HOST, None, ENGINE, fresh_seed=99)
    assert (plan.load.seed, plan.origins.load["seed"]) == (seed, origin)


@pytest.mark.parametrize(
    ("text", "kept"), [("5000us", "5ms"), ("exp:0.5s", "exp:500ms"), ("uniform:1ms-9ms", "uniform:1ms-9ms")]
)
def test_pauses_are_kept_as_one_text_whatever_way_they_were_written(text: str, kept: str) -> None:
    load = _plan(think=text).load
    assert load.think == kept
    assert load.pauses == Durations.parse(text)
    assert load.is_timed
    assert not load.open_loop


def test_random_arrivals_need_a_rate() -> None:
    with pytest.raises(OptionError, match="--arrivals exp needs a --rate"):
        _plan(arrivals="exp")


def test_phases_take_what_they_do_not_say_from_the_profile() -> None:
    profile = Profile(
        connections=Count(100),
        rate=Pace.parse("1k"),
        phases=(_phase("a", measured=False), _phase("b", connections=Count(300)), _phase("c", rate=Pace.parse("4k"))),
    )
    plan = build_plan(profile, {}, _HOST, None, ENGINE, name="x")
    assert [(phase.name, phase.kind.value, phase.connections, phase.rate_hz) for phase in plan.load.phases] == [
        ("ramp", "ramp", 100, None),  # opens what the first phase holds
        ("a", "warm-up", 100, (1_000, 1_000)),
        ("b", "hold", 300, (1_000, 1_000)),
        ("c", "hold", 100, (4_000, 4_000)),
        ("drain", "drain", 100, None),
    ]
    assert plan.load.connections == 300
    assert plan.load.asked_rate_hz == 2_500  # a second at 1,000 and one at 4,000


@pytest.mark.parametrize(
    ("cores", "embedded", "blast", "serve"),
    [
        ((0, 1), True, (0,), (1,)),
        ((0, 1, 2), True, (0, 1), (2,)),  # the odd one measures
        ((3,), True, (3,), (3,)),
        ((0, 1), False, (0, 1), (0, 1)),
    ],
)
def test_an_embedded_server_gets_the_other_half_of_the_cores(
    cores: tuple[int, ...], embedded: bool, blast: tuple[int, ...], serve: tuple[int, ...]
) -> None:
    assert blast_cores(made_up_host(cores=cores), embedded) == (blast, serve)


_BESIDE = Target("us", ("192.0.2.7",), 9000, is_local=True)


@pytest.mark.parametrize(
    ("facts", "options", "cores", "stays_awake"),
    [
        pytest.param({}, {}, (1,), True, id="half of two"),
        pytest.param({}, {"workers": "1"}, (1,), True, id="one asked for"),
        # Both cores would be kept from the server, 100 us before each message.
        pytest.param({}, {"workers": "2"}, (0, 1), False, id="as many as cores"),
        pytest.param({}, {"workers": "3"}, (0, 1), False, id="more than cores"),
        pytest.param({"cpus": 1, "cores": (0,)}, {}, (0,), False, id="one core for both"),
        pytest.param({"cpus": 3, "cores": (0, 1, 2)}, {}, (1, 2), True, id="the odd one measures"),
        pytest.param({"cpus": 8, "cores": tuple(range(8))}, {}, (4, 5, 6, 7), True, id="half of eight"),
        pytest.param(
            {"cpus": 8, "cores": tuple(range(8))}, {"workers": "5"}, tuple(range(8)), False, id="five of eight"
        ),
        # taskset: the other cores are there for the server
        pytest.param({"cores": (1,)}, {}, (1,), True, id="a mask of one of two"),
        pytest.param({"cpus": 8, "cores": (0, 1, 2)}, {}, (0, 1, 2), True, id="a mask of three of eight"),
        pytest.param({"cpus": 8, "cores": (0, 1, 2, 3, 4)}, {}, (1, 2, 3, 4), True, id="a mask of five of eight"),
        # A container: a server in it has no more cores than we have.
        pytest.param({"cpus": 8, "cores": (3,), "cgroup": CgroupLimits(cpus=1)}, {}, (3,), False, id="a cpuset of one"),
        pytest.param({"cpus": 8, "cores": (3, 5), "cgroup": CgroupLimits(cpus=2)}, {}, (5,), True, id="of two"),
        pytest.param(
            {"cpus": 8, "cores": tuple(range(8)), "cgroup": CgroupLimits(cpu_cores=1.5)}, {}, (1,), True, id="a quota"
        ),
        pytest.param(
            {"cpus": 8, "cores": tuple(range(8)), "cgroup": CgroupLimits(cpu_cores=0.5)}, {}, (0,), False, id="of half"
        ),
        # 20,000 / 19,800 -> 2 processes
        pytest.param({}, {"connections": "20k"}, (0, 1), False, id="many connections"),
    ],
)
def test_a_server_on_this_machine_is_left_cores_of_its_own(
    facts: dict[str, Any], options: dict[str, Any], cores: tuple[int, ...], stays_awake: bool
) -> None:
    plan = _plan(_BESIDE, made_up_host(**facts), **options)
    assert (plan.here.cores, plan.here.stays_awake) == (cores, stays_awake)
    assert plan.here.workers == max(int(options.get("workers", len(cores))), workers_for(plan.load.connections, _HOST))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_elsewhere_is_measured_on_all_cores_and_awake(workers: int) -> None:
    plan = _plan(_REMOTE, workers=str(workers))
    assert (plan.here.cores, plan.here.stays_awake) == ((0, 1), True)


@pytest.mark.parametrize(
    ("target", "sources", "checked"),
    [
        # The made-up host gives out the ports 32,768 to 60,999.
        pytest.param(Target("x", ("127.0.0.1",), 40_000, is_local=True), [], True, id="a port of the range"),
        pytest.param(Target("x", ("127.0.0.1",), 60_999, is_local=True), [], True, id="its last"),
        pytest.param(Target("x", ("127.0.0.1",), 61_000, is_local=True), [], False, id="one above it"),
        pytest.param(Target("x", ("127.0.0.1",), 9_000, is_local=True), [], False, id="one below it"),
        pytest.param(Target("x", ("::1",), 40_000, is_local=True), [], True, id="IPv6"),
        pytest.param(Target("x", ("0.0.0.0",), 40_000, is_local=True), [], True, id="all addresses"),
        pytest.param(Target("x", ("192.0.2.7",), 40_000, is_local=True), [], True, id="another of ours"),
        pytest.param(Target("x", ("192.0.2.7",), 40_000), [], False, id="elsewhere"),
        pytest.param(Target("x", ("127.0.0.5",), 40_000, is_local=True), [], False, id="reached from 127.0.0.1"),
        pytest.param(Target("x", ("127.0.0.1",), 40_000, is_local=True), ["127.0.0.9"], False, id="from another"),
        pytest.param(Target("x", ("127.0.0.1",), 40_000, is_local=True), ["127.0.0.1"], True, id="from itself"),
        pytest.param(None, [], True, id="embedded: at a port of the range"),
    ],
)
def test_connections_are_checked_for_being_connected_to_themselves_where_they_can_be(
    target: Target | None, sources: list[str], checked: bool
) -> None:
    [route] = _plan(target, connections="10", source=sources).here.routes
    assert route.may_meet_itself is checked
    for shard in _split(_plan(target, connections="10", source=sources, workers="2")):
        assert [route.may_meet_itself for route in shard.routes] == [checked]


@pytest.mark.parametrize(
    ("connections", "hard", "processes"),
    [
        (1, 37, 1),  # a budget of 1
        (300, 400, 1),  # a quarter is kept
        (301, 400, 2),
        (19_800, 20_000, 1),  # exactly 20,000 - 200
        (19_801, 20_000, 2),
        (100_000, 20_000, 6),  # 100,000 / 19,800 = 5.05
        (10**6, 2**62, 1),
    ],
)
def test_processes_are_what_the_fd_budget_makes_them(connections: int, hard: int, processes: int) -> None:
    assert workers_for(connections, made_up_host(nofile_hard=hard)) == processes


def test_a_host_where_no_process_can_hold_a_connection_is_refused_with_the_way_out() -> None:
    with pytest.raises(PreflightError, match=r"hard limit of open files is 36 .* needs 36 for itself.*ulimit -Hn"):
        workers_for(1, made_up_host(nofile_hard=FD_LEAST))


def test_both_ends_get_the_processes_that_their_fds_need() -> None:
    plan = _plan(connections="30k", connect_rate="30k")
    assert plan.here.serve is not None
    # blast: 30,000 / 19,800 -> 2; serve: 30,000 x 1.15 = 34,500 / 19,800 -> 2
    assert (plan.here.workers, plan.here.serve.workers) == (2, 2)


@pytest.mark.parametrize(
    ("connections", "workers", "each"),
    [
        # 1,000,000 / 19,800 -> 51 workers; 19,608 of each / 8,000 -> 3 addresses of each, 153 in all
        pytest.param("1m", 51, 3, id="a million"),
        # 100,000 / 19,800 -> 6; 16,667 / 8,000 -> 3
        pytest.param("100k", 6, 3, id="a hundred thousand"),
        # 950,400 = 48 x 19,800: three addresses of 6,600 make a worker full to the last file
        pytest.param("950400", 48, 3, id="to the last file"),
    ],
)
def test_more_serve_workers_than_cores_have_as_many_addresses_each_as_their_ports_need(
    connections: str, workers: int, each: int
) -> None:
    plan = _plan(connections=connections)
    serve, routes = plan.here.serve, plan.here.routes
    assert serve is not None
    assert serve.is_apart
    assert (serve.workers, len(serve.addresses)) == (workers, workers * each)
    assert [route.destination for route in routes] == list(serve.addresses)
    assert sum(route.connections for route in routes) == plan.load.connections
    assert max(route.connections for route in routes) <= 8_000
    for index in range(workers):
        own = serve.addresses_of(index)
        assert sum(route.connections for route in routes if route.destination in own) <= 20_000 - 200


def test_there_is_a_worker_a_core_but_none_without_a_connection() -> None:
    host = made_up_host(cores=tuple(range(8)), cpus=8)
    assert _plan(_REMOTE, host).here.workers == 8
    assert _plan(_REMOTE, host, connections="3").here.workers == 3


@pytest.mark.parametrize(
    ("quota", "workers"),
    [
        pytest.param(None, 8, id="no quota: a worker a core"),
        pytest.param(16.0, 8, id="more time than cores"),
        pytest.param(3.0, 3, id="a worker a core's worth"),
        pytest.param(2.5, 3, id="the part of one is one more"),
        pytest.param(0.1, 1, id="at least one"),
    ],
)
def test_a_cpu_quota_decides_the_number_of_workers(quota: float | None, workers: int) -> None:
    host = made_up_host(cpus=64, cores=tuple(range(8)), cgroup=CgroupLimits(cpu_cores=quota))
    serve = build_serve_plan(host, ("127.0.0.1",), 7000, engine=ENGINE)
    assert (serve.workers, serve.cores) == (workers, tuple(range(workers)))
    blast = build_plan(Profile(), {}, host, Target("10.0.0.5", ("10.0.0.5",), 7000), ENGINE).here
    assert (blast.workers, blast.cores) == (workers, tuple(range(workers)))
    both = build_plan(Profile(), {}, host, None, ENGINE).here
    assert both.serve is not None
    assert both.workers + both.serve.workers == max(2, workers)


def test_unpinned_workers_have_no_cores() -> None:
    plan = _plan(pin=False)
    assert plan.here.serve is not None
    assert plan.here.cores == plan.here.serve.cores == ()


@pytest.mark.parametrize(
    ("target", "sources", "destinations"),
    [
        # 20,000 connections need 3 tuples of at most 8,000
        pytest.param(None, {None}, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}, id="embedded: over its own addresses"),
        pytest.param(_LOCAL, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}, {"127.0.0.1"}, id="loopback: over sources"),
        pytest.param(_REMOTE, {None}, {"10.0.0.1"}, id="elsewhere: the kernel's choice"),
        pytest.param(Target("x", ("::1",), 1), {None}, {"::1"}, id="IPv6 has one loopback address"),
    ],
)
def test_connections_fan_out_over_loopback_addresses_without_being_asked(
    target: Target | None, sources: set[str | None], destinations: set[str]
) -> None:
    plan = _plan(target, connections="20k")
    assert {route.source for route in plan.here.routes} == sources
    assert {route.destination for route in plan.here.routes} == destinations
    assert sum(route.connections for route in plan.here.routes) == 20_000


def test_networks_of_the_options_are_the_sources() -> None:
    plan = _plan(_REMOTE, connections="20k", source=["10.1.0.0/30", "10.2.0.1"])
    # taken in turn, as many as 8,000 each need
    assert [route.source for route in plan.here.routes] == ["10.1.0.1", "10.2.0.1", "10.1.0.2"]


def test_a_small_port_range_takes_more_loopback_addresses() -> None:
    host = made_up_host(port_low=40_000, port_high=41_999, reserved_ports=1_000)
    assert ports_of(host) == 1_000
    plan = _plan(host=host, connections="5k")
    assert plan.here.serve is not None
    # One of them is the server's own: 5,000 / 999
    assert len(plan.here.serve.addresses) == 6
    assert {route.connections for route in plan.here.routes} == {833, 834}


_REFUSED = [
    pytest.param(
        {"connections": "30k"},
        _REMOTE,
        {},
        PreflightError,
        "30,000 connections need more ports than there are: 1 source address(es) x 1 destination(s) x 28,232 ephemeral "
        "ports = 28,232; give more source addresses with --source CIDR",
        id="more connections than ports",
    ),
    pytest.param(
        {"connections": "30k", "workers": "1"},
        None,
        {},
        PreflightError,
        # 20,000 - 200 = 19,800 a process
        "--workers 1: 30,000 connections need 2 processes of 19,800 (hard limit of open files 20,000 less 200)",
        id="too few workers for the fds",
    ),
    pytest.param(
        {"connections": "2", "workers": "3"},
        None,
        {},
        OptionError,
        "--workers: 3 workers for 2 connections leave some workers idle",
        id="more workers than connections",
    ),
    pytest.param(
        {"rate": "1k", "lifetime": "0"},
        None,
        {},
        OptionError,
        "--lifetime 0 (close after one exchange) is a closed loop; leave --rate out",
        id="a rate for one exchange a connection",
    ),
    pytest.param({"rate": "0"}, None, {}, OptionError, "--rate 0 sends nothing", id="a rate of nothing"),
    pytest.param({"rate": "0:0"}, None, {}, OptionError, "--rate 0 sends nothing", id="a ramp of nothing"),
    pytest.param(
        {"rate": "10:1k", "messages": "2k"},
        None,
        {},
        OptionError,
        "--rate: it goes from 10/s to 1,000/s over --duration, and --messages alone does not say how long that is",
        id="a ramp of rates that messages alone would end",
    ),
    pytest.param(
        {"rate": "1k", "messages": "100m"},  # 10^8 / 10^3 = 10^5 s
        None,
        {},
        OptionError,
        "--messages: 100,000,000 messages at 1,000/s take 100,000 s, longer than the 86,400 s of the longest run",
        id="more messages than the longest run has time for",
    ),
    pytest.param(
        {"source": ["10.0.0.0/99"]},
        _REMOTE,
        {},
        OptionError,
        "--source: expected a network such as 10.0.0.0/28 or an address, got '10.0.0.0/99'",
        id="a network that is none",
    ),
]


@pytest.mark.parametrize(("options", "target", "facts", "error", "message"), _REFUSED)
def test_what_cannot_work_is_refused_with_the_arithmetic(
    options: dict[str, Any], target: Target | None, facts: dict[str, Any], error: type[LoadkitError], message: str
) -> None:
    with pytest.raises(error) as caught:
        _plan(target, made_up_host(**facts), **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": "10:1k", "messages": "2k", "duration": "5s"},
        {"rate": "1k", "messages": "86.4m"},
        {"messages": "100m"},
    ],
    ids=["a ramp of rates with a duration", "as many as the longest run has time for", "a closed loop"],
)
def test_messages_that_end_in_time_are_planned(options: dict[str, Any]) -> None:
    assert _plan(**options).load.messages is not None


def test_one_fd_a_connection_is_counted_where_the_server_is_elsewhere() -> None:
    assert _plan(_REMOTE, made_up_host(file_max=20_500), connections="10k").load.connections == 10_000
    assert _plan(None, made_up_host(file_max=None), connections="10k").load.connections == 10_000


def test_a_ramp_may_take_longer_than_what_is_measured() -> None:
    plan = _plan(connections="100k", connect_rate="1k", duration="10s")
    ramp, _warmup, hold, _drain = plan.load.phases
    assert (ramp.duration_ns, hold.duration_ns) == (100 * NS_PER_S, 10 * NS_PER_S)


def test_a_connect_rate_of_max_is_no_rate() -> None:
    plan = _plan(connections="15k", connect_rate="max")
    assert plan.load.connect_rate_hz is None
    assert plan.load.phases[0].duration_ns > 0  # a guess


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        pytest.param(
            Profile(phases=(_phase("a", measured=False),)),
            "phases: no phase is measured; leave `measured = false` out of at least one",
            id="nothing measured",
        ),
        pytest.param(
            Profile(phases=(_phase("a"), _phase("a"))),
            "phases: names must differ from one another and from ramp and drain: a, a",
            id="the same name twice",
        ),
        pytest.param(
            Profile(phases=(_phase("drain"),)),
            "phases: names must differ from one another and from ramp and drain: drain",
            id="a name of ours",
        ),
        pytest.param(
            Profile(phases=(_phase("a", rate=Pace.parse("1k")), _phase("b"))),
            "phases: b has no rate while a has one; an open loop and a closed one cannot be mixed in a run",
            id="an open and a closed loop",
        ),
        pytest.param(
            Profile(duration=Duration.parse("1s"), phases=(_phase("a"),)),
            "duration: each of the phases has a duration of its own; leave duration out",
            id="a duration that no phase would use",
        ),
        pytest.param(
            Profile(warmup=Duration.parse("1s"), phases=(_phase("a"),)),
            "warmup: each of the phases has a duration of its own; leave warmup out",
            id="a warm-up that no phase would use",
        ),
    ],
)
def test_phases_that_make_no_run_are_refused(profile: Profile, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        build_plan(profile, {}, _HOST, None, ENGINE)
    assert str(caught.value).startswith(message)


def test_the_histograms_reach_past_the_time_out_and_the_run() -> None:
    plan = _plan(duration="100s", timeout="30s", connect_rate="20k")
    # 2 x (30 + 0.05 + 2 + 100 + 30 s), more than the least of 60 s
    assert plan.load.highest_ns == 2 * 162_050_000_000
    assert _plan(duration="1s", timeout="1s", warmup="0").load.highest_ns == 60 * 10**9


def test_a_serve_end_has_a_worker_a_core_or_as_many_as_asked() -> None:
    assert build_serve_plan(_HOST, ("0.0.0.0",), 0, engine=ENGINE).workers == 2
    assert build_serve_plan(_HOST, ("0.0.0.0",), 0, ServeProfile(workers=Count(7)), engine=ENGINE).workers == 7
    profile = ServeProfile(pin=False, backlog=Count(128), max_connections=Count(5))
    plan = build_serve_plan(_HOST, ("0.0.0.0",), 9000, profile, engine=ENGINE)
    assert (plan.port, plan.cores, plan.backlog, plan.max_connections) == (9000, (), 128, 5)


@given(
    connections=st.integers(1, 150_000),
    cores=st.integers(1, 16),
    hard=st.integers(300, 100_000),
    target=st.sampled_from([None, _LOCAL]),
)
def test_no_worker_is_planned_above_its_fds_and_no_tuple_above_its_ports(
    connections: int, cores: int, hard: int, target: Target | None
) -> None:
    host = made_up_host(cores=tuple(range(cores)), cpus=cores, nofile_hard=hard)
    plan = build_plan(Profile(connections=Count(connections), connect_rate=ConnectRate(1e6)), {}, host, target, ENGINE)
    assert 1 <= plan.here.workers <= connections
    assert -(-connections // plan.here.workers) + fd_reserve(host) <= hard
    assert sum(route.connections for route in plan.here.routes) == connections
    assert max(route.connections for route in plan.here.routes) <= 8_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        # 4 phases of 104 days each would be longer than 2^53 ns, and enough of them than 2^63.
        ({"phases": [{"name": f"p{k}", "duration": "2500h"} for k in range(4)]}, "417 days"),
        ({"connections": "1m", "connect_rate": "0.01", "duration": "2000h", "workers": "60"}, "connect-rate"),
    ],
    ids=["phases", "a ramp"],
)
def test_what_would_last_longer_than_any_duration_may_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(LoadkitError, match=says):
        _plan(**options)
