"""The series of a record as JSON lines."""

from __future__ import annotations

import json

import msgspec
import pytest

from loadkit.report.as_jsonl import as_jsonl
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS


@pytest.mark.parametrize("name", RUNS)
def test_there_is_a_line_for_the_run_and_one_for_each_row_of_its_record(name: str) -> None:
    record = RUNS[name]()
    head, *rows = map(json.loads, as_jsonl(record).splitlines())
    whole = json.loads(encode(record))
    assert rows == whole["intervals"]
    assert (head["series"], head["run"], head["started"]) == ("intervals", whole["run"], whole["started"])
    assert (head["format"], head["version"], head["partial"]) == (whole["format"], whole["version"], whole["partial"])


def test_a_run_without_rows_has_its_own_line() -> None:
    [line] = as_jsonl(msgspec.structs.replace(RUNS["open_loop"](), intervals=())).splitlines()
    assert json.loads(line)["series"] == "intervals"
