from __future__ import annotations

from typing import Any

import pytest

from loadkit.cli.dry_run import dry_run_line
from loadkit.plan.build import build_plan
from loadkit.plan.target import Target
from loadkit.profile.read import load_profile
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

_REMOTE = Target("db.example", ("10.0.0.1",), 7000)
_HERE = "nothing was opened; the run would have 1,000 connections to an embedded server on 127.0.0.1; "


@pytest.mark.parametrize(
    ("target", "options", "line"),
    [
        pytest.param(
            None,
            {"rate": "5k"},
            f"{_HERE}1 worker to blast, 1 to serve (uvloop); ramp 100 ms or as long as it takes, warm-up 2 s at "
            f"5,000/s, hold 10 s at 5,000/s",
            id="an open loop",
        ),
        pytest.param(
            None,
            {"rate": "5k", "warmup": "0s", "arrivals": "exp", "seed": 7},
            f"{_HERE}1 worker to blast, 1 to serve (uvloop); ramp 100 ms or as long as it takes, hold 10 s at "
            f"5,000/s, Poisson, seed 7",
            id="random arrivals",
        ),
        pytest.param(
            None,
            {"warmup": "0s", "think": "exp:2s", "seed": 7},
            f"{_HERE}1 worker to blast, 1 to serve (uvloop); ramp 100 ms or as long as it takes, hold 10 s in a closed "
            f"loop with pauses of exp:2s, seed 7",
            id="pauses",
        ),
        pytest.param(
            None,
            {"messages": "2k"},
            f"{_HERE}1 worker to blast, 1 to serve (uvloop); ramp 100 ms or as long as it takes, hold for 2,000 "
            f"messages in a closed loop",
            id="as many messages",
        ),
        pytest.param(
            None,
            {"messages": "2k", "send": ["get {rand:1-9}"]},
            f"{_HERE}1 worker to blast, 1 to serve (uvloop); a pool of 65,536 messages in 1.06 MiB; ramp 100 ms or as "
            f"long as it takes, hold for 2,000 messages in a closed loop",
            id="a pool of messages",
        ),
        pytest.param(
            _REMOTE,
            {"rate": "1k:2k", "connections": 1, "warmup": "0s"},
            "nothing was opened; the run would have 1 connection to db.example:7000; 1 worker to blast (uvloop); ramp "
            "100 us or as long as it takes, hold 10 s at 1,000/s to 2,000/s",
            id="a growing rate, elsewhere",
        ),
    ],
)
def test_the_line_of_a_dry_run_says_what_would_run(target: Target | None, options: dict[str, Any], line: str) -> None:
    plan = build_plan(*load_profile(None, options), made_up_host(), target, ENGINE)
    assert dry_run_line(plan) == line
