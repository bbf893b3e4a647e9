from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import Level
from loadkit.errors import PreflightError
from loadkit.plan.addresses import plan_routes
from loadkit.plan.model import Target
from tests.unit.examined import LOCAL, REMOTE, codes, demanded, find

_TABLE = [
    pytest.param("somaxconn", 5000, None, {"somaxconn": 4096}, Level.OK, "", "", id="somaxconn as the backlog"),
    pytest.param("somaxconn", 128, None, {"somaxconn": 128}, Level.OK, "", "", id="somaxconn: no more will come"),
    pytest.param(
        "somaxconn",
        1000,
        None,
        {"somaxconn": 128},
        Level.WARN,
        "the kernel cuts the backlog to 128",
        "sysctl -w net.core.somaxconn=4096, or docker run --sysctl net.core.somaxconn=4096",
        id="somaxconn cuts the backlog",
    ),
    pytest.param("syn-backlog", 5000, None, {"syn_backlog": 128, "syncookies": 1}, Level.OK, "", "", id="SYN cookies"),
    pytest.param("syn-backlog", 5000, None, {"syn_backlog": 128}, Level.OK, "", "", id="SYN cookies, not known"),
    # three quarters of 5,462 are 4,096
    pytest.param("syn-backlog", 5000, None, {"syn_backlog": 5462, "syncookies": 0}, Level.OK, "", "", id="long enough"),
    pytest.param(
        "syn-backlog",
        5000,
        None,
        {"syn_backlog": 5460, "syncookies": 0},
        Level.WARN,
        "tcp_syncookies is 0",
        "sysctl -w net.ipv4.tcp_max_syn_backlog=5462",
        id="too short without SYN cookies",
    ),
    pytest.param("ports", 500_000, None, {}, Level.OK, "", "", id="ports: loopback has addresses enough"),
    pytest.param("ports", 500_000, LOCAL, {}, Level.OK, "", "", id="ports: and sources enough"),
    pytest.param("ports", 8_000, REMOTE, {}, Level.OK, "", "", id="ports: 8,000 on a pair"),
    pytest.param(
        "ports",
        28_233,
        REMOTE,
        {},
        Level.FAIL,
        # 60,999 - 32,768 + 1
        "28,233 connections need more ports than there are: 1 source address(es) x 1 destination(s) x 28,232 "
        "ephemeral ports = 28,232",
        "--source CIDR with 4 addresses",  # 28,233 / 8,000
        id="ports: more than there are",
    ),
    pytest.param(
        "ports",
        10,
        LOCAL,
        {"reserved_ports": 28_232},
        Level.FAIL,
        "10 connections need more ports",
        'sysctl -w net.ipv4.ip_local_port_range="1024 65535"',
        id="ports: all reserved",
    ),
    pytest.param(
        "conntrack", 1000, None, {"conntrack_max": 1001, "conntrack_used": 1}, Level.OK, "", "", id="conntrack: room"
    ),
    pytest.param(
        "conntrack",
        1000,
        None,
        {"conntrack_max": 1000, "conntrack_used": 1},
        Level.WARN,
        "999 entries are left",
        "sysctl -w net.netfilter.nf_conntrack_max=2001",  # 1 + 2 x 1,000
        id="conntrack: one too few",
    ),
    pytest.param(
        "conntrack", 1000, None, {"conntrack_max": 10, "conntrack_used": 0}, Level.OK, "", "", id="conntrack: unused"
    ),
]


@pytest.mark.parametrize(("code", "connections", "target", "facts", "level", "why", "fix"), _TABLE)
def test_each_finding_says_why_and_the_line_that_mends_it(
    code: str, connections: int, target: Target | None, facts: Mapping[str, Any], level: Level, why: str, fix: str
) -> None:
    found = find(code, connections, target, **facts)
    assert found.level is level, found
    assert found.why.startswith(why)
    assert found.fix.startswith(fix)


