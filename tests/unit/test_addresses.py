from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.errors import OptionError, PreflightError
from loadkit.plan.addresses import (
    PER_TUPLE,
    is_loopback,
    loopback_addresses,
    plan_routes,
    source_addresses,
    tuples_for,
)
from loadkit.plan.model import Route

_PORTS = 28_232


@pytest.mark.parametrize(
    ("address", "answer"),
    [("127.0.0.1", True), ("127.200.3.4", True), ("::1", True), ("10.0.0.1", False), ("128.0.0.1", False)],
)
def test_loopback_is_all_of_127_and_one_address_of_ipv6(address: str, answer: bool) -> None:
    assert is_loopback(address) is answer


def test_loopback_addresses_go_on_over_the_end_of_an_octet() -> None:
    assert loopback_addresses(3, "127.0.0.254") == ("127.0.0.254", "127.0.0.255", "127.0.1.0")
    assert loopback_addresses(0) == ()


@pytest.mark.parametrize(
    ("networks", "most", "addresses"),
    [
        pytest.param(["10.0.0.7"], 5, ["10.0.0.7"], id="one address"),
        pytest.param(["10.0.0.0/30"], 5, ["10.0.0.1", "10.0.0.2"], id="without network and broadcast"),
        pytest.param(["10.0.0.5/30"], 5, ["10.0.0.5", "10.0.0.6"], id="host bits are forgiven"),
        pytest.param(["10.0.0.0/30", "10.9.0.1"], 5, ["10.0.0.1", "10.9.0.1", "10.0.0.2"], id="in turn"),
        pytest.param(["10.0.0.0/8"], 2, ["10.0.0.1", "10.0.0.2"], id="no more than wanted"),
        pytest.param(["fd00::/126"], 2, ["fd00::1", "fd00::2"], id="IPv6"),
    ],
)
def test_sources_are_the_hosts_of_the_networks(networks: list[str], most: int, addresses: list[str]) -> None:
    assert source_addresses(networks, most) == tuple(addresses)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(OptionError, match=r"^--source: expected a network such as 10\.0\.0\.0/28 .*, got 'eth0'$"):
        source_addresses(["10.0.0.1", "eth0"], 3)


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


@given(
    connections=st.integers(0, 10**6),
    sources=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    destinations=st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    ports=st.integers(1, 64_512),
)
def test_routes_add_up_and_no_tuple_is_used_twice_or_above_its_capacity(
    connections: int, sources: list[str], destinations: list[str], ports: int
) -> None:
    tuples = len(sources) * len(destinations)
    if connections > tuples * ports:
        with pytest.raises(PreflightError):
            plan_routes(connections, sources, destinations, ports)
        return
    routes = plan_routes(connections, sources, destinations, ports)
    assert sum(route.connections for route in routes) == connections
    assert all(route.connections > 0 for route in routes)
    assert len({(route.source, route.destination) for route in routes}) == len(routes)
    most = min(PER_TUPLE, ports) if connections <= tuples * min(PER_TUPLE, ports) else ports
    assert max((route.connections for route in routes), default=0) <= most
