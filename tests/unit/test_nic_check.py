from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.ethtool import Channels, Rss
from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.nic import Nic
from tests.unit.examined import REMOTE, check_form, demanded

_GOOD = Nic(
    name="eth0",
    driver="ixgbe",
    is_virtual=False,
    rx_queues=4,
    channels=Channels(4, 8, "combined"),
    rss=Rss(4, True),
    steered=False,
    irqs=((40, "0"), (41, "1"), (42, "2"), (43, "3")),
    rings=((4096, 4096), (4096, 4096)),
    coalescing=(50, False),
    offloads=(("gro", True), ("tso", True), ("rx", True), ("tx", True)),
)
_UNKNOWN = Nic(
    name="eth0",
    driver=None,
    is_virtual=False,
    rx_queues=None,
    channels=None,
    rss=Rss(None, None),
    steered=False,
    irqs=(),
    rings=None,
    coalescing=None,
    offloads=(("gro", None), ("tso", None)),
)

_TABLE = [
    pytest.param(
        "nic-queues",
        {"channels": Channels(2, 8, "combined")},
        Level.WARN,
        "2 core",
        "ethtool -L eth0 combined 4",
        id="few queues",
    ),
    pytest.param(
        "nic-queues",
        {"channels": Channels(2, 3, "rx")},
        Level.WARN,
        "2 core",
        "ethtool -L eth0 rx 3",
        id="as many as it can",
    ),
    pytest.param(
        "nic-queues",
        {"channels": Channels(1, 1, "combined")},
        Level.WARN,
        "1 core",
        "echo f | tee /sys/class/net/eth0/queues/rx-*/rps_cpus",  # four cores
        id="a card with one queue",
    ),
    pytest.param(
        "nic-queues", {"channels": None, "rx_queues": 1}, Level.WARN, "1 core", "echo f", id="a driver that is silent"
    ),
    pytest.param(
        "nic-queues",
        {"channels": Channels(1, 1, "combined"), "steered": True},
        Level.OK,
        "",
        "",
        id="one queue and RPS",
    ),
    pytest.param(
        "nic-rss",
        {"rss": Rss(4, False)},
        Level.WARN,
        "all connections between two addresses come in by the same queue",
        "ethtool -N eth0 rx-flow-hash tcp4 sdfn",
        id="a hash of addresses alone",
    ),
    pytest.param(
        "nic-rss",
        {"rss": Rss(1, True)},
        Level.WARN,
        "3 queue(s) get nothing",
        "ethtool -X eth0 equal 4",
        id="a table of one queue",
    ),
    pytest.param("nic-rss", {"rss": Rss(None, True)}, Level.OK, "", "", id="a table that is not known"),
    pytest.param(
        "nic-irqs",
        {"irqs": ((40, "1"), (41, "1"))},
        Level.WARN,
        "core 1 does the card's work for all",
        "start irqbalance, or as root: echo 0 > /proc/irq/40/smp_affinity_list; "
        "echo 1 > /proc/irq/41/smp_affinity_list",
        id="interrupts on one core",
    ),
    pytest.param("nic-irqs", {"irqs": ((40, "0-3"), (41, "0-3"))}, Level.OK, "", "", id="interrupts that may go about"),
    pytest.param("nic-irqs", {"irqs": ((40, "1"),)}, Level.OK, "", "", id="only one interrupt"),
    pytest.param(
        "nic-rings",
        {"rings": ((256, 4096), (4096, 4096))},
        Level.WARN,
        "a burst",
        "ethtool -G eth0 rx 4096 tx 4096",
        id="a short ring",
    ),
    pytest.param("nic-rings", {"rings": ((0, 0), (0, 0))}, Level.OK, "", "", id="no rings to speak of"),
    pytest.param(
        "nic-offload",
        {"offloads": (("gro", False), ("tso", True), ("rx", None), ("tx", False))},
        Level.WARN,
        "the CPU does",
        "ethtool -K eth0 gro on tx on",
        id="offloads that are off",
    ),
    pytest.param(
        "nic-coalesce",
        {"coalescing": (51, False)},
        Level.WARN,
        "up to 51 us",
        "ethtool -C eth0 rx-usecs 10",
        id="a card that waits",
    ),
    pytest.param("nic-coalesce", {"coalescing": (200, True)}, Level.OK, "", "", id="a card that adapts"),
]
_CODES = ["nic-queues", "nic-rss", "nic-irqs", "nic-rings", "nic-offload", "nic-coalesce"]


def _findings(nic: Nic, cores: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, Finding]:
    demand = demanded(1000, REMOTE, cores=cores, cpus=128)
    return {found.code: found for found in examine(demand, nic) if found.code.startswith("nic")}


@pytest.mark.parametrize(("code", "facts", "level", "why", "fix"), _TABLE)
def test_each_finding_says_why_and_the_line_that_mends_it(
    code: str, facts: Mapping[str, Any], level: Level, why: str, fix: str
) -> None:
    found = _findings(replace(_GOOD, **facts))[code]
    check_form(found)
    assert found.level is level, found
    assert found.why.startswith(why)
    assert found.fix.startswith(fix)
    assert not found.in_runs


def test_a_good_card_is_ok() -> None:
    findings = _findings(_GOOD)
    assert list(findings) == _CODES
    assert {found.level for found in findings.values()} == {Level.OK}


def test_what_is_not_known_is_said_and_not_held_against_the_card() -> None:
    findings = _findings(_UNKNOWN)
    assert list(findings) == [code for code in _CODES if code != "nic-rss"]  # with one queue there is nothing to spread
    for found in findings.values():
        assert found.level is Level.OK
        assert "not known" in found.seen


@pytest.mark.parametrize(
    ("cores", "mask"),
    [
        pytest.param((2, 3), "c", id="not from the first core on"),
        pytest.param((0, 33), "2,00000001", id="more than a word"),
        pytest.param((31, 95), "80000000,00000000,80000000", id="three words, the last of them full"),
    ],
)
def test_packets_are_steered_to_the_cores_that_we_may_use(cores: tuple[int, ...], mask: str) -> None:
    one_queue = replace(_GOOD, channels=Channels(1, 1, "combined"))
    assert _findings(one_queue, cores)["nic-queues"].fix.startswith(f"echo {mask} | tee ")


def test_of_rss_that_is_not_known_it_says_so() -> None:
    found = _findings(replace(_GOOD, rss=Rss(None, None)))["nic-rss"]
    assert (found.level, "not known" in found.seen) == (Level.OK, True)


def test_behind_a_virtual_interface_the_card_is_the_host_s() -> None:
    [found] = _findings(replace(_UNKNOWN, driver="tun", is_virtual=True)).values()
    assert (found.code, found.level) == ("nic", Level.OK)
    assert found.seen.startswith("eth0 (tun) is virtual")


def test_a_network_of_its_own_is_named_with_the_option_of_docker() -> None:
    findings = examine(demanded(1000, REMOTE), replace(_UNKNOWN, driver="veth", is_virtual=True))
    [found] = [finding for finding in findings if finding.code in ("network", "nic")]
    assert (found.code, found.level) == ("network", Level.WARN)
    assert found.fix.startswith("docker run --network host")


def test_without_a_card_nothing_is_said_of_it() -> None:
    assert not [found for found in examine(demanded(1000, REMOTE)) if found.code.startswith("nic")]
