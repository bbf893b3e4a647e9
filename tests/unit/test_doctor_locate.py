from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from loadkit.doctor.locate import locate
from loadkit.plan.model import Target
from loadkit.sockets import find_source
from tests.unit.examined import LOCAL, REMOTE, demanded

# RFC 5737: of no machine.
_NOBODY_S = "192.0.2.77"


def test_sources_that_no_socket_can_have_are_found() -> None:
    demand = demanded(1000, LOCAL)
    [route] = demand.routes
    routes = tuple(msgspec.structs.replace(route, source=source) for source in ("127.0.0.9", _NOBODY_S, _NOBODY_S))
    assert locate(replace(demand, routes=routes)).missing_sources == (_NOBODY_S,)


def test_nothing_is_missing_where_the_kernel_chooses() -> None:
    assert locate(demanded(1000, REMOTE)).missing_sources == ()
    assert locate(demanded(20_000, LOCAL)).missing_sources == ()
    assert locate(demanded(20_000, None)).missing_sources == ()


def test_a_serve_end_alone_is_as_it_was() -> None:
    demand = demanded(1000, serve=True)
    assert locate(demand) is demand


@pytest.mark.parametrize(
    ("target", "is_own"),
    [
        pytest.param(Target("any", ("0.0.0.0",), 7000), True, id="all of ours"),
        pytest.param(Target("any", ("::",), 7000), True, id="all of ours, IPv6"),
        pytest.param(Target("elsewhere", (_NOBODY_S,), 7000), False, id="elsewhere"),
        pytest.param(LOCAL, False, id="loopback is known by itself"),
    ],
)
def test_an_address_of_this_machine_is_told_from_another_s(target: Target, is_own: bool) -> None:
    demand = locate(demanded(1000, target))
    assert demand.is_own_target is is_own
    assert demand.local is (is_own or target is LOCAL)


def test_the_address_that_the_kernel_connects_from_is_our_own() -> None:
    own = find_source(_NOBODY_S, 7000)
    if own is None or own.startswith("127."):
        pytest.skip("a machine without a network")
    assert locate(demanded(1000, Target("us", (own,), 7000))).is_own_target
