from __future__ import annotations

import shlex

import pytest

from loadkit.doctor.finding import Finding, Level, can_work, failing, quoted, sysctl_fix, warned

_OK = Finding("a", Level.OK, "1", "1")
_WARN = Finding("b", Level.WARN, "1", "2", "why", "fix")
_FAIL = Finding("c", Level.FAIL, "1", "3", "because", "mend")


def test_a_finding_in_one_line_has_all_of_it() -> None:
    assert _FAIL.line == "c: 1; needed: 3; because; fix: mend"


def test_only_failures_stand_in_the_way() -> None:
    assert can_work([_OK, _WARN])
    assert not can_work([_OK, _WARN, _FAIL])
    assert failing([_OK, _FAIL, _WARN]) == (_FAIL,)
    assert warned([_OK, _FAIL, _WARN]) == (_WARN,)


@pytest.mark.parametrize(
    ("assignment", "of_a_namespace"),
    [
        ("net.core.somaxconn=4096", True),
        ("net.ipv4.ip_local_port_range=1024 65535", True),
        ("net.ipv4.tcp_tw_reuse=1", True),
        ("net.ipv4.tcp_max_tw_buckets=9", True),
        # There is one of these for the whole machine: docker refuses them.
        ("net.ipv4.tcp_mem=1 2 3", False),
        ("net.ipv4.tcp_max_orphans=1", False),
        ("net.netfilter.nf_conntrack_max=1", False),
        ("fs.file-max=1", False),
        ("kernel.pid_max=1", False),
    ],
)
def test_a_container_gets_its_own_sysctls_with_docker(assignment: str, of_a_namespace: bool) -> None:
    fix = sysctl_fix(assignment)
    assert fix.startswith(f"sysctl -w {quoted(assignment)}")
    assert ("docker run --sysctl" in fix) == of_a_namespace
    assert shlex.split(quoted(assignment)) == [assignment]  # one word to a shell
