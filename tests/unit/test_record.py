from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadkit.errors import RecordError
from loadkit.report.reading import load
from loadkit.report.record import FORMAT, VERSION
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.json")


@pytest.mark.parametrize("name", RUNS)
def test_what_is_written_is_what_is_loaded(name: str, path: str) -> None:
    record = RUNS[name]()
    Path(path).write_text(encode(record))
    assert encode(load(path)) == encode(record)


def test_a_record_says_what_it_is() -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    assert (fields["format"], fields["version"]) == (FORMAT, VERSION) == ("loadkit-record", 2)


def _refusal(path: str, text: str | bytes) -> str:
    Path(path).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RecordError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_missing_file_is_said_to_be(path: str) -> None:
    with pytest.raises(RecordError, match="cannot be read: No such file or directory"):
        load(path)


@pytest.mark.parametrize("kept", [0, 1, 100, -3])
def test_a_truncated_record_is_said_to_be_damaged(kept: int, path: str) -> None:
    assert "damaged" in _refusal(path, encode(RUNS["closed_loop"]())[:kept])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{}", id="an object of something"),
        pytest.param("[1]", id="a list"),
        pytest.param('{"format": "other", "version": 1}', id="another format"),
        pytest.param('{"format": "loadkit-record", "version": "one"}', id="a version that is no number"),
        pytest.param('{"format": "loadkit-record", "version": 0}', id="a version that never was"),
    ],
)
def test_something_else_is_said_to_be_no_record(text: str, path: str) -> None:
    assert "not a loadkit record" in _refusal(path, text)


@pytest.mark.parametrize("text", [b"\xff\xfd", b"\x00" * 10, b'{"format": "\xff"}', b'{"a":' * 100_000])
def test_bytes_that_are_no_json_are_said_to_be_damaged(text: bytes, path: str) -> None:
    assert "damaged" in _refusal(path, text)


def test_a_newer_version_says_to_upgrade(path: str) -> None:
    said = _refusal(path, '{"format": "loadkit-record", "version": 7, "news": []}')
    assert "written by a newer loadkit, version 7; this one reads version 2: upgrade loadkit" in said


def test_an_older_version_says_to_run_again(path: str) -> None:
    said = _refusal(path, encode(RUNS["closed_loop"]()).replace('"version": 2', '"version": 1', 1))
    assert "written by an older loadkit, version 1, whose figures mean something else; this one reads version 2" in said
    assert said.endswith(": run it again")


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def drop(fields: dict[str, Any]) -> None:
        for key in keys[:-1]:
            fields = fields[key]
        del fields[keys[-1]]

    return drop


def _put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def put(fields: dict[str, Any]) -> None:
        for key in keys[:-1]:
            fields = fields[key]
        fields[keys[-1]] = value

    return put


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(_drop("messages"), "messages", id="a key is missing"),
        pytest.param(_put("many", "messages", "sent"), "$.messages.sent", id="a text for a number"),
        pytest.param(_put("fine", "verdict", "state"), "$.verdict.state", id="a verdict there is not"),
        pytest.param(_put([], "target", "addresses"), "$.target.addresses", id="no address"),
        pytest.param(_drop("target"), "target", id="no target"),
        pytest.param(_put([], "load", "size_bytes"), "$.load.size_bytes", id="a size that is none"),
        pytest.param(_drop("histograms", "latency"), "histograms.latency is missing", id="a histogram is missing"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(spoil: Callable[[dict[str, Any]], None], says: str, path: str) -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    spoil(fields)
    said = _refusal(path, json.dumps(fields))
    assert "not a whole record" in said
    assert says in said


def test_a_key_that_a_later_loadkit_adds_does_no_harm(path: str) -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    fields["weather"] = "fine"
    fields["load"]["framing"] = "echo"
    fields["placements"][0]["later"] = True
    Path(path).write_text(json.dumps(fields))
    assert load(path).load.connections == 100


def test_a_file_from_before_loads_and_placements_is_refused_with_what_to_do(path: str) -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    del fields["load"], fields["placements"]
    said = _refusal(path, json.dumps(fields | {"plan": {"connections": {"value": 100, "source": "option"}}}))
    assert "with a `plan` where this one reads `load` and `placements`: run it again" in said


def _each_histogram(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict) and "percentiles" in value:
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for one in inside for found in _each_histogram(one)]


@pytest.mark.parametrize("name", RUNS)
def test_percentiles_that_another_loadkit_did_not_write_are_worked_out(name: str, path: str) -> None:
    record = RUNS[name]()
    fields = json.loads(encode(record))
    for histogram in _each_histogram(fields):
        for percentile in ("50", "75", "99", "99.999"):
            del histogram["percentiles"][percentile]
    Path(path).write_text(json.dumps(fields))
    assert encode(load(path)) == encode(record)


def test_a_percentile_more_than_this_loadkit_writes_is_kept(path: str) -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    fields["histograms"]["latency"]["percentiles"]["97.5"] = 5
    Path(path).write_text(json.dumps(fields))
    latency = load(path).histograms["latency"]
    assert latency is not None
    assert latency.percentiles["97.5"] == 5


def test_a_histogram_without_a_percentile_and_without_its_values_is_refused(path: str) -> None:
    fields = json.loads(encode(RUNS["closed_loop"]()))
    latency = fields["histograms"]["latency"]
    del latency["percentiles"]["99"]
    latency["hdr"] = "damaged"
    assert "histograms.latency: percentiles are missing, and cannot be worked out: " in _refusal(
        path, json.dumps(fields)
    )
