from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.demand import Barred
from loadkit.doctor.finding import Level
from tests.unit.examined import REMOTE, codes, demanded, find

_NET_ADMIN, _SYS_RESOURCE = 1 << 12, 1 << 24
_FEW_FILES = {"nofile_hard": 1000}
_NO_SYSCTLS = {"can_set_net_sysctls": False, "can_set_other_sysctls": False}  # as docker has them


@pytest.mark.parametrize(
    ("held", "facts", "why", "adds"),
    [
        pytest.param(0, _NO_SYSCTLS, "", "", id="nothing to mend"),
        pytest.param(
            0,
            _FEW_FILES,
            "nofile cannot be fixed from in here without CAP_SYS_RESOURCE",
            "docker run --cap-add SYS_RESOURCE",
            id="limits",
        ),
        pytest.param(_SYS_RESOURCE, _FEW_FILES, "", "", id="limits that we may raise"),
        pytest.param(
            _SYS_RESOURCE,
            {**_FEW_FILES, "in_user_namespace": True},
            "nofile cannot be fixed from in here without CAP_SYS_RESOURCE",
            "",
            id="limits, in a user namespace",
        ),
        pytest.param(0, {"somaxconn": 1}, "", "", id="a sysctl that we may set"),
        pytest.param(
            _NET_ADMIN,
            {"somaxconn": 1, **_NO_SYSCTLS},
            "somaxconn cannot be fixed from in here without writable net.* sysctls",
            "",
            id="a sysctl of a container",
        ),
        pytest.param(
            0,
            {"file_max": 1, "can_set_other_sysctls": False},
            "file-max cannot be fixed from in here without writable other sysctls",
            "",
            id="a sysctl of the machine",
        ),
        pytest.param(
            0,
            {"somaxconn": 1, **_FEW_FILES},
            "nofile cannot be fixed from in here without CAP_SYS_RESOURCE",
            "docker run --cap-add SYS_RESOURCE",
            id="one of two",
        ),
        pytest.param(
            0,
            {"somaxconn": 1, **_FEW_FILES, **_NO_SYSCTLS},
            "nofile cannot be fixed from in here without CAP_SYS_RESOURCE; somaxconn cannot be fixed",
            "",
            id="neither",
        ),
    ],
)
def test_capabilities_matter_where_something_is_to_be_mended(
    held: int, facts: Mapping[str, Any], why: str, adds: str
) -> None:
    found = find("capabilities", 1000, None, capabilities=held, **facts)
    assert found.level is (Level.WARN if why else Level.OK), found
    assert found.why.startswith(why)
    assert ("--cap-add" in found.fix) == bool(adds)
    assert found.fix.endswith(adds)
    assert not found.in_runs


def test_adding_addresses_takes_net_admin() -> None:
    demand = demanded(1000, REMOTE, source=("10.1.0.1",), capabilities=0)
    *_, found = examine(replace(demand, barred=(Barred("10.1.0.1", "10.0.0.1", errno.EADDRNOTAVAIL),)))
    assert found.why == "sources cannot be fixed from in here without CAP_NET_ADMIN"


def test_what_is_there_is_said() -> None:
    facts = {"capabilities": _NET_ADMIN, "can_set_other_sysctls": False}
    assert find("capabilities", 1000, None, **facts).seen == (
        "CAP_NET_ADMIN yes, CAP_SYS_RESOURCE no, writable net.* sysctls yes, writable other sysctls no"
    )


def test_they_come_last_because_they_speak_of_the_others() -> None:
    assert examine(demanded(capabilities=0))[-1].code == "capabilities"
    assert "capabilities" not in codes(capabilities=None)
