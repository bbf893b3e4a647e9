from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from loadkit.measure.memory import ProcessMemory, Room, kernel_bytes, process_memory, read_room

KIB, MIB = 1024, 1024 * 1024
_MEMINFO = """MemTotal:       1000000 kB
MemFree:         400000 kB
MemAvailable:    900000 kB
Active(file):     50000 kB
Inactive(file):   30000 kB
Slab:            200000 kB
SReclaimable:    150000 kB
KernelStack:       3000 kB
PageTables:        7000 kB
HugePages_Total:       0
"""
_SOCKSTAT = "sockets: used 12\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 11\nUDP: inuse 1 mem 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with what is read of it, on a machine without control groups."""
    for name, text in (("meminfo", _MEMINFO), ("net/sockstat", _SOCKSTAT), ("self/cgroup", "")):
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "proc"


def test_what_is_left_is_what_is_free_or_only_cached(proc: Path, tmp_path: Path) -> None:
    # not the 900,000 kB of MemAvailable, which counts the inodes of open sockets as reclaimable
    assert read_room(proc, tmp_path / "sys") == Room(480_000 * KIB, 1_000_000 * KIB)


def test_a_control_group_with_less_left_decides(proc: Path, tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/\n")
    for name, text in (
        ("cgroup.controllers", "memory\n"),
        ("memory.max", "200000000\n"),
        ("memory.current", "50000000"),
    ):
        (group / name).write_text(text)
    assert read_room(proc, tmp_path / "sys") == Room(150_000_000, 200_000_000)
    (group / "memory.max").write_text("9000000000\n")
    assert read_room(proc, tmp_path / "sys") == Room(480_000 * KIB, 1_000_000 * KIB)


def test_the_kernel_s_part_is_slab_page_tables_stacks_and_tcp_s_buffers(proc: Path) -> None:
    assert kernel_bytes(proc) == 210_000 * KIB + 11 * os.sysconf("SC_PAGE_SIZE")
    (proc / "net/sockstat").unlink()
    assert kernel_bytes(proc) == 210_000 * KIB


def test_where_the_machine_does_not_say_nothing_is_made_up(tmp_path: Path) -> None:
    assert read_room(tmp_path, tmp_path) is None
    assert kernel_bytes(tmp_path) is None
    assert process_memory(1, tmp_path) is None


def test_a_process_has_its_share_of_its_pages(proc: Path) -> None:
    (proc / "7").mkdir()
    (proc / "7/smaps_rollup").write_text(
        "00400000-7ffe ---p 00000000 00:00 0  [rollup]\nRss: 90 kB\nPss: 50 kB\nPss_Anon: 30 kB\n"
    )
    assert process_memory(7, proc) == ProcessMemory(50 * KIB, 30 * KIB)


def test_this_process_grows_by_what_it_touches() -> None:
    before = process_memory(os.getpid())
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as touched:
        touched.write(b"x" * (32 * MIB))  # the other half takes nothing
        after = process_memory(os.getpid())
    assert before is not None
    assert after is not None
    assert 30 * MIB < after.anonymous_bytes - before.anonymous_bytes < 34 * MIB
    assert after.pss_bytes >= after.anonymous_bytes
