from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.doctor.check import examine, summary
from loadkit.doctor.demand import demand_of_blast
from loadkit.doctor.finding import Level, can_work
from loadkit.errors import PreflightError
from loadkit.host import read_host
from loadkit.plan.build import build_plan
from loadkit.plan.target import Target
from loadkit.profile.blast import Profile
from loadkit.units import Count
from tests.golden.made_up import ENGINE
from tests.unit.examined import LOCAL, REMOTE, check_form, codes, demanded
from tests.unit.made_up import made_up_host

_EVERY_FACT = {
    "tw_max": 131_072,
    "time_waits": 0,
    "syn_backlog": 4096,
    "syncookies": 1,
    "tcp_mem_pages": (100_000, 150_000, 200_000),
    "tcp_used_pages": 10,
    "conntrack_max": 262_144,
    "conntrack_used": 5,
    "capabilities": 0,
    "seccomp": 2,
    "nproc_soft": 60_000,
    "tasks_of_user": 100,
    "tasks": 300,
    "tasks_seen": 300,
    "pid_max": 32_768,
    "threads_max": 60_000,
    "epoll_watches": 1_000_000,
    "governor": "performance",
    "clock_source": "tsc",
    "steal_share": 0.0,
}


def test_a_machine_with_room_has_nothing_but_ok() -> None:
    demand = demanded(churn_hz=100.0, **_EVERY_FACT)
    findings = examine(demand)
    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.code for finding in findings] == [
        "nofile",
        "nr_open",
        "file-max",
        "epoll",
        "nproc",
        "pid_max",
        "threads-max",
        "somaxconn",
        "syn-backlog",
        "conntrack",
        "ports",
        "time-wait",
        "tw-buckets",
        "memory",
        "tcp_mem",
        "engine",
        "cores",
        "governor",
        "steal",
        "clock",
        "seccomp",
        "capabilities",
    ]
    assert can_work(findings)


def test_what_the_machine_hides_is_left_out() -> None:
    hidden = {"nr_open": None, "file_max": None, "somaxconn": None, "memory_available_bytes": None}
    assert codes(**hidden) == ["nofile", "ports", "engine", "cores"]


def test_warnings_do_not_stand_in_the_way_but_failures_do() -> None:
    assert can_work(examine(demanded(somaxconn=1)))
    assert not can_work(examine(demanded(file_max=1)))


@pytest.mark.parametrize(
    ("asked", "target", "serve", "text"),
    [
        # 100,000 / 19,800 -> 6, and to serve, each with addresses of its own, as many
        pytest.param(
            100_000,
            None,
            False,
            "c=100,000 can run here: 6 processes to blast, 6 processes to serve, 1 warning",
            id="both ends",
        ),
        pytest.param(1000, REMOTE, False, "c=1,000 can run here: 2 processes to blast", id="one end"),
        # 100,000 x 1.15 / 19,800 -> 6, which `serve` does not have by itself
        pytest.param(
            100_000, None, True, "c=100,000 can run here: 6 processes to serve (-w 6), 1 warning", id="to serve alone"
        ),
        pytest.param(1000, None, True, "c=1,000 can run here: 2 processes to serve", id="to serve a few"),
    ],
)
def test_the_summary_says_in_how_many_processes(asked: int, target: Target | None, serve: bool, text: str) -> None:
    demand = demanded(asked, target, serve=serve)
    assert summary(demand, examine(demand)) == text


def test_the_summary_of_what_cannot_work_names_what_fails_and_the_first_reason() -> None:
    demand = demanded(file_max=2000, memory_available_bytes=1)
    assert summary(demand, examine(demand)) == (
        "cannot: c=1,000 does not fit this machine: file-max, memory. "
        "the whole machine has 1,000 files left and 2,000 are needed"
    )


@given(
    connections=st.integers(1, 100_000),
    hard=st.integers(150, 50_000),
    cores=st.integers(1, 8),
    file_max=st.integers(1_000, 300_000),
    high=st.integers(37_000, 60_999),
    target=st.sampled_from([None, LOCAL, REMOTE]),
)
def test_the_doctor_refuses_whatever_the_plan_refuses_and_counts_its_processes(
    connections: int, hard: int, cores: int, file_max: int, high: int, target: Target | None
) -> None:
    host = made_up_host(
        nofile_hard=hard,
        cores=tuple(range(cores)),
        cpus=cores,
        file_max=file_max,
        port_high=high,
        memory_available_bytes=None,
    )
    demand = demand_of_blast(host, connections, target, ENGINE)
    findings = examine(demand)
    for finding in findings:
        check_form(finding)
    try:
        plan = build_plan(Profile(connections=Count(connections)), {}, host, target, ENGINE)
    except PreflightError:
        assert not can_work(findings)
        return
    assert demand.blast_workers == plan.here.workers
    assert demand.serve_workers == (plan.here.serve.workers if plan.here.serve else 0)


def test_this_machine_can_be_examined() -> None:
    demand = demand_of_blast(read_host(), 10, None, ENGINE)
    findings = examine(demand)
    for finding in findings:
        check_form(finding)
    assert summary(demand, findings)