def test_past_what_connect_finds_fast_the_plan_chooses_the_ports_and_all_is_well() -> None:
    found = find("ports", 8_001, REMOTE)
    assert found.level is Level.OK
    assert "1 source(s) x 1 destination(s), at most 8,001 of 28,232 ports each" in found.seen
    demand = demanded(8_001, REMOTE)
    assert all(route.ports == (32_768, 60_999) for route in demand.routes)
    left_to_the_kernel = tuple(msgspec.structs.replace(route, ports=None) for route in demand.routes)
    [warned] = [one for one in examine(replace(demand, routes=left_to_the_kernel)) if one.code == "ports"]
    assert warned.level is Level.WARN
    assert warned.why.startswith("8,001 connections between two addresses: past 8,000 each connect searches")


def test_too_few_ports_are_refused_in_the_plan_s_words() -> None:
    with pytest.raises(PreflightError) as refused:
        plan_routes(30_000, (None,), REMOTE.addresses, 28_232)
    assert str(refused.value).startswith(find("ports", 30_000, REMOTE).why)


def test_the_listener_s_queues_are_not_ours_when_the_server_is_elsewhere() -> None:
    assert not {"somaxconn", "syn-backlog"} & set(codes(1000, REMOTE, somaxconn=1, syn_backlog=1))


def test_a_serve_end_alone_needs_queues_and_no_ports() -> None:
    asked = codes(1000, serve=True, somaxconn=1, syn_backlog=1)
    assert {"somaxconn", "syn-backlog"} <= set(asked)
    assert "ports" not in asked


# 28,232 ports of one pair of addresses, 1,000 of them open
_CHURN = [
    # 28,232 - 1,000 = 27,232 in 60 s
    pytest.param(REMOTE, 0, 27_232 / 60, Level.OK, "", id="a minute: just enough"),
    pytest.param(REMOTE, 0, 460, Level.FAIL, "(28,232 - 1,000) / 60 s = 454/s at most", id="a minute: too fast"),
    pytest.param(REMOTE, 2, 460, Level.FAIL, "/ 60 s", id="2 is for loopback alone"),
    pytest.param(REMOTE, 1, 27_232, Level.OK, "", id="reused after a second: just enough"),
    pytest.param(REMOTE, 1, 27_300, Level.FAIL, "(28,232 - 1,000) / 1 s = 27,232/s at most", id="reused: too fast"),
    pytest.param(LOCAL, 2, 27_232, Level.OK, "", id="on loopback: just enough"),
    pytest.param(LOCAL, None, 460, Level.FAIL, "/ 60 s", id="not known"),
]


@pytest.mark.parametrize(("target", "reuse", "churn_hz", "level", "why"), _CHURN)
def test_time_wait_leaves_ports_for_a_certain_churn(
    target: Target, reuse: int | None, churn_hz: float, level: Level, why: str
) -> None:
    found = find("time-wait", 1000, target, churn_hz=churn_hz, tw_reuse=reuse)
    assert found.level is level, found
    assert why in found.why
    if level is Level.FAIL:
        assert found.fix.startswith("--close rst")
        assert ("net.ipv4.tcp_tw_reuse=1" in found.sysctls) == (reuse != 1)


def test_the_time_wait_table_holds_a_minute_of_churn() -> None:
    # 100/s x 60 s + 5 there already
    assert find("tw-buckets", 10, REMOTE, churn_hz=100.0, tw_max=6005, time_waits=5).level is Level.OK
    found = find("tw-buckets", 10, REMOTE, churn_hz=100.0, tw_max=6004, time_waits=5)
    assert found.level is Level.WARN
    assert found.sysctls == ("net.ipv4.tcp_max_tw_buckets=12005",)


def test_conntrack_keeps_closed_connections_for_two_minutes() -> None:
    # 10 + 100/s x 120 s
    assert find("conntrack", 10, REMOTE, churn_hz=100.0, conntrack_max=12_011, conntrack_used=1).level is Level.OK
    assert find("conntrack", 10, REMOTE, churn_hz=100.0, conntrack_max=12_010, conntrack_used=1).level is Level.WARN


def test_without_churn_nothing_is_said_of_time_wait() -> None:
    assert not {"time-wait", "tw-buckets"} & set(codes(1000, REMOTE, tw_max=1))


def test_a_serve_end_has_no_time_wait_because_the_other_end_closes_first() -> None:
    assert find("time-wait", 1000, serve=True, churn_hz=10_000.0).level is Level.OK
    assert "tw-buckets" not in codes(1000, serve=True, churn_hz=10_000.0, tw_max=1)
