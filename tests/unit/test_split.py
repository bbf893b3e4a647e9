from __future__ import annotations

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.plan.build import Plan, build_plan
from loadkit.plan.pacing import share
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard, split, split_serve
from loadkit.plan.target import Target
from loadkit.profile.blast import Profile
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile
from loadkit.units import Count
from tests.golden.made_up import ENGINE, REMOTE
from tests.unit.made_up import made_up_host

_LOCAL = Target("localhost", ("127.0.0.1",), 9000)


def _split(plan: Plan) -> tuple[Shard, ...]:
    return split(plan.load, plan.here, plan.target.port)


def _plan(connections: int, workers: int, messages: int | None = None, cores: int = 2) -> Plan:
    profile = Profile(
        connections=Count(connections),
        workers=Count(workers),
        messages=None if messages is None else Count(messages),
    )
    host = made_up_host(cores=tuple(range(cores)), nofile_hard=1_000_000)
    return build_plan(profile, {}, host, _LOCAL, ENGINE)


@pytest.mark.parametrize(
    ("total", "of", "shares"),
    [
        (10, 3, [4, 3, 3]),
        (2, 3, [1, 1, 0]),
        (0, 2, [0, 0]),
        (6, 3, [2, 2, 2]),
    ],
)
def test_the_first_workers_take_what_is_left_over(total: int, of: int, shares: list[int]) -> None:
    assert [share(total, index, of) for index in range(of)] == shares


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_a_share_is_how_many_events_a_worker_meets_in_turn(total: int, of: int) -> None:
    assert [share(total, index, of) for index in range(of)] == [len(range(index, total, of)) for index in range(of)]


@given(st.integers(1, 50_000), st.integers(1, 60), st.none() | st.integers(1, 10**6))
def test_the_shards_add_up_to_the_plan(connections: int, workers: int, messages: int | None) -> None:
    plan = _plan(connections, min(connections, workers), messages)
    shards = _split(plan)
    assert [(shard.index, shard.of) for shard in shards] == [(i, plan.here.workers) for i in range(plan.here.workers)]
    assert all(shard.load is plan.load for shard in shards)
    assert sum(shard.connections for shard in shards) == plan.load.connections
    assert all(sum(route.connections for route in shard.routes) == shard.connections for shard in shards)
    if messages is None:
        assert {shard.messages for shard in shards} == {None}
    else:
        assert sum(shard.messages or 0 for shard in shards) == messages
    routes: Counter[tuple[str | None, str]] = Counter()
    for shard in shards:
        for route in shard.routes:
            routes[route.source, route.destination] += route.connections
    assert routes == {(route.source, route.destination): route.connections for route in plan.here.routes}


@given(st.integers(1, 50_000), st.integers(1, 60))
def test_no_worker_has_more_than_one_connection_above_another(connections: int, workers: int) -> None:
    numbers = [shard.connections for shard in _split(_plan(connections, min(connections, workers)))]
    assert max(numbers) - min(numbers) <= 1


def test_workers_take_the_routes_one_after_another_and_share_the_one_between_them() -> None:
    # 20,000 over three sources: 6,667 + 6,667 + 6,666; a worker has 10,000
    first, second = _split(_plan(20_000, 2))
    assert [(route.source, route.connections) for route in first.routes] == [("127.0.0.1", 6_667), ("127.0.0.2", 3_333)]
    assert [(route.source, route.connections) for route in second.routes] == [
        ("127.0.0.2", 3_334),
        ("127.0.0.3", 6_666),
    ]


def test_workers_take_the_cores_in_turn() -> None:
    assert [shard.core for shard in _split(_plan(10, 5, cores=2))] == [0, 1, 0, 1, 0]


def test_without_pinning_a_shard_has_no_core() -> None:
    plan = build_plan(Profile(pin=False), {}, made_up_host(), _LOCAL, ENGINE)
    assert [shard.core for shard in _split(plan)] == [None, None]


@pytest.mark.parametrize("rate_hz", [4.0, 1_000.0, 30_000.0 / 7])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("connections", [2, 3, 11, 1_000])
def test_the_workers_connects_are_due_an_interval_of_the_rate_apart(
    connections: int, workers: int, lanes: int, rate_hz: float
) -> None:
    start_ns = 77_000
    shards = _split(_plan(connections, min(connections, workers), cores=lanes))
    due = sorted(time for shard in shards for time in shard.ramp.due_times(start_ns, rate_hz))
    # Number 0 is the run's first connection, and open by then.
    assert due == [start_ns + round(k * 1e9 / rate_hz) for k in range(1, connections)]


@given(st.integers(1, 5_000), st.integers(1, 60), st.integers(1, 8))
def test_workers_of_a_core_connect_one_after_the_other_and_cores_side_by_side(
    connections: int, workers: int, cores: int
) -> None:
    shards = _split(_plan(connections, min(connections, workers), cores=cores))
    lanes = min(len(shards), cores)
    numbers = [[shard.ramp.number(shard.ramp.place + i) for i in range(shard.ramp.count)] for shard in shards]
    assert sorted(number for mine in numbers for number in mine) == list(range(1, connections))
    for lane in range(lanes):
        in_turn = [number for mine in numbers[lane::lanes] for number in mine]
        assert in_turn == sorted(in_turn)
        assert {number % len(shards) % lanes for number in in_turn} <= {lane}
    assert [shard.connects_before for shard in shards] == [0] * lanes + [
        share(connections, index, len(shards)) for index in range(len(shards) - lanes)
    ]


@given(st.integers(1, 5_000), st.integers(1, 60), st.integers(1, 8))
def test_the_first_connection_and_the_turns_are_what_each_worker_has(
    connections: int, workers: int, cores: int
) -> None:
    shards = _split(_plan(connections, min(connections, workers), cores=cores))
    assert [shard.opens_first for shard in shards] == [True] + [False] * (len(shards) - 1)
    assert [shard.opens_first + shard.ramp.count for shard in shards] == [
        share(connections, index, len(shards)) for index in range(len(shards))
    ]


@pytest.mark.parametrize(
    ("ports", "least_routes", "most_bytes"),
    [
        pytest.param(28_000, 4, 1_500, id="four sources"),
        # 100,000 / 7 ports: 138 routes for each worker, of 35 bytes
        pytest.param(7, 14_000, 7_500, id="a source for each seven connections"),
    ],
)
def test_each_of_104_workers_is_sent_its_own_part_alone(ports: int, least_routes: int, most_bytes: int) -> None:
    host = made_up_host(port_high=32_767 + ports)
    profile, sources = load_profile(None, {"connections": "100k", "workers": "104", "source": ["10.1.0.0/16"]})
    plan = build_plan(profile, sources, host, REMOTE, ENGINE)
    assert len(plan.here.routes) >= least_routes
    assert max(len(pickle.dumps(shard)) for shard in _split(plan)) < most_bytes


def test_a_worker_of_a_serve_end_is_sent_its_own_addresses_alone() -> None:
    addresses = tuple(f"127.0.{at // 256}.{at % 256}" for at in range(1, 1041))
    origins = dict.fromkeys(("sndbuf", "tos"), "environment LOADKIT_SERVE_" + 300 * "X")
    plan = ServePlan(addresses, 0, EngineName.NATIVE, 104, tuple(range(500)), is_apart=True, socket_origins=origins)
    shards = split_serve(plan, 7000)
    assert tuple(address for shard in shards for address in shard.plan.addresses) == addresses
    assert {shard.port for shard in shards} == {7000}
    assert [shard.core for shard in shards] == list(range(104))
    assert max(len(pickle.dumps(shard)) for shard in shards) < 1_000
