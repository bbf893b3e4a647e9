"""SECURITY.md names bounds: they are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadkit.engine.base import CAME_BYTES, MOST_OWED_BYTES
from loadkit.report.reading import MOST_BYTES, MOST_DEEP, MOST_VALUES
from loadkit.units import format_size

_ROOT = Path(__file__).parents[2]
_PAGE = " ".join((_ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
_NATIVE = _ROOT / "loadkit/engine/native"


def _constant(header: str, name: str) -> int:
    found = re.search(rf"\b{name} = ([\d *]+)", (_NATIVE / header).read_text(encoding="utf-8"))
    assert found
    product = 1
    for factor in found[1].split("*"):
        product *= int(factor)
    return product


@pytest.mark.parametrize(
    "said",
    [
        f"| {format_size(MOST_OWED_BYTES)} for all of them together",
        f"reply is wrong, at most {CAME_BYTES} of its first bytes are used",
        f"| {_constant('answers.h', 'MOST_ANSWERS')} at a time",
        f"| {format_size(_constant('serve.h', 'TURN_BYTES'))} read",
        f"and {_constant('serve.h', 'ACCEPTS_A_TURN')} connections accepted",
        f"| {format_size(MOST_BYTES)}, {MOST_VALUES // 10**6} million values, {MOST_DEEP} levels",
    ],
)
def test_a_bound_is_that_of_the_code(said: str) -> None:
    assert said in _PAGE
