from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loadkit.cgroup import CgroupLimits
from loadkit.doctor.finding import Level
from loadkit.plan.target import Target
from tests.unit.examined import REMOTE, find

_TABLE = [
    pytest.param(
        "cores",
        None,
        {"cores": (0,), "cpus": 4},
        Level.WARN,
        "both ends share a core",
        "taskset -c 0-3 loadkit blast ..., or docker run --cpuset-cpus=0-3",
        id="cores: pinned to one of four",
    ),
    pytest.param(
        "cores",
        None,
        {"cores": (0,), "cpus": 1},
        Level.WARN,
        "both ends share a core",
        "measure on a machine with more cores",
        id="cores: there is only one",
    ),
    pytest.param("cores", REMOTE, {"cores": (0,), "cpus": 1}, Level.OK, "", "", id="cores: one end needs one"),
    pytest.param("cores", None, {"cpus": 8}, Level.WARN, "an affinity mask", "taskset -c 0-7", id="cores: 2 of 8"),
    pytest.param("cpu-quota", None, {"cgroup": CgroupLimits(cpu_cores=2.0)}, Level.OK, "", "", id="quota: both cores"),
    pytest.param(
        "cpu-quota",
        None,
        {"cgroup": CgroupLimits(cpu_cores=1.5)},
        Level.WARN,
        "when the quota of a period is used up",
        "docker run --cpus=2, or systemd CPUQuota=200%",
        id="quota: less than the cores",
    ),
    pytest.param("governor", None, {"governor": "performance"}, Level.OK, "", "", id="governor performance"),
    pytest.param(
        "governor", None, {"governor": "powersave"}, Level.WARN, "a core", "echo perf", id="governor powersave"
    ),
    pytest.param(
        "governor",
        None,
        {"governor": "ondemand, performance"},
        Level.WARN,
        "a core",
        "echo perf",
        id="governor: mixed",
    ),
    pytest.param("steal", None, {"steal_share": 0.009}, Level.OK, "", "", id="little steal"),
    pytest.param("steal", None, {"steal_share": 0.01}, Level.WARN, "the hypervisor", "use a machine", id="steal"),
    pytest.param("clock", None, {"clock_source": "kvm-clock"}, Level.OK, "", "", id="clock read in user space"),
    pytest.param("clock", None, {"clock_source": "hpet"}, Level.WARN, "each reading", "echo tsc", id="slow clock"),
]


@pytest.mark.parametrize(("code", "target", "facts", "level", "why", "fix"), _TABLE)
def test_each_finding_says_why_and_the_line_that_mends_it(
    code: str, target: Target | None, facts: Mapping[str, Any], level: Level, why: str, fix: str
) -> None:
    found = find(code, 1000, target, **facts)
    assert found.level is level, found
    assert found.why.startswith(why)
    assert found.fix.startswith(fix)
    assert not found.in_runs


def test_the_fix_for_a_serve_end_names_its_command() -> None:
    assert "loadkit serve" in find("cores", 1000, serve=True, cpus=8).fix
