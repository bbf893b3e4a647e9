from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import Level
from loadkit.plan.target import Target
from tests.unit.examined import REMOTE, codes, demanded, find

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


def test_the_listener_s_queues_are_not_ours_when_the_server_is_elsewhere() -> None:
    assert not {"somaxconn", "syn-backlog"} & set(codes(1000, REMOTE, somaxconn=1, syn_backlog=1))


def test_a_serve_end_alone_needs_queues() -> None:
    assert {"somaxconn", "syn-backlog"} <= set(codes(1000, serve=True, somaxconn=1, syn_backlog=1))


def test_the_queues_are_ours_where_the_target_is_one_of_our_own_addresses() -> None:
    there = replace(demanded(1000, REMOTE, somaxconn=1), is_own_target=True)
    assert "somaxconn" in {found.code for found in examine(there)}


def test_conntrack_keeps_closed_connections_for_two_minutes() -> None:
    # 10 + 100/s x 120 s
    assert find("conntrack", 10, REMOTE, churn_hz=100.0, conntrack_max=12_011, conntrack_used=1).level is Level.OK
    assert find("conntrack", 10, REMOTE, churn_hz=100.0, conntrack_max=12_010, conntrack_used=1).level is Level.WARN
