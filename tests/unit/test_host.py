from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

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
