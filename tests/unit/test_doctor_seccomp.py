from __future__ import annotations

import pytest

from loadkit.doctor.finding import Level
from tests.unit.examined import codes, find


@pytest.mark.parametrize(
    ("mode", "refused", "level", "seen", "fix"),
    [
        pytest.param(0, (), Level.OK, "no filter of system calls", "", id="no filter"),
        pytest.param(2, (), Level.OK, "a filter of system calls (seccomp)", "", id="docker's own"),
        pytest.param(
            2,
            ("sched_setaffinity",),
            Level.WARN,
            "a filter of system calls (seccomp); sched_setaffinity refused",
            "--no-pin, or docker run --security-opt seccomp=PROFILE.json with one that allows sched_setaffinity",
            id="no pinning",
        ),
        pytest.param(
            2,
            ("memfd_create", "sched_setaffinity"),
            Level.FAIL,
            "a filter of system calls (seccomp); memfd_create and sched_setaffinity refused",
            "docker run --security-opt seccomp=PROFILE.json with one that allows memfd_create and sched_setaffinity",
            id="no board",
        ),
    ],
)
def test_a_filter_that_refuses_our_calls_is_named_with_the_way_out(
    mode: int, refused: tuple[str, ...], level: Level, seen: str, fix: str
) -> None:
    found = find("seccomp", seccomp=mode, refused_calls=refused)
    assert (found.level, found.seen, found.fix) == (level, seen, fix)


def test_a_run_speaks_of_what_ends_it_whatever_its_options() -> None:
    assert find("seccomp", seccomp=2, refused_calls=("memfd_create",)).in_runs
    assert not find("seccomp", seccomp=2, refused_calls=("sched_setaffinity",)).in_runs


def test_a_machine_that_does_not_say_has_no_finding() -> None:
    assert "seccomp" not in codes(seccomp=None)
