from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.doctor.check import Finding, Level, as_text, can_work, examine
from loadkit.errors import PreflightError
from loadkit.host import read_host
from loadkit.plan.build import build_plan
from loadkit.plan.model import Target
from loadkit.profile.model import Profile
from loadkit.units import Count, Rate
from tests.unit.made_up import made_up_host

_REMOTE = Target("db", ("10.0.0.1",), 5432)
_LOCAL = Target("localhost", ("127.0.0.1",), 9000)


def _find(code: str, connections: int = 1000, target: Target | None = None, **facts: Any) -> Finding:
    findings = examine(made_up_host(**facts), connections, target)
    return next(finding for finding in findings if finding.code == code)


def test_a_machine_with_room_has_nothing_but_ok() -> None:
    findings = examine(made_up_host(), 1000, None)
    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.code for finding in findings] == [
        "conclusion",
        "nofile",
        "nr_open",
        "file-max",
        "somaxconn",
        "ports",
        "memory",
        "cores",
    ]
    assert can_work(findings)


_TABLE = [
    # 1,000 x 1.15 + 200 of a worker's own = 1,350 of the serve end's one process
    pytest.param("nofile", 1000, None, {"nofile_hard": 1350}, Level.OK, "", "", id="nofile just enough"),
    pytest.param(
        "nofile",
        1000,
        None,
        {"nofile_hard": 1349},
        Level.WARN,
        # 1,000 / 1,149 -> 1 to blast, 1,150 / 1,149 -> 2 to serve
        "1,000 connections / (1,349 - 200 of a worker's own) = 1: it takes 1 processes and 2 to serve",
        "ulimit -Hn 1350 (as root), docker run --ulimit nofile=1350:1350, or systemd LimitNOFILE=1350",
        id="nofile one too few for a process a core",
    ),
    pytest.param(
        "nofile",
        10,
        None,
        {"nofile_hard": 200},
        Level.FAIL,
        "a worker needs 200 for itself, which leaves 0 of 200 for connections",
        "ulimit -Hn 212 (as root)",  # 10 x 1.15 = 12
        id="nofile too low for any",
    ),
    pytest.param(
        "nofile",
        100_000,
        _REMOTE,
        {},
        Level.WARN,
        # 100,000 / 19,800 = 5.05
        "100,000 connections / (20,000 - 200 of a worker's own) = 6: it takes 6 processes, more than the cores",
        "ulimit -Hn 50200 (as root)",  # 100,000 / 2 cores + 200
        id="nofile against a server elsewhere",
    ),
    pytest.param(
        "nr_open",
        10**6,
        _REMOTE,
        {"nr_open": 400_000},
        Level.WARN,
        "no limit of open files can be raised above it",
        "sysctl -w fs.nr_open=500200",  # 1,000,000 / 2 + 200
        id="nr_open below what nofile should be",
    ),
    pytest.param("nr_open", 1000, None, {"nr_open": 1000}, Level.OK, "", "", id="nr_open does not matter with room"),
    pytest.param("file-max", 1000, None, {"file_max": 3000}, Level.OK, "", "", id="file-max: 2 x 1,000 + 1,000 used"),
    pytest.param(
        "file-max",
        1000,
        None,
        {"file_max": 2999},
        Level.FAIL,
        "the whole machine has 1,999 files left and 2,000 are needed",
        "sysctl -w fs.file-max=5000",  # 1,000 in use + twice 2,000
        id="file-max one too few",
    ),
    pytest.param("file-max", 1000, _REMOTE, {"file_max": 2999}, Level.OK, "", "", id="file-max: one end is elsewhere"),
    pytest.param(
        "file-max", 1000, _LOCAL, {"file_max": 2999}, Level.FAIL, "the whole machine", "sysctl", id="both ends are here"
    ),
    pytest.param("somaxconn", 1000, None, {"somaxconn": 4096}, Level.OK, "", "", id="somaxconn as the backlog"),
    pytest.param(
        "somaxconn",
        1000,
        None,
        {"somaxconn": 128},
        Level.WARN,
        "the kernel cuts the backlog to 128",
        "sysctl -w net.core.somaxconn=4096",
        id="somaxconn cuts the backlog",
    ),
    pytest.param("ports", 500_000, None, {}, Level.OK, "", "", id="ports: loopback has addresses enough"),
    pytest.param("ports", 500_000, _LOCAL, {}, Level.OK, "", "", id="ports: and sources enough"),
    pytest.param("ports", 8_000, _REMOTE, {}, Level.OK, "", "", id="ports: 8,000 on a pair"),
    pytest.param(
        "ports",
        8_001,
        _REMOTE,
        {},
        Level.WARN,
        "8,001 connections between two addresses: past 8,000 each connect searches",
        "--source CIDR with 2 addresses",
        id="ports: past 8,000 on a pair",
    ),
    pytest.param(
        "ports",
        28_233,
        _REMOTE,
        {},
        Level.FAIL,
        # 60,999 - 32,768 + 1
        "28,233 connections need more ports than there are: 1 source(s) x 1 destination(s) x 28,232 ports = 28,232",
        "--source CIDR with 4 addresses",  # 28,233 / 8,000
        id="ports: more than there are",
    ),
    pytest.param(
        "ports",
        10,
        _LOCAL,
        {"reserved_ports": 28_232},
        Level.FAIL,
        "10 connections need more ports",
        'sysctl -w net.ipv4.ip_local_port_range="1024 65535"',
        id="ports: all reserved",
    ),
    pytest.param(
        "cores",
        1000,
        None,
        {"cores": (0,), "cpus": 4},
        Level.WARN,
        "both ends share a core",
        "taskset -c 0-3 loadkit blast ..., or docker run --cpuset-cpus=0-3",
        id="cores: pinned to one of four",
    ),
    pytest.param(
        "cores",
        1000,
        None,
        {"cores": (0,), "cpus": 1},
        Level.WARN,
        "both ends share a core",
        "measure on a machine with more cores",
        id="cores: there is only one",
    ),
    pytest.param("cores", 1000, _REMOTE, {"cores": (0,), "cpus": 1}, Level.OK, "", "", id="cores: one end needs one"),
    pytest.param(
        "cores", 1000, None, {"cpus": 8}, Level.WARN, "an affinity mask", "taskset -c 0-7", id="cores: 2 of 8"
    ),
]


