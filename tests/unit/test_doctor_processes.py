from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loadkit.cgroup import CgroupLimits
from loadkit.doctor.finding import Level
from tests.unit.examined import codes, find

# Of c=1,000 with both ends here: 1 worker each and 8 processes and threads beside them: 10.
_TABLE = [
    pytest.param("nproc", {"nproc_soft": 110, "tasks_of_user": 100}, Level.OK, "", id="nproc just enough"),
    pytest.param(
        "nproc",
        {"nproc_soft": 109, "tasks_of_user": 100},
        Level.FAIL,
        # 100 + 2 x 10
        "ulimit -u 120, or docker run --ulimit nproc=120:120, or systemd LimitNPROC=120",
        id="nproc one too few",
    ),
    pytest.param("nproc", {"nproc_soft": 2**62, "tasks_of_user": 100}, Level.OK, "", id="nproc unlimited"),
    pytest.param(
        "nproc", {"nproc_soft": 1, "tasks_of_user": 9, "capabilities": 1 << 21}, Level.OK, "", id="CAP_SYS_ADMIN"
    ),
    pytest.param(
        "nproc", {"nproc_soft": 1, "tasks_of_user": 9, "capabilities": 1 << 24}, Level.OK, "", id="CAP_SYS_RESOURCE"
    ),
    pytest.param("nproc", {"nproc_soft": 1, "tasks_of_user": 9, "is_root": True}, Level.OK, "", id="root"),
    pytest.param(
        "nproc",
        {"nproc_soft": 1, "tasks_of_user": 9, "is_root": True, "capabilities": 1 << 24, "in_user_namespace": True},
        Level.FAIL,
        "ulimit -u 29",  # 9 + 2 x 10
        id="root of a user namespace",
    ),
    pytest.param("pids", {"cgroup": CgroupLimits(pids_max=15, pids_used=5)}, Level.OK, "", id="pids just enough"),
    pytest.param(
        "pids",
        {"cgroup": CgroupLimits(pids_max=14, pids_used=5)},
        Level.FAIL,
        "docker run --pids-limit 28, or systemd TasksMax=28",  # twice 14
        id="pids one too few",
    ),
    pytest.param("pid_max", {"pid_max": 110, "tasks": 100}, Level.OK, "", id="pid_max just enough"),
    pytest.param(
        "pid_max", {"pid_max": 109, "tasks": 100}, Level.FAIL, "sysctl -w kernel.pid_max=218", id="pid_max one too few"
    ),
    pytest.param("threads-max", {"threads_max": 110, "tasks": 100}, Level.OK, "", id="threads-max just enough"),
    pytest.param(
        "threads-max",
        {"threads_max": 109, "tasks": 100},
        Level.FAIL,
        "sysctl -w kernel.threads-max=218",
        id="threads-max one too few",
    ),
]


@pytest.mark.parametrize(("code", "facts", "level", "fix"), _TABLE)
def test_processes_are_counted_against_each_limit(code: str, facts: Mapping[str, Any], level: Level, fix: str) -> None:
    found = find(code, 1000, None, **facts)
    assert found.level is level, found
    assert found.fix.startswith(fix)


def test_a_refusal_has_the_arithmetic() -> None:
    found = find("nproc", 1000, None, nproc_soft=109, tasks_of_user=100)
    assert found.why == "109 - 100 in use = 9 processes left, and 10 are needed"
    assert found.needed == "10 more (2 workers and 8 beside them)"


def test_limits_that_nobody_set_are_left_out() -> None:
    assert {"nproc", "pids", "pid_max", "threads-max"} & set(codes()) == set()
