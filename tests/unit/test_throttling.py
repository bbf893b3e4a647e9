"""cpu.stat, of made-up control groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from loadkit.measure.throttling import ThrottlingLook, ThrottlingSamples, difference, read_throttling


def _look(root: Path, group: str, files: Mapping[str, str]) -> ThrottlingLook:
    """Reads a machine where /proc/self/cgroup says `group`; `files` are below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_throttling(root / "proc", root / "sys")


def _second(periods: int, throttled: int, us: int) -> str:
    """Returns cpu.stat as version 2 has it."""
    return f"usage_usec 900\nuser_usec 500\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {us}\n"


def _first(periods: int, throttled: int, ns: int) -> str:
    """Returns cpu.stat as version 1 has it."""
    return f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {ns}\nnr_bursts 0\nburst_time 0\n"


_V2, _V1 = "0::/pod/app\n", "3:cpu,cpuacct:/pod/app\n0::/\n"


def test_a_window_has_what_came_in_between(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu\n", "pod/app/cpu.max": "50000 100000\n"}
    before = _look(tmp_path, _V2, {**files, "pod/app/cpu.stat": _second(100, 40, 7_000)})
    after = _look(tmp_path, _V2, {"pod/app/cpu.stat": _second(150, 85, 9_500)})
    # 2,500 us
    assert difference(before, after) == ThrottlingSamples(50, 45, 2_500_000)
    assert difference(before, before) == ThrottlingSamples(0, 0, 0)


def test_version_1_counts_in_nanoseconds(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/pod/app/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/pod/app/cpu.cfs_period_us": "100000\n"}
    before = _look(tmp_path, _V1, {**files, "cpu,cpuacct/pod/app/cpu.stat": _first(10, 4, 7_000)})
    after = _look(tmp_path, _V1, {"cpu,cpuacct/pod/app/cpu.stat": _first(15, 8, 9_500)})
    assert difference(before, after) == ThrottlingSamples(5, 4, 2_500)


def test_of_several_groups_with_a_quota_the_one_that_was_stopped_longest_counts(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu\n", "pod/cpu.max": "90000 100000\n", "pod/app/cpu.max": "80000 100000\n"}
    before = _look(
        tmp_path, _V2, {**files, "pod/cpu.stat": _second(9, 1, 1_000), "pod/app/cpu.stat": _second(8, 7, 50_000)}
    )
    after = _look(tmp_path, _V2, {"pod/cpu.stat": _second(19, 6, 4_000), "pod/app/cpu.stat": _second(18, 8, 50_500)})
    assert difference(before, after) == ThrottlingSamples(10, 5, 3_000_000)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="no group"),
        pytest.param({"cgroup.controllers": "cpu\n", "pod/app/cpu.stat": _second(5, 5, 5)}, id="no quota"),
        pytest.param(
            {
                "cgroup.controllers": "cpu\n",
                "pod/app/cpu.max": "max 100000\n",
                "pod/app/cpu.stat": _second(5, 5, 5),
            },
            id="a quota of max",
        ),
        pytest.param({"cgroup.controllers": "cpu\n", "pod/app/cpu.max": "5000 100000\n"}, id="no cpu.stat"),
        pytest.param(
            {
                "cgroup.controllers": "cpu\n",
                "pod/app/cpu.max": "5000 100000\n",
                "pod/app/cpu.stat": "nr_periods many\n",
            },
            id="nonsense",
        ),
    ],
)
def test_without_a_quota_that_can_be_read_there_is_nothing(tmp_path: Path, files: Mapping[str, str]) -> None:
    look = _look(tmp_path, _V2, files)
    assert difference(look, look) is None
