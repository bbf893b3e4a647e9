from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from loadkit.doctor.demand import demand_of_serve_plan
from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.limits import check_limits
from loadkit.plan.serve import build_serve_plan
from loadkit.plan.target import Target
from loadkit.profile.serve import ServeProfile
from loadkit.units import Count
from tests.golden.made_up import ENGINE
from tests.unit.examined import LOCAL, REMOTE, demanded, find
from tests.unit.made_up import made_up_host

_TABLE = [
    # 1,000 + 200 of a worker's own = 1,200, of each end's one process
    pytest.param("nofile", 1000, None, {"nofile_hard": 1200}, Level.OK, "", "", id="nofile just enough"),
    pytest.param(
        "nofile",
        1000,
        None,
        {"nofile_hard": 1199},
        Level.WARN,
        # 1,000 / 999 -> 2
        "1,000 connections / (1,199 - 200 of a worker's own) = 2: 2 to blast and 2 to serve, more than the cores",
        "ulimit -Hn 1200 (as root), or docker run --ulimit nofile=1200:1200, or systemd LimitNOFILE=1200",
        id="nofile one too few for a process a core",
    ),
    pytest.param(
        "nofile",
        10,
        None,
        {"nofile_hard": 36},
        Level.FAIL,
        "a worker needs 36 for itself, which leaves 0 of 36 for connections",
        "ulimit -Hn 46 (as root)",
        id="nofile too low for any",
    ),
    pytest.param(
        "nofile",
        100_000,
        REMOTE,
        {"port_low": 1024, "port_high": 200_000},
        Level.WARN,
        # 100,000 / 19,800 = 5.05
        "100,000 connections / (20,000 - 200 of a worker's own) = 6: 6 to blast, more than the cores",
        "ulimit -Hn 50200 (as root)",  # 100,000 / 2 cores + 200
        id="nofile against a server elsewhere",
    ),
    pytest.param(
        "nr_open",
        10**6,
        REMOTE,
        {"nr_open": 400_000},
        Level.WARN,
        "it caps every limit of open files",
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
    pytest.param("file-max", 1000, REMOTE, {"file_max": 2999}, Level.OK, "", "", id="file-max: one end is elsewhere"),
    pytest.param(
        "file-max", 1000, LOCAL, {"file_max": 2999}, Level.FAIL, "the whole machine", "sysctl", id="both ends are here"
    ),
    pytest.param("epoll", 1000, None, {"epoll_watches": 2000}, Level.OK, "", "", id="epoll: both ends watch theirs"),
    pytest.param("epoll", 1000, LOCAL, {"epoll_watches": 1000}, Level.OK, "", "", id="epoll: one end is another's"),
    pytest.param(
        "epoll",
        1000,
        None,
        {"epoll_watches": 1999},
        Level.FAIL,
        "a user may watch 1,999 sockets and 2,000 are needed",
        "sysctl -w fs.epoll.max_user_watches=4000",
        id="epoll one too few",
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


def test_a_limit_that_only_stands_in_a_fix_s_way_is_nothing_to_a_run() -> None:
    assert not find("nr_open", 10**6, REMOTE, nr_open=400_000).in_runs
    assert find("nofile", 10**6, REMOTE).in_runs


def test_file_max_is_no_limit_for_root_of_the_machine() -> None:
    facts = {"file_max": 2999, "capabilities": 1 << 21}
    assert find("file-max", 1000, None, **facts).level is Level.OK
    assert find("file-max", 1000, None, in_user_namespace=True, **facts).level is Level.FAIL


def test_workers_that_were_asked_for_are_not_laid_on_the_files() -> None:
    demand = demanded(100_000, REMOTE, port_low=1024, port_high=200_000)
    [found] = [found for found in check_limits(replace(demand, blast_workers=60)) if found.code == "nofile"]
    assert "= 6: 60 to blast as --workers asks, more than the cores" in found.why


def test_an_address_of_our_own_has_both_ends_here() -> None:
    there = replace(demanded(1000, REMOTE, file_max=2999), is_own_target=True)
    [found] = [found for found in check_limits(there) if found.code == "file-max"]
    assert (found.level, found.needed) == (Level.FAIL, "2,000 (2 fds per connection, both ends are here)")


def test_serving_takes_one_fd_a_connection_and_a_hash_that_is_uneven() -> None:
    # 10,000 x 1.15 / 2 cores + 200
    assert find("nofile", 10_000, serve=True, nofile_hard=5950).level is Level.OK
    found = find("nofile", 10_000, serve=True, nofile_hard=5949)
    assert found.level is Level.WARN
    assert found.fix.startswith("ulimit -Hn 5950 ")
    assert find("file-max", 10_000, serve=True, file_max=11_000).level is Level.OK
    assert find("file-max", 10_000, serve=True, file_max=10_999).level is Level.FAIL
    assert find("epoll", 10_000, serve=True, epoll_watches=10_000).level is Level.OK
    assert find("epoll", 10_000, serve=True, epoll_watches=9_999).level is Level.FAIL


@pytest.mark.parametrize("cores", [2, 3, 4, 8])
@pytest.mark.parametrize("connections", [1_000, 17_500, 36_000])
def test_a_process_a_core_is_what_the_plan_makes_of_the_files_that_it_takes(cores: int, connections: int) -> None:
    def examined(hard: int) -> tuple[Finding, int]:
        demand = demanded(connections, None, cores=tuple(range(cores)), nofile_hard=hard)
        return next(check_limits(demand)), demand.workers

    found, workers = examined(10**6)
    assert (found.level, workers) == (Level.OK, cores)
    enough = int(found.needed.split()[0].replace(",", ""))
    found, workers = examined(enough)
    assert (found.level, workers) == (Level.OK, cores)
    found, workers = examined(enough - 1)
    assert (found.level, workers > cores) == (Level.WARN, True)


def test_one_worker_that_serves_alone_has_no_hash_to_be_uneven() -> None:
    assert find("nofile", 10_000, serve=True, cores=(0,), nofile_hard=10_200).level is Level.OK
    found = find("nofile", 10_000, serve=True, cores=(0,), nofile_hard=10_199)
    assert found.why.startswith("10,000 connections / (10,199 - 200 of a worker's own) = 2: 2 processes to serve, more")


def test_a_serve_end_with_too_few_workers_is_told_how_many_it_takes() -> None:
    host = made_up_host()
    profile = ServeProfile(workers=Count(2), max_connections=Count(100_000))
    plan = build_serve_plan(host, ("127.0.0.1",), 7000, profile, engine=ENGINE)
    found = next(iter(check_limits(demand_of_serve_plan(host, plan))))
    assert found.level is Level.WARN
    assert found.why == "2 workers x 19,800 = 39,600 connections at most"
    assert found.fix.startswith("-w 6, or ulimit")  # 100,000 x 1.15 / 19,800 = 5.8


def test_a_serve_end_that_takes_what_comes_needs_no_more_than_a_worker_s_own() -> None:
    host = made_up_host()
    demand = demand_of_serve_plan(host, build_serve_plan(host, ("127.0.0.1",), 7000, engine=ENGINE))
    assert {finding.level for finding in check_limits(demand)} == {Level.OK}


def test_the_parent_of_many_workers_needs_three_fds_for_each_and_says_so_only_if_it_has_too_few() -> None:
    def found(workers: int, open_files: int) -> list[Finding]:
        host = made_up_host(nofile_hard=230)
        plan = build_serve_plan(host, ("127.0.0.1",), 7000, ServeProfile(workers=Count(workers)), engine=ENGINE)
        demand = replace(demand_of_serve_plan(host, plan), open_files=open_files)
        return [one for one in check_limits(demand) if one.code == "parent"]

    # 3 x 70 workers + 1 address + 16 + 3 open = 230
    assert found(70, open_files=3) == []
    [refused] = found(71, open_files=3)
    assert (refused.level, refused.needed) == (Level.FAIL, "233")
    assert refused.why == (
        "3 for each of 71 workers + 1 to hold addresses + 16 of its own + 3 open = 233, more than 230"
    )
    assert refused.fix.startswith("ulimit -Hn 233 (as root), or docker run --ulimit nofile=233:233")
    assert len(found(70, open_files=4)) == 1


def test_the_parent_of_an_embedded_server_holds_its_addresses_too() -> None:
    found = find("parent", 3000, nofile_hard=64)
    # 3,000 / (64 - 36) = 108 to blast, 108 to serve, each with an address of its own
    assert found.why.startswith("3 for each of 216 workers + 108 to hold addresses + 16 of its own + 0 open = 772,")
    assert found.in_runs