@pytest.mark.parametrize(("code", "connections", "target", "facts", "level", "why", "fix"), _TABLE)
def test_each_finding_says_why_and_the_line_that_mends_it(
    code: str,
    connections: int,
    target: Target | None,
    facts: Mapping[str, Any],
    level: Level,
    why: str,
    fix: str,
) -> None:
    found = _find(code, connections, target, **facts)
    assert found.level is level, found
    assert found.why.startswith(why)
    assert found.fix.startswith(fix)
    assert bool(found.why) == bool(found.fix) == (level is not Level.OK)
    assert found.seen
    assert found.needed


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        # kernel 2 x 4,100 + ours 2 x 1,350 = 10,900 a connection, and 2 processes of 45 MB
        pytest.param(None, 10_000 * 10_900 + 90_000_000, id="embedded"),
        # kernel 2 x 4,100 + 1,350, 2 processes
        pytest.param(_LOCAL, 10_000 * 9_550 + 90_000_000, id="somebody's server here"),
        # kernel 4,100 + 1,350, 2 processes
        pytest.param(_REMOTE, 10_000 * 5_450 + 90_000_000, id="elsewhere"),
    ],
)
def test_memory_is_the_ends_that_are_here_and_the_processes(target: Target | None, needed: int) -> None:
    def level(available: int) -> Level:
        return _find("memory", 10_000, target, memory_available_bytes=available).level

    assert level(needed * 10 // 8 + 1) is Level.OK  # at most four fifths of what there is
    assert level(needed * 10 // 8 - 10) is Level.WARN
    assert level(needed) is Level.WARN
    assert level(needed - 1) is Level.FAIL


def test_memory_says_how_many_connections_would_fit() -> None:
    found = _find("memory", 10_000, None, memory_available_bytes=99_500_000)
    # 199,000,000 for 10,000: half of it, 5,000; the fix keeps a fifth back
    assert "about 5,000 idle connections fit" in found.why
    assert found.fix == "-c 4000, or a machine with more memory"


def test_what_the_machine_hides_is_left_out() -> None:
    host = made_up_host(nr_open=None, file_max=None, somaxconn=None, memory_available_bytes=None)
    codes = [finding.code for finding in examine(host, 1000, None)]
    assert codes == ["conclusion", "nofile", "ports", "cores"]


def test_the_listener_s_queue_is_not_ours_when_the_server_is_elsewhere() -> None:
    codes = [finding.code for finding in examine(made_up_host(somaxconn=1), 1000, _REMOTE)]
    assert "somaxconn" not in codes


def test_warnings_do_not_stand_in_the_way_but_failures_do() -> None:
    assert can_work(examine(made_up_host(somaxconn=1), 1000, None))
    assert not can_work(examine(made_up_host(file_max=1), 1000, None))


def test_the_text_begins_with_the_conclusion() -> None:
    # 100,000 / 19,800 -> 6; 115,000 / 19,800 -> 6
    text = as_text(examine(made_up_host(), 100_000, None))
    assert text.splitlines()[0] == "c=100,000 can run here: 6 process(es) to blast, 6 to serve, 1 warning"
    text = as_text(examine(made_up_host(), 1000, _REMOTE))
    assert text.splitlines()[0] == "c=1,000 can run here: 2 process(es) to blast"


def test_a_conclusion_of_failure_names_what_fails_and_the_first_reason() -> None:
    text = as_text(examine(made_up_host(file_max=2000, memory_available_bytes=1), 1000, None))
    assert text.splitlines()[0] == (
        "cannot: c=1,000 does not fit this machine: file-max, memory. "
        "the whole machine has 1,000 files left and 2,000 are needed"
    )


def test_the_text_has_the_failing_findings_first_with_their_fix_below() -> None:
    text = as_text(examine(made_up_host(somaxconn=128, file_max=2000), 1000, None))
    levels = [line.split()[0] for line in text.splitlines()[1:] if line and not line.startswith(" ")]
    assert levels == ["fail", "warn", "ok", "ok", "ok", "ok", "ok"]
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail"))
    assert lines[at].startswith("fail  file-max   fs.file-max 2,000, 1,000 in use; needed: 2,000 (2 fds a connection")
    assert lines[at + 2].strip() == "fix: sysctl -w fs.file-max=5000"
    assert text == text.strip()
    assert "\n\n\n" not in text


@given(
    connections=st.integers(1, 100_000),
    hard=st.integers(150, 50_000),
    cores=st.integers(1, 8),
    file_max=st.integers(1_000, 300_000),
    high=st.integers(37_000, 60_999),
    target=st.sampled_from([None, _LOCAL, _REMOTE]),
)
def test_the_doctor_refuses_whatever_the_plan_refuses(
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
    profile = Profile(connections=Count(connections), connect_rate=Rate(1e9))
    findings = examine(host, connections, target)
    try:
        plan = build_plan(profile, {}, host, target)
    except PreflightError:
        assert not can_work(findings)
        return
    text = as_text(findings).splitlines()[0]
    if can_work(findings):
        serve = f", {plan.serve.workers:,} to serve" if plan.serve else ""
        assert text.startswith(f"c={connections:,} can run here: {plan.workers:,} process(es) to blast{serve}")


def test_this_machine_can_be_examined() -> None:
    assert as_text(examine(read_host(), 10, None)).splitlines()[0]
