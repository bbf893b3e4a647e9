from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadkit.errors import RecordError
from loadkit.report.reading import MOST_DEEP, parse_fields, read


def _read(path: Path, **fields: object) -> dict[str, object]:
    path.write_text(json.dumps({"format": "made-up", "version": 3, **fields}))
    return parse_fields(str(path), read(str(path)), "made-up", 3, "`loadkit make` writes one")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(2**63 - 1, id="the largest time"),
        pytest.param(0.0, id="nothing"),
        pytest.param(1e-30, id="a small share"),
        pytest.param({"sum": 2**100}, id="a sum is the product of two numbers"),
        pytest.param({"tails": [{"stages": {"wake": 2**100}}]}, id="so is that of a stage"),
        pytest.param({"memory": {"blast_bytes": -1}}, id="a process gave memory back"),
        pytest.param({"intervals": [{"serve_wakeups": -1}]}, id="a worker was replaced"),
        pytest.param(-0.5, id="another difference of two looks"),
        pytest.param("x" * 16_384, id="a long text"),
        pytest.param({"hdr": "x" * 100_000}, id="a histogram"),
        pytest.param([True, None, "\U0001f600"], id="what is no number"),
    ],
)
def test_what_a_record_can_have_is_read(tmp_path: Path, value: object) -> None:
    assert _read(tmp_path / "a.json", value=value)["value"] == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param(2**63, "$.value: a number that is larger than any that loadkit measures", id="too large"),
        pytest.param([0, {"a": 1e300}], "$.value[1].a: a number that is larger", id="too large, and deep"),
        pytest.param({"messages": {"sent": -1}}, "$.value.messages.sent: -1 is below 0", id="a negative count"),
        pytest.param({"histograms": [{"a": -0.5}]}, "$.value.histograms[0].a: -0.5 is below 0", id="a negative part"),
        pytest.param(1e-31, "$.value: a number that is too close to 0", id="next to 0"),
        pytest.param({"sum": 2**116}, "$.value.sum: a number that is larger", id="a sum that is too large"),
        pytest.param({"memory": -(2**63)}, "$.value.memory: a number that is larger", id="a difference"),
        pytest.param("x" * 16_385, "$.value: a text of more than 16,384 characters", id="too long a text"),
        pytest.param({"x" * 16_385: 1}, ": a name of more than 16,384 characters", id="too long a name"),
        pytest.param([{"x" * 16_385: [1]}], "$.value[0]: a name of more than 16,384", id="too long a name of a list"),
        pytest.param(json.loads("[" * MOST_DEEP + "[1]" + "]" * MOST_DEEP), "nested more than 32 deep", id="too deep"),
    ],
)
def test_what_no_record_has_is_refused_with_its_place(tmp_path: Path, value: object, says: str) -> None:
    with pytest.raises(RecordError) as caught:
        _read(tmp_path / "a.json", value=value)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/a.json: not a whole record: ")
    assert len(str(caught.value)) < 500
