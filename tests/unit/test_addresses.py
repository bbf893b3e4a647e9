from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.errors import OptionError, PreflightError
from loadkit.plan.addresses import (
    PER_TUPLE,
    check_families,
    has_family_of,
    is_loopback,
    loopback_addresses,
    plan_addresses,
    plan_routes,
    reusable_ports,
    source_addresses,
    tuples_for,
)
from loadkit.plan.target import EMBEDDED, Route, Target
from loadkit.sockets import Sockets
from tests.unit.made_up import made_up_host

_PORTS = 28_232
_RANGE = (32_768, 60_999)
_ONE = "127.0.0.1"

_Counts = Mapping[tuple[str | None, str], int]


def _sockets(*listeners: str, used: _Counts | None = None, waiting: _Counts | None = None) -> Sockets:
    return Sockets({**(waiting or {}), **(used or {})}, waiting or {}, frozenset(), frozenset(listeners))


@pytest.mark.parametrize(
    ("address", "answer"),
    [("127.0.0.1", True), ("127.200.3.4", True), ("::1", True), ("10.0.0.1", False), ("128.0.0.1", False)],
)
def test_loopback_is_all_of_127_and_one_address_of_ipv6(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer


def test_loopback_addresses_go_on_over_the_end_of_an_octet() -> None:
    assert loopback_addresses(3, "127.0.0.254") == ("127.0.0.254", "127.0.0.255", "127.0.1.0")
    assert loopback_addresses(0) == ()
    assert loopback_addresses(9, "127.255.255.253") == ("127.255.255.253", "127.255.255.254")  # 255 is broadcast


@pytest.mark.parametrize(
    ("networks", "most", "addresses"),
    [
        pytest.param(["10.0.0.7"], 5, ["10.0.0.7"], id="one address"),
        pytest.param(["10.0.0.0/30"], 5, ["10.0.0.1", "10.0.0.2"], id="without network and broadcast"),
        pytest.param(["10.0.0.5/30"], 5, ["10.0.0.5", "10.0.0.6"], id="host bits are forgiven"),
        pytest.param(["10.0.0.0/30", "10.9.0.1"], 5, ["10.0.0.1", "10.9.0.1", "10.0.0.2"], id="in turn"),
        pytest.param(["10.0.0.0/8"], 2, ["10.0.0.1", "10.0.0.2"], id="no more than wanted"),
        pytest.param(["10.0.0.1", "10.0.0.0/30", "10.0.0.2"], 9, ["10.0.0.1", "10.0.0.2"], id="none twice"),
        pytest.param(["fd00::/126"], 2, ["fd00::1", "fd00::2"], id="IPv6"),
        pytest.param(["fe80::7%eth0"], 2, ["fe80::7%eth0"], id="of one link"),
        pytest.param(["fe80::%eth0/126"], 2, ["fe80::1%eth0", "fe80::2%eth0"], id="a network of one link"),
    ],
)
def test_sources_are_the_hosts_of_the_networks(networks: list[str], most: int, addresses: list[str]) -> None:
    assert source_addresses(networks, most) == tuple(addresses)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(OptionError, match=r"^--source: expected a network such as 10\.0\.0\.0/28 .*, got 'eth0'$"):
        source_addresses(["10.0.0.1", "eth0"], 3)


@pytest.mark.parametrize("text", ["10.0.0.1%eth0", "fe80::1%", "%eth0", "fe80::1%eth0/x"])
def test_what_is_no_network_with_a_zone_is_named(text: str) -> None:
    with pytest.raises(OptionError, match=f"^--source: expected a network such as .*, got '{text}'$"):
        source_addresses([text], 3)


def test_a_source_of_one_link_needs_the_interface() -> None:
    with pytest.raises(OptionError, match=r"^--source fe80::/64: .* name the interface, as in fe80::%eth0/64$"):
        source_addresses(["fe80::/64"], 3)


_V4, _V6 = Target("name", ("127.0.0.1",), 7000), Target("::1", ("::1",), 7000)


@pytest.mark.parametrize(
    ("networks", "target", "said"),
    [
        pytest.param(["127.0.0.2"], _V6, "--source 127.0.0.2 is IPv4 and the target ::1 is IPv6: ", id="IPv4 to IPv6"),
        pytest.param(["::1"], _V4, "--source ::1 is IPv6 and the target name 127.0.0.1 is IPv4: ", id="IPv6 to IPv4"),
        pytest.param(
            ["127.0.0.2", "fd00::/64"],
            _V4,
            "--source fd00::/64 is IPv6 and the target name 127.0.0.1 is IPv4: ",
            id="one of two",
        ),
        pytest.param(
            ["::1"],
            Target(EMBEDDED, (_ONE,), 0, embedded=True),
            "--source ::1 is IPv6 and the embedded server's address 127.0.0.1 is IPv4: ",
            id="the embedded server",
        ),
    ],
)
def test_a_source_of_another_family_than_the_target_is_named_with_it(
    networks: list[str], target: Target, said: str
) -> None:
    with pytest.raises(OptionError) as refused:
        check_families(networks, target)
    assert str(refused.value).startswith(said)
    assert not has_family_of(networks, target)


@pytest.mark.parametrize(
    ("networks", "target"),
    [
        ([], _V6),
        (["::1", "fd00::/64"], _V6),
        (["127.0.0.0/8"], _V4),
        (["fe80::1%eth0"], Target("fe80::2%eth0", ("fe80::2%eth0",), 1)),
    ],
)
def test_sources_of_the_target_s_family_are_fine(networks: list[str], target: Target) -> None:
    check_families(networks, target)
    assert has_family_of(networks, target)


def test_what_is_in_use_of_a_link_is_counted_though_proc_tells_no_zone() -> None:
    used = {("fe80::2", "fe80::1"): 27_000, (None, "fe80::3"): 100}
    with pytest.raises(PreflightError, match="less 27,000 in use"):
        plan_routes(2_000, ["fe80::2%eth0"], ["fe80::1%eth0"], _PORTS, used)
    [route] = plan_routes(8_000, [None], ["fe80::3%eth0"], _PORTS, used, port_range=_RANGE)
    assert route == Route(None, "fe80::3%eth0", 8_000, _RANGE)  # beyond PER_TUPLE with the 100


@pytest.mark.parametrize(
    ("connections", "ports", "tuples"),
    [
        (0, _PORTS, 1),
        (8_000, _PORTS, 1),
        (8_001, _PORTS, 2),
        (100_000, _PORTS, 13),  # 12.5
        (4_000, 1_000, 4),  # fewer ports than PER_TUPLE
        (5, 0, 5),  # no ports at all: plan_routes refuses
    ],
)
def test_a_tuple_takes_8000_connections_or_its_ports(connections: int, ports: int, tuples: int) -> None:
    assert tuples_for(connections, ports) == tuples


def test_as_few_tuples_as_possible_are_used_evenly() -> None:
    # 20,000 / 8,000 -> 3 of the 4 tuples: 6,667 + 6,667 + 6,666
    assert plan_routes(20_000, ["a", "b"], ["x", "y"], _PORTS) == (
        Route("a", "x", 6_667),
        Route("a", "y", 6_667),
        Route("b", "x", 6_666),
    )


def test_with_too_few_addresses_all_are_used_up_to_their_ports() -> None:
    assert plan_routes(_PORTS, [None], ["x"], _PORTS) == (Route(None, "x", _PORTS),)


@pytest.mark.parametrize(("connections", "ports", "product"), [(56_465, _PORTS, "56,464"), (1, 0, "0")])
def test_more_connections_than_ports_are_refused_with_the_sum(connections: int, ports: int, product: str) -> None:
    with pytest.raises(
        PreflightError, match=rf"^{connections:,} connections .* 2 source.* x 1 .* x {ports:,} .* = {product};"
    ):
        plan_routes(connections, ["a", "b"], ["x"], ports)


@pytest.mark.parametrize(
    ("listeners", "address", "networks", "connections", "sources", "destinations"),
    [
        # 20,000 / 8,000 -> 3 tuples
        pytest.param(["0.0.0.0"], _ONE, [], 20_000, [None], loopback_addresses(3), id="wildcard"),
        pytest.param(["::"], _ONE, [], 20_000, [None], loopback_addresses(3), id="wildcard of both families"),
        pytest.param(["0.0.0.0", "::"], _ONE, [], 20_000, [None], loopback_addresses(3), id="a wildcard each"),
        pytest.param(
            ["0.0.0.0"], "127.0.0.2", [], 20_000, [None], ["127.0.0.2", _ONE, "127.0.0.3"], id="the target's own first"
        ),
        pytest.param(["0.0.0.0"], _ONE, [], 8_000, [None], [_ONE], id="wildcard, one is enough"),
        pytest.param([_ONE], _ONE, [], 20_000, loopback_addresses(3), [_ONE], id="one address"),
        pytest.param([_ONE], _ONE, [], 8_000, [None], [_ONE], id="one address, one is enough"),
        pytest.param([_ONE, "::"], _ONE, [], 8_001, loopback_addresses(2), [_ONE], id="wildcard of IPv6 alone"),
        pytest.param([_ONE, "0.0.0.0"], _ONE, [], 8_001, loopback_addresses(2), [_ONE], id="its own and a wildcard"),
        pytest.param(["0.0.0.0", "127.0.0.2"], _ONE, [], 8_001, [None], [_ONE, "127.0.0.3"], id="around another's"),
        pytest.param([], _ONE, [], 20_000, loopback_addresses(3), [_ONE], id="nobody seen to listen"),
        pytest.param(["0.0.0.0"], "10.0.0.9", [], 20_000, [None], ["10.0.0.9"], id="elsewhere"),
        pytest.param(["::"], "::1", [], 20_000, [None], ["::1"], id="IPv6 has one address of loopback"),
        pytest.param([], "10.0.0.9", ["10.1.0.0/28"], 8_001, ["10.1.0.1", "10.1.0.2"], ["10.0.0.9"], id="sources"),
        pytest.param([], "10.0.0.9", ["10.1.0.1"], 20_000, ["10.1.0.1"], ["10.0.0.9"], id="too few sources"),
        pytest.param([_ONE], _ONE, ["127.0.0.9"], 20_000, ["127.0.0.9"], [_ONE], id="the sources asked for alone"),
        # 2 sources x 2 destinations x 8,000
        pytest.param(
            ["0.0.0.0"],
            _ONE,
            ["127.0.0.8/31"],
            30_000,
            ["127.0.0.8", "127.0.0.9"],
            loopback_addresses(2),
            id="sources and wildcard",
        ),
    ],
)
def test_a_target_is_spread_over_what_it_listens_on(
    listeners: list[str],
    address: str,
    networks: list[str],
    connections: int,
    sources: Sequence[str | None],
    destinations: Sequence[str],
) -> None:
    found = plan_addresses(connections, [address], networks, _PORTS, _sockets(*listeners), embedded=False)
    assert found == (tuple(sources), tuple(destinations))


def test_a_machine_that_does_not_say_its_sockets_is_fanned_out_over_sources() -> None:
    assert plan_addresses(8_001, [_ONE], [], _PORTS, None, embedded=False) == (loopback_addresses(2), (_ONE,))


def test_an_embedded_server_has_its_addresses_already() -> None:
    listen = loopback_addresses(3)
    assert plan_addresses(20_000, listen, [], _PORTS, None, embedded=True) == ((None,), listen)


@pytest.mark.parametrize(
    ("used", "destinations"),
    [
        pytest.param({}, [_ONE], id="none in use"),
        pytest.param({(_ONE, _ONE): 7_000}, [_ONE], id="still room"),  # 1,000
        pytest.param({(_ONE, _ONE): 7_001}, [_ONE, "127.0.0.2"], id="999 left"),
        pytest.param({(_ONE, a): 8_000 for a in loopback_addresses(2)}, loopback_addresses(3), id="two are full"),
        pytest.param({("127.0.0.5", _ONE): 8_000}, [_ONE], id="from elsewhere"),
        pytest.param({(None, _ONE): 8_000}, [_ONE], id="its source is known to be 127.0.0.1"),
    ],
)
def test_addresses_that_are_full_already_are_made_up_for(used: _Counts, destinations: Sequence[str]) -> None:
    sockets = _sockets("0.0.0.0", used=used)
    assert plan_addresses(1_000, [_ONE], [], _PORTS, sockets, False) == ((None,), tuple(destinations))


def test_without_ports_the_addresses_still_come_to_an_end() -> None:
    assert plan_addresses(10**6, [_ONE], [], 0, _sockets("0.0.0.0"), embedded=False) == ((None,), (_ONE,))


@given(
    listener=st.sampled_from(["0.0.0.0", _ONE]),
    runs=st.lists(st.integers(1, 200_000), min_size=2, max_size=4),
    ports=st.integers(1_000, 64_512),
)
def test_a_run_straight_after_others_keeps_off_what_they_left(listener: str, runs: list[int], ports: int) -> None:
    left: Counter[tuple[str | None, str]] = Counter()
    for connections in runs:
        sockets = _sockets(listener, waiting=left)
        sources, destinations = plan_addresses(connections, [_ONE], [], ports, sockets, embedded=False)
        for route in plan_routes(connections, sources, destinations, ports, sockets.used):
            left[route.source or _ONE, route.destination] += route.connections
    assert max(left.values()) <= min(PER_TUPLE, ports)
    assert sum(left.values()) == sum(runs)


@pytest.mark.parametrize(
    ("used", "counts"),
    [
        # 10,000 / 8,000 -> 2 tuples
        pytest.param({}, {"a": 5_000, "b": 5_000}, id="none"),
        pytest.param({"a": 8_000}, {"b": 5_000, "c": 5_000}, id="full ones are left out"),
        pytest.param({"b": 1}, {"a": 5_000, "c": 5_000}, id="least used first"),
        # a and c have room for 6,000 + 2,000; with b: 8,500 + 2,000 + 6,000 + 7,000 = 3 x 7,833 + 1
        pytest.param({"a": 2_000, "b": 7_000, "c": 6_000, "d": 7_500}, {"a": 5_834, "c": 1_833, "b": 833}, id="three"),
        pytest.param({"a": 1_000, "b": 3_000, "c": 8_000, "d": 8_000}, {"a": 6_000, "b": 4_000}, id="to one level"),
    ],
)
def test_tuples_are_filled_up_to_one_level(used: dict[str, int], counts: dict[str, int]) -> None:
    routes = plan_routes(sum(counts.values()), ["s"], list("abcd"), _PORTS, {("s", to): n for to, n in used.items()})
    assert routes == tuple(Route("s", to, count) for to, count in counts.items())


def test_the_kernels_choice_on_loopback_is_looked_up_under_127_0_0_1_and_elsewhere_under_none() -> None:
    used = {(_ONE, "127.0.0.7"): 1, ("::1", "::1"): 2, (None, "10.0.0.1"): 3}
    routes = plan_routes(6, [None], ["10.0.0.1", "::1", "127.0.0.7"], 4, used)
    # 4 - 3, 4 - 2, 4 - 1: full
    assert {route.destination: route.connections for route in routes} == {"10.0.0.1": 1, "::1": 2, "127.0.0.7": 3}


def test_the_refusal_names_what_is_in_use() -> None:
    with pytest.raises(
        PreflightError,
        match=r"^61 connections need .*: 2 source address\(es\) x 1 destination\(s\) x 50 ephemeral ports, "
        r"less 40 in use or TIME_WAIT = 60; give more source addresses with --source CIDR, or widen net\.",
    ):
        plan_routes(61, ["a", "b"], ["x"], 50, {("a", "x"): 40})
    assert sum(route.connections for route in plan_routes(60, ["a", "b"], ["x"], 50, {("a", "x"): 40})) == 60


def test_more_in_use_than_there_are_ports_is_no_room_and_no_debt() -> None:
    # 2 x 50 - min(70, 50)
    with pytest.raises(PreflightError, match="less 50 in use or TIME_WAIT = 50;"):
        plan_routes(51, ["a", "b"], ["x"], 50, {("a", "x"): 70})


def test_where_a_tuple_takes_more_than_8000_its_ports_are_said() -> None:
    assert plan_routes(8_000, ["a"], ["x"], _PORTS, port_range=_RANGE) == (Route("a", "x", 8_000),)
    assert plan_routes(8_001, ["a"], ["x"], _PORTS, port_range=_RANGE) == (Route("a", "x", 8_001, _RANGE),)
    # 12,000 + 6,000 = 2 x 9,000
    assert plan_routes(12_000, ["a", "b"], ["x"], _PORTS, {("b", "x"): 6_000}, port_range=_RANGE) == (
        Route("a", "x", 9_000, _RANGE),
        Route("b", "x", 3_000, _RANGE),
    )


def test_where_a_tuple_takes_more_than_half_of_its_ports_they_are_said() -> None:
    few = (40_000, 40_200)
    assert plan_routes(101, ["a"], ["x"], 201, port_range=few) == (Route("a", "x", 101),)
    assert plan_routes(102, ["a"], ["x"], 201, port_range=few) == (Route("a", "x", 102, few),)


@pytest.mark.parametrize(
    ("listener", "loopback", "sources", "destinations"),
    [
        pytest.param("0.0.0.0", 2, [None], loopback_addresses(2), id="destinations"),
        pytest.param(_ONE, 2, loopback_addresses(2), [_ONE], id="sources"),
        pytest.param("0.0.0.0", 1, [None], [_ONE], id="one destination"),
        pytest.param(_ONE, 1, [None], [_ONE], id="one source"),
        pytest.param("0.0.0.0", 0, [None], [_ONE], id="none, which the doctor speaks of"),
    ],
)
def test_no_more_of_loopback_is_taken_than_there_is(
    listener: str, loopback: int, sources: Sequence[str | None], destinations: Sequence[str]
) -> None:
    found = plan_addresses(20_000, [_ONE], [], _PORTS, _sockets(listener), embedded=False, loopback=loopback)
    assert found == (tuple(sources), tuple(destinations))


@pytest.mark.parametrize(
    ("tw_reuse", "reusable"),
    [
        (0, set()),
        (1, {(_ONE, "127.0.0.2"), ("10.0.0.2", "10.0.0.1"), (None, "10.0.0.1"), ("::1", "::1")}),
        (2, {(_ONE, "127.0.0.2"), ("::1", "::1")}),
        (None, {(_ONE, "127.0.0.2"), ("::1", "::1")}),  # the default is 2
    ],
)
def test_time_wait_gives_its_port_back_as_tcp_tw_reuse_says(
    tw_reuse: int | None, reusable: set[tuple[str | None, str]]
) -> None:
    waiting = {(_ONE, "127.0.0.2"): 5, ("10.0.0.2", "10.0.0.1"): 6, (None, "10.0.0.1"): 6, ("::1", "::1"): 7}
    sockets = _sockets(waiting=waiting)
    host = made_up_host(tw_reuse=tw_reuse)
    assert reusable_ports(sockets, host) == {pair: waiting[pair] for pair in reusable}
    assert reusable_ports(None, host) == {}
    assert reusable_ports(sockets, replace(host, timestamps=0)) == {}
    assert reusable_ports(sockets, replace(host, tw_reuse_delay_ms=2_000)) == {}


def test_reusable_ports_are_room_but_the_last_to_be_taken() -> None:
    used: _Counts = {("a", "x"): 50, ("b", "x"): 10}
    reusable: _Counts = {("a", "x"): 45}
    assert plan_routes(40, ["a", "b"], ["x"], 50, used, reusable) == (Route("b", "x", 40),)
    # held: 5 and 10; 50 - 5 + 50 - 10 = 85
    assert plan_routes(85, ["a", "b"], ["x"], 50, used, reusable) == (Route("a", "x", 45), Route("b", "x", 40))
    with pytest.raises(PreflightError, match="less 15 in use or TIME_WAIT = 85;"):
        plan_routes(86, ["a", "b"], ["x"], 50, used, reusable)


_SOURCES = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6, unique=True)
_DESTINATIONS = st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=6, unique=True)


