"""The pages on the files say what the files are: `make docs` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # check-jsonschema brings it
import pytest

from loadkit.report.record import RunRecord
from loadkit.report.serve import ServeRecord
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS
from tests.golden.record_docs import record_page, schema
from tests.hostile.records import served

_DOCS = Path(__file__).parents[2] / "docs"
_PAGES = {
    "record.md": record_page,
    "record.schema.json": lambda: schema(RunRecord),
    "serve-record.schema.json": lambda: schema(ServeRecord),
}


@pytest.mark.parametrize("name", _PAGES)
def test_a_page_is_what_the_structs_say(name: str, request: pytest.FixtureRequest) -> None:
    text = _PAGES[name]()
    if request.config.getoption("--update-golden"):
        _DOCS.mkdir(exist_ok=True)
        (_DOCS / name).write_text(text)
    assert (_DOCS / name).read_text() == text


@pytest.mark.parametrize("name", RUNS)
def test_each_record_is_one_by_the_schema(name: str) -> None:
    jsonschema.validate(json.loads(encode(RUNS[name]())), json.loads((_DOCS / "record.schema.json").read_text()))


def test_the_record_of_a_serve_end_is_one_by_its_schema() -> None:
    jsonschema.validate(served(), json.loads((_DOCS / "serve-record.schema.json").read_text()))


def test_the_schema_lets_pass_what_a_later_version_adds_and_sees_what_is_wrong() -> None:
    known = json.loads((_DOCS / "record.schema.json").read_text())
    fields = json.loads(encode(RUNS["open_loop"]()))
    jsonschema.validate(fields | {"weather": "fine"}, known)
    with pytest.raises(jsonschema.ValidationError, match="'many' is not of type 'integer'"):
        jsonschema.validate(fields | {"merged": "many"}, known)


def test_no_field_is_left_out_of_the_page() -> None:
    page = record_page()
    for struct in (RunRecord, ServeRecord):
        for name in struct.__struct_fields__:
            assert f"| `{name}` |" in page
