"""The report of a serve end: its first line says what matters, and errors stand above the detail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadkit.measure.run_samples import ServeRun
from loadkit.plan.serve import ServePlan
from loadkit.profile.engines import EngineName
from loadkit.report.as_text import as_text
from loadkit.report.serve import build_serve_record
from tests.golden.made_up import S, serve_end
from tests.unit.made_up import made_up_host


def _text(**changes: Any) -> str:
    plan = ServePlan(("10.0.0.1",), 7000, EngineName.UVLOOP, 2, (2, 3))
    samples = replace(serve_end(**changes), port=7000)
    return as_text(build_serve_record(ServeRun(plan, samples, 1_000_000_000.0, 20 * S, (), None), made_up_host()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "served 100 connections, busiest worker 1.04 x the mean"),
        ({"accepted": (1,)}, "served 1 connection"),
        ({"accepted": (7,), "restarts": 1}, "served 7 connections, 1 worker died and was replaced"),
        ({"accepted": (7,), "restarts": 2}, "served 7 connections, 2 workers died and were replaced"),
        ({"accepted": (7,), "errors": {("receive", "ECONNRESET"): 3}}, "served 7 connections, 3 errors"),
    ],
)
def test_the_first_line_says_what_was_served_and_what_went_wrong(changes: dict[str, Any], said: str) -> None:
    assert _text(**changes).partition("\n")[0] == said


def test_errors_stand_above_the_detail() -> None:
    text = _text(errors={("receive", "ECONNRESET"): 3}, batches=([3], [3, 200]))
    assert text.index("worker core") < text.index("3 x receive ECONNRESET") < text.index("wake-ups  ")
