"""Records of version 2 as they were when it was frozen: each later loadkit reads them, and finds the same figures.

Nothing rewrites these files. A test that fails here has found a change that breaks records which people have kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadkit.report.as_text import as_text
from loadkit.report.merge import merge_records
from loadkit.report.reading import load
from loadkit.report.record import VERSION
from loadkit.report.selector import parse_selector, read
from loadkit.report.verdict import judge
from loadkit.report.writing import encode

_FROZEN = Path(__file__).parent / "frozen"
_EXPECTED: dict[str, dict[str, Any]] = json.loads((_FROZEN / "expected.json").read_text())


def test_there_is_a_record_for_each_of_the_expected_figures() -> None:
    assert {path.stem for path in _FROZEN.glob("*.json")} == {*_EXPECTED, "expected"}


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_frozen_record_has_the_figures_that_it_had(name: str) -> None:
    record = load(str(_FROZEN / f"{name}.json"))
    figures = _EXPECTED[name]["figures"]
    assert {selector: read(record, parse_selector(selector)).value for selector in figures} == figures
    assert record.version == VERSION


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_frozen_record_is_judged_as_it_was(name: str) -> None:
    verdict = judge(load(str(_FROZEN / f"{name}.json"))).verdict
    assert [verdict.state, *(reason.code for reason in verdict.reasons)] == _EXPECTED[name]["verdict"]


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_frozen_record_is_printed_and_keeps_each_of_its_values(name: str) -> None:
    path = _FROZEN / f"{name}.json"
    record = load(str(path))
    assert as_text(record)
    assert _kept(json.loads(path.read_text()), json.loads(encode(record)))


def _kept(old: Any, new: Any) -> bool:
    """Whether all of the old values are in the new ones, which may have more names."""
    if isinstance(old, dict):
        return all(key in new and _kept(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_kept, old, new))
    return bool(old == new)


def test_frozen_records_of_one_load_still_merge() -> None:
    merged = merge_records([load(str(_FROZEN / f"{name}.json")) for name in ("open_loop", "open_loop_later")])
    expected = _EXPECTED["open_loop"]["figures"]["replies_per_s"]
    assert (merged.merged, merged.in_a_row, merged.rates.replies_per_s) == (2, 2, expected)