@st.composite
def _tuples(draw: st.DrawFn) -> tuple[list[str], list[str], dict[tuple[str | None, str], int]]:
    sources, destinations = draw(_SOURCES), draw(_DESTINATIONS)
    # A few counts that come again, so that some tuples are used alike.
    counts = st.sampled_from(draw(st.lists(st.integers(0, 20_000), min_size=1, max_size=4)))
    pairs = st.tuples(st.sampled_from(sources), st.sampled_from(destinations))
    return sources, destinations, draw(st.dictionaries(pairs, counts, max_size=36))


@given(connections=st.integers(0, 300_000), tuples=_tuples(), ports=st.integers(1, 64_512))
def test_routes_add_up_are_even_and_keep_within_what_each_tuple_has_left(
    connections: int, tuples: tuple[list[str], list[str], dict[tuple[str | None, str], int]], ports: int
) -> None:
    sources, destinations, used = tuples
    pairs: list[tuple[str | None, str]] = [(source, destination) for source in sources for destination in destinations]
    there = {pair: used.get(pair, 0) for pair in pairs}
    room = sum(max(0, ports - count) for count in there.values())
    if connections > room:
        with pytest.raises(PreflightError, match=f" = {room:,};"):
            plan_routes(connections, sources, destinations, ports, used)
        return
    routes = plan_routes(connections, sources, destinations, ports, used, port_range=_RANGE)
    taken = {(route.source, route.destination): route.connections for route in routes}
    assert len(taken) == len(routes), "no tuple twice"
    assert set(taken) <= set(pairs)
    assert sum(taken.values()) == connections
    assert all(count > 0 for count in taken.values())

    prefer = min(PER_TUPLE, ports)
    preferred = sum(max(0, prefer - count) for count in there.values())
    most = prefer if connections <= preferred else ports
    after = {pair: there[pair] + count for pair, count in taken.items()}
    assert all(count <= most for count in after.values()), "capacity"
    assert max(after.values(), default=0) - min(after.values(), default=0) <= 1, "one level"
    rest = [there[pair] for pair in pairs if pair not in taken]
    assert max((there[pair] for pair in taken), default=0) <= min(rest, default=10**9), "least used first"
    if connections <= preferred and len(taken) > 1:
        fewer = sorted(there.values())[: len(taken) - 1]
        assert sum(max(0, prefer - count) for count in fewer) < connections, "as few as possible"
    for route in routes:
        assert route.ports == (
            _RANGE if after[route.source, route.destination] > min(PER_TUPLE, -(-ports // 2)) else None
        )


@given(connections=st.integers(0, 100_000), tuples=_tuples(), ports=st.integers(1, 64_512), data=st.data())
def test_reusable_ports_widen_the_room_of_their_tuple_and_no_other(
    connections: int,
    tuples: tuple[list[str], list[str], dict[tuple[str | None, str], int]],
    ports: int,
    data: st.DataObject,
) -> None:
    sources, destinations, used = tuples
    reusable: _Counts = {pair: data.draw(st.integers(0, count)) for pair, count in used.items()}
    pairs: list[tuple[str | None, str]] = [(source, destination) for source in sources for destination in destinations]
    room = {pair: max(0, ports - used.get(pair, 0) + reusable.get(pair, 0)) for pair in pairs}
    if connections > sum(room.values()):
        with pytest.raises(PreflightError, match=f" = {sum(room.values()):,};"):
            plan_routes(connections, sources, destinations, ports, used, reusable)
        return
    routes = plan_routes(connections, sources, destinations, ports, used, reusable)
    assert sum(route.connections for route in routes) == connections
    assert all(0 < route.connections <= room[route.source, route.destination] for route in routes)
