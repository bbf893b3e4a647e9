from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.demand import Barred, Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.plan.target import Target
from tests.unit.examined import LOCAL, REMOTE, check_form, codes, demanded


def _found(code: str, demand: Demand) -> Finding:
    [found] = [finding for finding in examine(demand) if finding.code == code]
    check_form(found)
    return found


def _barred(demand: Demand, number: int, *sources: str) -> Demand:
    """What no connection can be made from."""
    return replace(demand, barred=tuple(Barred(source, demand.routes[0].destination, number) for source in sources))


def test_of_sources_that_nobody_asked_for_nothing_is_said() -> None:
    assert "sources" not in codes(20_000, LOCAL)
    assert "sources" not in codes(1000, REMOTE)
    assert "sources" not in codes(1000, None)


def test_sources_that_are_not_this_machine_s_are_refused_with_the_line_that_adds_them() -> None:
    demand = demanded(24_000, REMOTE, source=("10.1.0.0/24",))
    assert _found("sources", demand).level is Level.OK
    found = _found("sources", _barred(demand, errno.EADDRNOTAVAIL, "10.1.0.2", "10.1.0.3"))
    assert found.level is Level.FAIL
    assert found.seen == "1 of 3 source address(es) can be connected from"
    assert found.why == (
        "16,000 connections cannot be made from these addresses, such as 10.1.0.2: no interface of this machine has it "
        "(EADDRNOTAVAIL)"
    )
    assert found.fix.startswith("for net in 10.1.0.2/31; do ip route add local $net dev lo; done (as root")


def test_sources_of_ipv6_are_added_to_the_interface_towards_the_target() -> None:
    demand = demanded(1000, Target("v6", ("2001:db8::1",), 7000), source=("2001:db8:1::/126",))
    [source] = {route.source for route in demand.routes if route.source}
    found = _found("sources", replace(_barred(demand, errno.EADDRNOTAVAIL, source), interface="eth0"))
    assert found.fix.startswith(f"for one in {source}; do ip -6 addr add $one/128 dev eth0 nodad; done (as root")


def test_sources_of_loopback_are_refused_to_other_machines() -> None:
    demand = demanded(1000, REMOTE, source=("127.0.0.9",))
    found = _found("sources", _barred(demand, errno.EINVAL, "127.0.0.9"))
    assert found.level is Level.FAIL
    assert "127.0.0.9: a loopback address reaches this machine only" in found.why
    assert found.fix == "a --source that the target can answer to"


def test_each_reason_against_a_source_is_told() -> None:
    demand = demanded(24_000, REMOTE, source=("10.1.0.0/30", "127.0.0.9"))
    one, other, third = dict.fromkeys(route.source for route in demand.routes)
    barred = tuple(
        Barred(source, "10.0.0.1", number)
        for source, number in ((one, errno.EADDRNOTAVAIL), (other, errno.EINVAL), (third, errno.EACCES))
    )
    found = _found("sources", replace(demand, barred=barred))
    assert found.seen.startswith("0 of 3 ")
    assert "(EADDRNOTAVAIL)" in found.why
    assert "this machine only" in found.why
    assert "Permission denied (EACCES)" in found.why


def test_a_target_that_no_route_leads_to_is_refused() -> None:
    demand = demanded(1000, REMOTE)
    found = _found("route", replace(demand, barred=(Barred(None, "10.0.0.1", errno.ENETUNREACH),)))
    assert found.level is Level.FAIL
    assert found.why == "connect() fails: Network is unreachable (ENETUNREACH)"
    assert found.fix.startswith("ip route get 10.0.0.1 ")


def test_loopback_that_is_down_is_refused_with_the_line_that_sets_it_up() -> None:
    demand = demanded(1000, loopback_addresses=0)
    found = _found("route", replace(demand, barred=(Barred(None, "127.0.0.1", errno.ENETUNREACH),)))
    assert found.fix.startswith("ip link set lo up (as root)")


@pytest.mark.parametrize(
    ("lacks_v6", "addresses", "fix"),
    [
        pytest.param(True, 1024, "sysctl -w net.ipv6.conf.lo.disable_ipv6=0, or docker run ", id="IPv6 is off"),
        pytest.param(False, 1024, "ip -6 addr add ::1/128 dev lo (as root)", id="it was removed"),
        pytest.param(False, 0, "ip link set lo up (as root)", id="the interface is down"),
    ],
)
def test_what_loopback_of_ipv6_lacks_is_given_back(lacks_v6: bool, addresses: int, fix: str) -> None:
    demand = demanded(10, Target("::1", ("::1",), 7000), loopback_addresses=addresses)
    barred = (Barred(None, "::1", errno.EADDRNOTAVAIL),)
    found = _found("route", replace(demand, barred=barred, lacks_v6=lacks_v6))
    assert found.fix.startswith(fix)
    assert bool(found.sysctls) == lacks_v6


def test_an_address_that_may_be_another_machine_s_is_waited_for_and_not_added_again() -> None:
    demand = demanded(10, Target("v6", ("2001:db8::1",), 7000), source=("2001:db8:1::/126",))
    [source] = {route.source for route in demand.routes if route.source}
    found = _found("sources", replace(_barred(demand, errno.EADDRNOTAVAIL, source), unsettled=(source,)))
    assert found.level is Level.FAIL
    assert "(tentative), or one has it (dadfailed)" in found.why
    assert "no interface" not in found.why
    assert found.fix.startswith("wait 2 s, ")
