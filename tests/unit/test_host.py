from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

from loadkit.errors import PreflightError
from loadkit.host import raise_nofile, read_host

_FILES = {
    "sys/net/ipv4/ip_local_port_range": "10000\t20000\n",
    "sys/net/ipv4/ip_local_reserved_ports": "\n",
    "sys/net/ipv4/tcp_tw_reuse": "2\n",
    "sys/net/core/somaxconn": "4096\n",
    "sys/fs/nr_open": "1048576\n",
    "sys/fs/file-max": "2000000\n",
    "sys/fs/file-nr": "1234\t0\t2000000\n",
    "meminfo": "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\nHugePages_Total:   0\n",
    "cpuinfo": "processor\t: 0\nmodel name\t: Imagined CPU: 3 GHz\n",
}


def _proc(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_facts_are_read_from_proc(tmp_path: Path) -> None:
    host = read_host(_proc(tmp_path, _FILES))
    assert (host.port_low, host.port_high, host.reserved_ports) == (10_000, 20_000, 0)
    assert (host.somaxconn, host.nr_open, host.file_max, host.files_used) == (4096, 1_048_576, 2_000_000, 1234)
    assert (host.memory_bytes, host.memory_available_bytes) == (1000 * 1024, 600 * 1024)
    assert (host.cpu_model, host.tw_reuse) == ("Imagined CPU: 3 GHz", 2)
    assert host.cores == tuple(sorted(os.sched_getaffinity(0)))


_MORE = {
    "sys/net/ipv4/tcp_max_tw_buckets": "65536\n",
    "sys/net/ipv4/tcp_timestamps": "0\n",
    "sys/net/ipv4/tcp_tw_reuse_delay": "2000\n",
    "sys/net/ipv4/tcp_max_syn_backlog": "2048\n",
    "sys/net/ipv4/tcp_syncookies": "1\n",
    "sys/net/ipv4/tcp_mem": "100\t200\t300\n",
    "sys/net/netfilter/nf_conntrack_max": "262144\n",
    "sys/net/netfilter/nf_conntrack_count": "17\n",
    "sys/fs/epoll/max_user_watches": "5000\n",
    "sys/kernel/pid_max": "32768\n",
    "sys/kernel/threads-max": "60000\n",
    "net/sockstat": "sockets: used 9\nTCP: inuse 4 orphan 0 tw 6 alloc 7 mem 8\nUDP: inuse 1 mem 2\n",
    "net/sockstat6": "TCP6: inuse 3\nUDP6: inuse 1\n",
    "loadavg": "0.10 0.20 0.30 2/345 6789\n",
    "self/status": "Name:\tloadkit\nCapInh:\t0000000000000000\nCapEff:\t0000000001001000\nSeccomp:\t2\n",
    "self/uid_map": "         0          0 4294967295\n",
    # user nice system idle iowait irq softirq steal guest guest_nice
    "stat": "cpu  100 0 100 700 0 0 50 50 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
}


def test_the_facts_for_the_doctor_are_read_from_proc(tmp_path: Path) -> None:
    host = read_host(_proc(tmp_path, _MORE))
    assert (host.tw_max, host.time_waits, host.syn_backlog, host.syncookies) == (65_536, 6, 2048, 1)
    assert (host.tcp_mem_pages, host.tcp_used_pages, host.tcp_sockets) == ((100, 200, 300), 8, 4 + 3)
    assert (host.conntrack_max, host.conntrack_used) == (262_144, 17)
    assert (host.tasks, host.pid_max, host.threads_max, host.epoll_watches) == (345, 32_768, 60_000, 5000)
    assert (host.timestamps, host.tw_reuse_delay_ms) == (0, 2_000)
    assert host.capabilities == 1 << 24 | 1 << 12
    assert (host.seccomp, host.refused_calls) == (2, ())
    assert not host.in_user_namespace
    assert host.steal_share == 50 / 1000  # guest time is in user time already


def test_users_that_are_others_outside_tell_a_user_namespace(tmp_path: Path) -> None:
    assert read_host(_proc(tmp_path, {"self/uid_map": "         0       1000          1\n"})).in_user_namespace


def test_tasks_of_this_user_are_counted_with_their_threads(tmp_path: Path) -> None:
    for task in ("10/task/10", "10/task/11", "20/task/20", "self/task/10"):
        (tmp_path / task).mkdir(parents=True)
    host = read_host(tmp_path)
    assert (host.tasks_of_user, host.tasks_seen) == (3, 3)  # of 10 two, of 20 one; `self` is one of them


def test_governors_of_the_cores_that_we_may_use_are_named_once(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    for core in (*cores, 9999):
        path = tmp_path / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor"
        path.parent.mkdir(parents=True)
        path.write_text("powersave\n" if core == 9999 else "performance\n")
    assert read_host(tmp_path, tmp_path).governor == "performance"
    (tmp_path / f"devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_governor").write_text("schedutil\n")
    several = "performance, schedutil" if len(cores) > 1 else "schedutil"
    assert read_host(tmp_path, tmp_path).governor == several


def test_the_clock_source_and_the_control_group_are_read_from_sys(tmp_path: Path) -> None:
    files = {
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "sys/fs/cgroup/cgroup.controllers": "memory\n",
        "sys/fs/cgroup/memory.max": "1000\n",
        "proc/self/cgroup": "0::/\n",
        "proc/meminfo": "MemAvailable:    600 kB\n",
    }
    _proc(tmp_path, files)
    host = read_host(tmp_path / "proc", tmp_path / "sys")
    assert host.clock_source == "tsc"
    assert host.free_memory_bytes == 1000  # less than the machine's 600 kB


def test_sysctls_that_are_there_can_be_set_and_others_not(tmp_path: Path) -> None:
    host = read_host(_proc(tmp_path, {"sys/net/core/somaxconn": "4096\n"}))
    assert (host.can_set_net_sysctls, host.can_set_other_sysctls) == (True, False)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write what nobody may")
def test_sysctls_that_may_not_be_written_are_said_to_be_so(tmp_path: Path) -> None:
    _proc(tmp_path, _FILES)
    (tmp_path / "sys/net/core/somaxconn").chmod(0o444)
    host = read_host(tmp_path)
    assert (host.can_set_net_sysctls, host.can_set_other_sysctls) == (False, True)


def test_a_machine_that_says_nothing_gives_none_or_the_default_and_no_error(tmp_path: Path) -> None:
    host = read_host(tmp_path)
    assert (host.port_low, host.port_high) == (32_768, 60_999)
    for fact in ("cpu_model", "memory_bytes", "nr_open", "file_max", "files_used", "somaxconn", "tw_reuse"):
        assert getattr(host, fact) is None, fact


@pytest.mark.parametrize(
    ("reserved", "count"),
    [
        pytest.param("10001", 1, id="one port"),
        pytest.param("10001,10003", 2, id="two ports"),
        pytest.param("10010-10019", 10, id="a span"),  # both ends count
        pytest.param("9990-10004", 5, id="a span that begins below the range"),  # 10000 … 10004
        pytest.param("19999-30000", 2, id="a span that ends above it"),  # 19999, 20000
        pytest.param("80,443,30000-30010", 0, id="all outside"),
        pytest.param("80,10000,15000-15001\n", 3, id="mixed"),
    ],
)
def test_reserved_ports_count_inside_the_ephemeral_range_only(tmp_path: Path, reserved: str, count: int) -> None:
    files = {**_FILES, "sys/net/ipv4/ip_local_reserved_ports": reserved}
    assert read_host(_proc(tmp_path, files)).reserved_ports == count


def test_this_machine_can_be_read() -> None:
    host = read_host()
    assert host.system == "Linux"
    assert 0 < host.nofile_soft <= host.nofile_hard
    assert host.port_low < host.port_high


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
    try:
        assert raise_nofile() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_system_call_that_is_refused_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert read_host().refused_calls == ("sched_setaffinity",)
    monkeypatch.setattr(os, "memfd_create", refuse)
    assert read_host().refused_calls == ("memfd_create", "sched_setaffinity")


def test_a_hard_limit_of_files_above_what_the_kernel_allows_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2_000_000))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(
        PreflightError, match=r"1,024, cannot be raised to the hard one, 2,000,000, which is above fs\."
    ):
        raise_nofile()
