from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from loadkit.cgroup import CgroupLimits, read_cgroup

_MIB = 2**20


def _machine(root: Path, group: str, files: Mapping[str, str], mount: str = "sys/fs/cgroup") -> CgroupLimits:
    """Reads a machine of ours where /proc/self/cgroup says `group`; `files` are below the mount of version 2."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, text in {"cgroup.controllers": "cpu memory pids\n", **files}.items():
        path = root / mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_cgroup(root / "proc", root / "sys")


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{512 * _MIB}\n",
        "memory.current": f"{100 * _MIB}\n",
        "pids.max": "200\n",
        "pids.current": "7\n",
        "cpu.max": "150000 100000\n",
    }
    assert _machine(tmp_path, "0::/\n", files) == CgroupLimits(512 * _MIB, 100 * _MIB, 200, 7, 1.5)


def test_max_is_no_limit(tmp_path: Path) -> None:
    files = {"memory.max": "max\n", "memory.high": "max\n", "pids.max": "max\n", "cpu.max": "max 100000\n"}
    assert _machine(tmp_path, "0::/a\n", {f"a/{name}": text for name, text in files.items()}) == CgroupLimits()


def test_of_the_groups_above_the_one_with_the_least_left_counts(tmp_path: Path) -> None:
    files = {
        "a/memory.max": f"{1000 * _MIB}\n",  # 100 MiB left
        "a/memory.current": f"{900 * _MIB}\n",
        "a/b/memory.max": f"{400 * _MIB}\n",  # 300 MiB left
        "a/b/memory.current": f"{100 * _MIB}\n",
        "a/pids.max": "50\n",  # 40 left
        "a/pids.current": "10\n",
        "a/b/pids.max": "30\n",  # 21 left
        "a/b/pids.current": "9\n",
        "a/cpu.max": "100000 100000\n",
        "a/b/cpu.max": "400000 100000\n",
    }
    found = _machine(tmp_path, "0::/a/b\n", files)
    assert found == CgroupLimits(1000 * _MIB, 900 * _MIB, 30, 9, 1.0)


def test_page_cache_that_can_go_is_not_in_use(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{500 * _MIB}\n",
        "memory.current": f"{400 * _MIB}\n",
        # Of the active files a program has 20 MiB mapped; the pages of shared memory are of no file.
        "memory.stat": f"anon 1000\nfile_mapped {20 * _MIB}\nshmem {30 * _MIB}\n"
        f"inactive_file {150 * _MIB}\nactive_file {60 * _MIB}\n",
    }
    assert _machine(tmp_path, "0::/\n", files).memory_used_bytes == (400 - 150 - 40) * _MIB


def test_page_cache_that_programs_have_mapped_stays(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{500 * _MIB}\n",
        "memory.current": f"{400 * _MIB}\n",
        "memory.stat": f"file_mapped {80 * _MIB}\ninactive_file {150 * _MIB}\nactive_file {60 * _MIB}\n",
    }
    assert _machine(tmp_path, "0::/\n", files).memory_used_bytes == 250 * _MIB


def test_the_limit_that_slows_down_counts_as_the_one_that_kills(tmp_path: Path) -> None:
    files = {"memory.max": f"{500 * _MIB}\n", "memory.high": f"{300 * _MIB}\n", "memory.current": f"{_MIB}\n"}
    found = _machine(tmp_path, "0::/\n", files)
    assert (found.memory_max_bytes, found.memory_used_bytes, found.memory_file) == (300 * _MIB, _MIB, "memory.high")


def test_beside_version_1_version_2_is_mounted_at_unified(tmp_path: Path) -> None:
    group = "4:memory:/old\n1:name=systemd:/\n0::/new\n"
    found = _machine(tmp_path, group, {"new/pids.max": "20\n", "new/pids.current": "2\n"}, "sys/fs/cgroup/unified")
    assert found == CgroupLimits(pids_max=20, pids_used=2)


def test_a_path_above_the_root_of_a_namespace_is_its_root(tmp_path: Path) -> None:
    files = {"pids.max": "20\n", "../other/pids.max": "3\n"}
    assert _machine(tmp_path, "0::/../other\n", files).pids_max == 20


@pytest.mark.parametrize(
    ("group", "files"),
    [
        pytest.param("4:memory:/old\n", {"pids.max": "20\n"}, id="version 1 alone"),
        pytest.param("", {"pids.max": "20\n"}, id="no groups"),
        pytest.param("0::/gone\n", {}, id="a group that is not there"),
        pytest.param("0::/\n", {"cpu.max": "100000 0\n", "memory.max": "lots\n", "pids.max": ""}, id="nonsense"),
    ],
)
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, group: str, files: Mapping[str, str]) -> None:
    assert _machine(tmp_path, group, files) == CgroupLimits()


def test_no_proc_and_no_sys_limit_nothing(tmp_path: Path) -> None:
    assert read_cgroup(tmp_path / "proc", tmp_path / "sys") == CgroupLimits()


_V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc\n0::/\n"


def test_a_container_of_version_1_sees_its_limits_at_each_controllers_root(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": f"{512 * _MIB}\n",
        "memory/memory.usage_in_bytes": f"{150 * _MIB}\n",
        "memory/memory.stat": f"inactive_file 1\nactive_file 2\ntotal_mapped_file {10 * _MIB}\n"
        f"total_inactive_file {30 * _MIB}\ntotal_active_file {30 * _MIB}\n",
        "pids/pids.max": "200\n",
        "pids/pids.current": "7\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    found = _machine(tmp_path, _V1, files)
    assert found == CgroupLimits(512 * _MIB, 100 * _MIB, 200, 7, 1.5, "memory.limit_in_bytes")


def test_of_version_1_too_the_group_with_the_least_left_counts(tmp_path: Path) -> None:
    files = {
        "memory/docker/memory.limit_in_bytes": f"{100 * _MIB}\n",
        "memory/docker/memory.usage_in_bytes": f"{90 * _MIB}\n",
        "memory/docker/abc/memory.limit_in_bytes": f"{50 * _MIB}\n",  # 40 MiB left
        "memory/docker/abc/memory.usage_in_bytes": f"{10 * _MIB}\n",
    }
    found = _machine(tmp_path, _V1, files)
    assert (found.memory_max_bytes, found.memory_used_bytes) == (100 * _MIB, 90 * _MIB)


def test_of_version_1_no_limit_is_the_largest_number_or_minus_1(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "pids/pids.max": "max\n",
        "cpu/cpu.cfs_quota_us": "-1\n",  # mounted by the name of one of its controllers
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    assert _machine(tmp_path, _V1, files) == CgroupLimits()


@pytest.mark.parametrize(
    ("group", "files", "cpus"),
    [
        pytest.param("0::/\n", {"cpuset.cpus.effective": "0-3,8\n"}, 5, id="a container's"),
        pytest.param("0::/a/b\n", {"a/cpuset.cpus.effective": "2\n"}, 1, id="of the nearest that has one"),
        pytest.param("0::/a\n", {"a/cpuset.cpus.effective": "\n", "cpuset.cpus.effective": "0-1\n"}, 2, id="empty"),
        pytest.param("3:cpuset:/a\n0::/\n", {"cpuset/a/cpuset.effective_cpus": "4-7\n"}, 4, id="version 1"),
        pytest.param("0::/\n", {"cpuset.cpus.effective": "all\n"}, None, id="nonsense"),
        pytest.param("0::/\n", {}, None, id="no cpuset"),
    ],
)
def test_the_cpus_of_the_group_are_counted(
    tmp_path: Path, group: str, files: Mapping[str, str], cpus: int | None
) -> None:
    assert _machine(tmp_path, group, files).cpus == cpus
