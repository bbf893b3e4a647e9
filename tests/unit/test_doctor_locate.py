from __future__ import annotations

import errno
from dataclasses import replace

import msgspec
import pytest

from loadkit.doctor.demand import Barred
from loadkit.doctor.locate import locate
from loadkit.limits import open_descriptors
from loadkit.plan.target import Target
from loadkit.sockets import find_source
from tests.unit.examined import LOCAL, demanded

# RFC 5737: of no machine.
_NOBODY_S = "192.0.2.77"


def test_sources_that_no_socket_can_have_are_found() -> None:
    demand = demanded(1000, LOCAL)
    [route] = demand.routes
    routes = tuple(msgspec.structs.replace(route, source=source) for source in ("127.0.0.9", _NOBODY_S, _NOBODY_S))
    located = locate(replace(demand, routes=routes))
    assert located.barred == (Barred(_NOBODY_S, "127.0.0.1", errno.EADDRNOTAVAIL),)
    assert located.interface == "lo"


def test_no_way_is_barred_within_loopback() -> None:
    assert locate(demanded(20_000, LOCAL)).barred == ()
    assert locate(demanded(20_000, None)).barred == ()


def test_a_serve_end_alone_has_no_addresses_to_ask_for() -> None:
    demand = demanded(1000, serve=True)
    assert locate(demand) == replace(demand, open_files=open_descriptors())


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
