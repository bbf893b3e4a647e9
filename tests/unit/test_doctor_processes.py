from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loadkit.cgroup import CgroupLimits
from loadkit.doctor.finding import Level
from tests.unit.examined import codes, find

# Of c=1,000 with both ends here: 1 worker each, the process they come from and a thread of numpy's on 2 cores: 4.
_TABLE = [
    pytest.param("nproc", {"nproc_soft": 104, "tasks_of_user": 100}, Level.OK, "", id="nproc just enough"),
    pytest.param(
        "nproc",
        {"nproc_soft": 103, "tasks_of_user": 100},
        Level.FAIL,
        # 100 + 2 x 4
        "ulimit -u 108, or docker run --ulimit nproc=108:108, or systemd LimitNPROC=108",
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
        "ulimit -u 17",  # 9 + 2 x 4
        id="root of a user namespace",
    ),
    pytest.param("pids", {"cgroup": CgroupLimits(pids_max=9, pids_used=5)}, Level.OK, "", id="pids just enough"),
    pytest.param(
        "pids",
        {"cgroup": CgroupLimits(pids_max=8, pids_used=5)},
        Level.FAIL,
        "docker run --pids-limit 16, or systemd TasksMax=16",  # twice 8
        id="pids one too few",
    ),
    pytest.param("pid_max", {"pid_max": 104, "tasks_seen": 100}, Level.OK, "", id="pid_max just enough"),
    pytest.param(
        "pid_max",
        {"pid_max": 103, "tasks_seen": 100, "tasks": 5000},
        Level.FAIL,
        "sysctl -w kernel.pid_max=206",
        id="pid_max one too few",
    ),
    pytest.param("threads-max", {"threads_max": 104, "tasks": 100}, Level.OK, "", id="threads-max just enough"),
    pytest.param(
        "threads-max",
        {"threads_max": 103, "tasks": 100},
        Level.FAIL,
        "sysctl -w kernel.threads-max=206",
        id="threads-max one too few",
    ),
]


@pytest.mark.parametrize(("code", "facts", "level", "fix"), _TABLE)
def test_processes_are_counted_against_each_limit(code: str, facts: Mapping[str, Any], level: Level, fix: str) -> None:
    found = find(code, 1000, None, **facts)
    assert found.level is level, found
    assert found.fix.startswith(fix)


def test_a_refusal_has_the_arithmetic() -> None:
    found = find("nproc", 1000, None, nproc_soft=103, tasks_of_user=100)
    assert found.why == "103 - 100 in use = 3 processes left, and 4 are needed"
    assert found.needed == "4 more (2 workers and 2 beside them)"


def test_limits_that_nobody_set_are_left_out() -> None:
    assert {"nproc", "pids", "pid_max", "threads-max"} & set(codes()) == set()
