from __future__ import annotations

import json
from typing import Any

import pytest

from loadkit.doctor.as_json import as_json
from loadkit.doctor.check import examine
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.plan.target import Target
from tests.unit.examined import REMOTE, demanded

_SYSCTL = "net.core.somaxconn=4096"
_FINDINGS = (
    Finding("nofile", Level.OK, "soft 1", "1"),
    Finding("somaxconn", Level.WARN, "1", "4,096", "it is cut", f"sysctl -w {_SYSCTL}", (_SYSCTL,)),
    Finding("ports", Level.FAIL, "1", "2", "too few", "--source CIDR"),
)


def _read(demand: Demand, findings: tuple[Finding, ...]) -> Any:
    return json.loads(as_json(demand, findings))


def test_each_name_and_its_kind_are_as_promised() -> None:
    assert _read(demanded(1000, REMOTE), _FINDINGS) == {
        "format": "loadkit-findings",
        "version": 1,
        "ok": False,
        "summary": "cannot: c=1,000 does not fit this machine: ports. too few",
        "connections": 1000,
        "target": "db:5432",  # as it was given
        "workers": {"blast": 2, "serve": 0},
        "findings": [
            {"code": "nofile", "level": "ok", "seen": "soft 1", "needed": "1", "why": "", "fix": "", "sysctls": []},
            {
                "code": "somaxconn",
                "level": "warn",
                "seen": "1",
                "needed": "4,096",
                "why": "it is cut",
                "fix": "sysctl -w net.core.somaxconn=4096",
                "sysctls": ["net.core.somaxconn=4096"],
            },
            {
                "code": "ports",
                "level": "fail",
                "seen": "1",
                "needed": "2",
                "why": "too few",
                "fix": "--source CIDR",
                "sysctls": [],
            },
        ],
    }


@pytest.mark.parametrize(
    ("target", "serve", "text", "workers"),
    [
        pytest.param(None, False, "embedded", {"blast": 1, "serve": 1}, id="both ends"),
        pytest.param(None, True, None, {"blast": 0, "serve": 2}, id="the serve end alone"),
        pytest.param(Target("::1", ("::1",), 7000), False, "[::1]:7000", {"blast": 2, "serve": 0}, id="IPv6"),
    ],
)
def test_the_ends_that_are_here_are_told(
    target: Target | None, serve: bool, text: str | None, workers: dict[str, int]
) -> None:
    demand = demanded(1000, target, serve=serve)
    said = _read(demand, examine(demand))
    assert (said["target"], said["workers"], said["ok"]) == (text, workers, True)


def test_all_findings_are_there_in_their_order() -> None:
    demand = demanded(10**6, None, somaxconn=1, file_max=1)
    findings = examine(demand)
    said = _read(demand, findings)
    assert [one["code"] for one in said["findings"]] == [finding.code for finding in findings]
    assert said["ok"] is False
