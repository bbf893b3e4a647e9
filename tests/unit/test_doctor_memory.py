from __future__ import annotations

import math
from dataclasses import replace

import pytest

from loadkit.cgroup import CgroupLimits
from loadkit.doctor.demand import demand_of_serve_plan
from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.memory import check_memory
from loadkit.plan.memory import KERNEL_BYTES, START_BYTES, USER_BYTES, WORKER_BYTES
from loadkit.plan.serve import build_serve_plan
from loadkit.plan.target import Target
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ServeProfile
from loadkit.units import Count
from tests.golden.made_up import ENGINE
from tests.unit.examined import LOCAL, REMOTE, codes, demanded, find
from tests.unit.made_up import made_up_host

_BLAST, _SERVE = USER_BYTES[EngineName.NATIVE]
_BLAST_WORKER, _SERVE_WORKER = WORKER_BYTES[EngineName.NATIVE]


@pytest.mark.parametrize(
    ("target", "serve", "each", "workers"),
    [
        pytest.param(None, False, 2 * KERNEL_BYTES + _BLAST + _SERVE, _BLAST_WORKER + _SERVE_WORKER, id="embedded"),
        pytest.param(LOCAL, False, 2 * KERNEL_BYTES + _BLAST, 2 * _BLAST_WORKER, id="somebody's server here"),
        pytest.param(REMOTE, False, KERNEL_BYTES + _BLAST, 2 * _BLAST_WORKER, id="elsewhere"),
        pytest.param(None, True, KERNEL_BYTES + _SERVE, 2 * _SERVE_WORKER, id="the serve end alone"),
    ],
)
def test_memory_is_the_ends_that_are_here_and_the_processes(
    target: Target | None, serve: bool, each: int, workers: int
) -> None:
    needed = 10_000 * each + workers + START_BYTES

    def level(available: int) -> Level:
        facts = {"memory_bytes": available, "memory_available_bytes": available}
        return find("memory", 10_000, target, serve=serve, **facts).level

    # Four fifths of what there is; of so little, blast's ramp keeps a quarter free.
    enough = needed * 5 // 4 if serve else needed * 4 // 3
    assert level(enough + 4) is Level.OK
    assert level(enough - 4) is Level.WARN
    assert level(needed * 85 // 100 + 1) is Level.WARN  # it may do with less than was calculated
    assert level(needed * 85 // 100 - 1) is Level.FAIL


def test_memory_says_how_many_workers_would_fit_before_they_have_a_connection() -> None:
    host = made_up_host(memory_available_bytes=START_BYTES + 1_000 * WORKER_BYTES[ENGINE.name][1])

    def found(workers: int) -> Finding:
        demand = demand_of_serve_plan(
            host, build_serve_plan(host, ("127.0.0.1",), 7000, ServeProfile(workers=Count(workers)), engine=ENGINE)
        )
        return next(finding for finding in check_memory(demand) if finding.code == "memory")

    # 0.8 x 1,000 workers and what starts them, 34 MB, which are 6.1 workers: less 1.2
    assert found(798).level is Level.OK
    assert found(799).level is Level.WARN
    assert (found(5_000).level, found(5_000).fix) == (Level.FAIL, "-w 798, or more memory")
    assert found(5_000).why == "with what is available 798 workers fit, before they have a connection"


def test_memory_says_how_many_connections_would_fit() -> None:
    each = 2 * KERNEL_BYTES + _BLAST + _SERVE
    processes = START_BYTES + _BLAST_WORKER + _SERVE_WORKER  # with fewer connections too
    available = processes + round(5_000.5 * each)
    found = find("memory", 10_000, None, memory_bytes=available, memory_available_bytes=available)
    assert "5,000 idle connections fit" in found.why
    assert found.why.endswith("each takes 9.22 KiB beside the processes")
    kept = int((0.75 * available - processes) / each)  # a quarter is kept free
    assert 2_500 < kept < 5_000
    assert found.fix == f"-c {kept}, or more memory"


def test_fewer_connections_have_fewer_workers_where_files_decide_how_many_there_are() -> None:
    each = KERNEL_BYTES + _BLAST
    # 200,000 need 11 workers of 19,800; 110,000 need 6.
    available = START_BYTES + 110_000 * each + 6 * _BLAST_WORKER
    found = find("memory", 200_000, REMOTE, memory_available_bytes=available, port_high=2**20)
    assert "+ 11 workers 53.5 MiB + what starts them 32.4 MiB" in found.needed
    assert found.why.startswith("with what is available 110,000 idle connections fit")
    # 20,000 need 2, and as many as there are cores are there anyway.
    scarce = START_BYTES + 10_000 * each + 2 * _BLAST_WORKER
    assert "10,000 idle" in find("memory", 200_000, REMOTE, memory_available_bytes=scarce, port_high=2**20).why


def test_workers_that_were_asked_for_stay_with_fewer_connections() -> None:
    available = START_BYTES + 5_000 * (KERNEL_BYTES + _BLAST) + 20 * _BLAST_WORKER
    demand = replace(demanded(10_000, REMOTE, memory_available_bytes=available), blast_workers=20)
    found = next(finding for finding in check_memory(demand) if finding.code == "memory")
    assert "5,000 idle connections fit" in found.why


def test_a_pool_of_messages_takes_memory_too() -> None:
    def found(pool_bytes: int) -> Finding:
        demand = replace(demanded(10_000, REMOTE, memory_available_bytes=4 << 30), pool_bytes=pool_bytes)
        return next(finding for finding in check_memory(demand) if finding.code == "memory")

    assert found(0).level is Level.OK
    assert "pool" not in (found(0).needed or "")
    assert found(8 << 30).level is Level.FAIL
    assert "+ pool of messages 8 GiB" in (found(8 << 30).needed or "")


def test_where_not_even_the_workers_fit_no_number_of_connections_is_advised() -> None:
    found = find("memory", 10_000, None, memory_available_bytes=1_000_000)
    assert found.level is Level.FAIL
    assert found.fix == "more memory"


def test_the_control_group_s_limit_counts_where_it_is_tighter() -> None:
    group = CgroupLimits(memory_max_bytes=256 * 2**20, memory_used_bytes=156 * 2**20)
    found = find("memory", 10_000, None, cgroup=group)
    assert found.level is Level.FAIL
    assert found.seen == "100 MiB available (the control group's memory.max 256 MiB less 156 MiB in use)"
    needed = 10_000 * (2 * KERNEL_BYTES + _BLAST + _SERVE) + START_BYTES + _BLAST_WORKER + _SERVE_WORKER
    mib = math.ceil(needed / 2**20 + 156 + 64)  # which the ramp keeps free: more than a fifth of what is available
    # Of the 100 MiB, the 36 that a ramp would take are less than the processes need: no number is advised.
    assert found.fix == f"more memory: docker run --memory={mib}m, or systemd MemoryMax={mib}M"
    roomy = CgroupLimits(memory_max_bytes=2**40, memory_used_bytes=0)
    assert find("memory", 10_000, None, cgroup=roomy).seen == "6 GiB available"


def test_a_limit_that_slows_down_is_named_with_its_own_fix() -> None:
    group = CgroupLimits(memory_max_bytes=100 * 2**20, memory_used_bytes=0, memory_file="memory.high")
    found = find("memory", 10_000, None, cgroup=group)
    assert found.seen == "100 MiB available (the control group's memory.high 100 MiB less 0 B in use)"
    assert ", or systemd MemoryHigh=" in found.fix


def test_tcp_mem_has_a_page_for_each_end_when_all_are_answered_at_once() -> None:
    # 2 x 10,000 + 100 in use
    mem = {"tcp_mem_pages": (1, 2, 20_100), "tcp_used_pages": 100}
    assert find("tcp_mem", 10_000, None, **mem).level is Level.OK
    assert find("tcp_mem", 20_000, REMOTE, **mem).level is Level.OK
    assert find("tcp_mem", 20_000, serve=True, **mem).level is Level.OK
    found = find("tcp_mem", 10_001, None, **mem)
    assert found.level is Level.WARN
    assert found.why.startswith("20,100 - 100 = 20,000 pages are left")
    # 100 + 20,002 = 20,102; half of it; two thirds
    assert found.fix == 'sysctl -w net.ipv4.tcp_mem="10051 13401 20102"'


def test_what_the_machine_does_not_say_is_left_out() -> None:
    assert not {"memory", "tcp_mem"} & set(codes(memory_available_bytes=None))
