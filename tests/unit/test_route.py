from __future__ import annotations

from pathlib import Path

import pytest

from loadkit.doctor.route import find_interface, is_unsettled

# 0.0.0.0/0 by eth0, 10.1.0.0/16 by eth1, 10.1.2.0/24 by eth2 which is down; hexadecimal, the last byte first
_ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth2\t0002010A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
_V6 = """20010db8000000000000000000000007 02 40 00 80     eth3
20010db8000000000000000000000009 02 40 00 c0     eth3
20010db800000000000000000000000a 02 40 00 88     eth3
fe800000000000000000000000000001 02 40 20 c0     eth3
fe800000000000000000000000000001 03 40 20 80     eth4
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(_ROUTES)
    (tmp_path / "net/if_inet6").write_text(_V6)
    return tmp_path


def test_the_interface_that_has_the_source_address_is_the_one(proc: Path) -> None:
    assert find_interface("10.0.0.1", "10.9.9.9", proc, {"lo": "10.9.9.9"}.get) == "lo"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("10.1.3.4", "eth1", id="the longer prefix"),
        pytest.param("10.1.2.4", "eth1", id="a route that is down does not count"),
        pytest.param("8.8.8.8", "eth0", id="the default route"),
    ],
)
def test_for_a_second_address_of_an_interface_the_routes_are_asked(proc: Path, address: str, name: str) -> None:
    assert find_interface(address, "10.9.9.9", proc, lambda _: None) == name


def test_an_ipv6_source_is_looked_up_with_its_holder(proc: Path) -> None:
    assert find_interface("2001:db8::1", "2001:db8::7", proc) == "eth3"
    assert find_interface("2001:db8::1", "2001:db8::8", proc) is None


def test_a_source_of_one_link_names_its_interface(proc: Path) -> None:
    assert find_interface("fe80::1%eth4", "fe80::2%eth4", proc) == "eth4"
    assert find_interface("fe80::2%eth4", "fe80::2%eth4", proc) is None


def test_an_address_of_this_machine_s_own_needs_no_card(proc: Path) -> None:
    assert find_interface("10.9.9.9", "10.9.9.9", proc, {"lo": "10.9.9.9"}.get) is None


def test_no_routes_no_interface(tmp_path: Path) -> None:
    assert find_interface("10.0.0.1", "10.9.9.9", tmp_path, lambda _: None) is None


@pytest.mark.parametrize(
    ("source", "is_so"),
    [
        pytest.param("2001:db8::7", False, id="permanent"),
        pytest.param("2001:db8::9", True, id="tentative"),
        pytest.param("2001:db8::a", True, id="another machine has it"),
        pytest.param("2001:db8::b", False, id="not here"),
        pytest.param("fe80::1%eth3", True, id="tentative on this interface"),
        pytest.param("fe80::1%eth4", False, id="and not on that"),
        pytest.param("10.1.2.3", False, id="IPv4"),
    ],
)
def test_an_ipv6_address_is_settled_once_no_other_machine_has_it(proc: Path, source: str, is_so: bool) -> None:
    assert is_unsettled(source, proc) is is_so
