from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import Level
from loadkit.doctor.nic import Nic
from tests.unit.examined import REMOTE, check_form, demanded

_GOOD = Nic(
    name="eth0",
    driver="ixgbe",
    rx_queues=4,
    channels=(4, 8),
    steered=False,
    irqs=((40, "0"), (41, "1"), (42, "2"), (43, "3")),
    rings=((4096, 4096), (4096, 4096)),
    coalescing=(50, False),
    offloads=(("gro", True), ("tso", True), ("rx", True), ("tx", True)),
)
_UNKNOWN = Nic("eth0", None, None, None, False, (), None, None, (("gro", None), ("tso", None)))

_TABLE = [
    pytest.param(
        "nic-queues", {"channels": (2, 8)}, Level.WARN, "2 core", "ethtool -L eth0 combined 4", id="few queues"
    ),
    pytest.param(
        "nic-queues", {"channels": (2, 3)}, Level.WARN, "2 core", "ethtool -L eth0 combined 3", id="as it can"
    ),
    pytest.param(
        "nic-queues",
        {"channels": (1, 1)},
        Level.WARN,
        "1 core",
        "echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus",  # four cores
        id="a card with one queue",
    ),
    pytest.param(
        "nic-queues", {"channels": None, "rx_queues": 1}, Level.WARN, "1 core", "echo f", id="a driver that is silent"
    ),
    pytest.param("nic-queues", {"channels": (1, 1), "steered": True}, Level.OK, "", "", id="one queue and RPS"),
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
_CODES = ["nic-queues", "nic-irqs", "nic-rings", "nic-offload", "nic-coalesce"]


def _findings(nic: Nic) -> dict[str, Any]:
    demand = demanded(1000, REMOTE, cores=(0, 1, 2, 3), cpus=4)
    return {found.code: found for found in examine(demand, nic) if found.code.startswith("nic-")}


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
    assert list(findings) == _CODES
    for found in findings.values():
        assert found.level is Level.OK
        assert "not known" in found.seen


def test_without_a_card_nothing_is_said_of_it() -> None:
    assert not [found for found in examine(demanded(1000, REMOTE)) if found.code.startswith("nic")]
