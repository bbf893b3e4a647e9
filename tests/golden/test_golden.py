"""Records and their text, as files to be read: `pytest tests/golden --update-golden` rewrites them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadkit.measure.histogram import Histogram
from loadkit.report.as_html import as_html
from loadkit.report.as_table import as_table, table_row
from loadkit.report.as_text import as_text
from loadkit.report.formats import rendered
from loadkit.report.reading import load
from loadkit.report.record import SloRecord
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS, awkward

_HERE = Path(__file__).parent


def _counts(histogram: dict[str, Any]) -> dict[str, Any]:
    """A histogram with its counts in place of their encoding: compressed bytes differ from one zlib to another."""
    if "hdr" not in histogram:
        return histogram
    counts = Histogram.decode(histogram["hdr"], histogram["sum"]).counts
    return histogram | {"hdr": {int(index): int(counts[index]) for index in counts.nonzero()[0]}}


@pytest.mark.parametrize("name", RUNS)
def test_a_record_is_what_its_golden_file_says(name: str, request: pytest.FixtureRequest) -> None:
    text = encode(RUNS[name]())
    path = _HERE / f"{name}.json"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert json.loads(text, object_hook=_counts) == json.loads(path.read_text(), object_hook=_counts)


@pytest.mark.parametrize("name", RUNS)
def test_a_record_reads_as_its_golden_text(name: str, request: pytest.FixtureRequest) -> None:
    text = as_text(load(str(_HERE / f"{name}.json")), f"{name}.json") + "\n"
    path = _HERE / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("suffix", [".md", ".xml", ".csv", ".hgrm", ".om"])
@pytest.mark.parametrize("name", [*RUNS, "awkward"])
def test_a_record_reads_as_its_golden_file_in_each_format(
    name: str, suffix: str, request: pytest.FixtureRequest
) -> None:
    record = awkward() if name == "awkward" else load(str(_HERE / f"{name}.json"))
    written = rendered(record, f"run{suffix}").encode()
    path = _HERE / f"{name}{suffix}"
    if request.config.getoption("--update-golden"):
        path.write_bytes(written)
    assert written == path.read_bytes()


def test_the_records_read_as_their_golden_table(request: pytest.FixtureRequest) -> None:
    paths = [_HERE / f"{name}.json" for name in RUNS]
    rows = [table_row(load(str(path)), path.name) for path in paths]
    written = as_table([*rows, table_row(awkward(), "=awkward.json")]).encode()
    path = _HERE / "table.csv"
    if request.config.getoption("--update-golden"):
        path.write_bytes(written)
    assert written == path.read_bytes()


@pytest.mark.parametrize("name", [*RUNS, "awkward"])
def test_a_record_reads_as_its_golden_page(name: str, request: pytest.FixtureRequest) -> None:
    """Without the record in it, whose compressed histograms differ from one zlib to another."""
    record = awkward() if name == "awkward" else load(str(_HERE / f"{name}.json"))
    page = re.sub(r'(?<=id="loadkit-record">)[^<]*', "", as_html(record))
    path = _HERE / f"{name}.html"
    if request.config.getoption("--update-golden"):
        path.write_text(page)
    assert page == path.read_text()


@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_100_columns(name: str) -> None:
    lines = as_text(RUNS[name](), f"{name}.json").splitlines()
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("name", RUNS)
def test_the_first_line_starts_with_the_verdict(name: str) -> None:
    record = RUNS[name]()
    partial = ", partial" if record.partial else ""
    assert as_text(record).splitlines()[0].startswith(f"{record.verdict.state}{partial}: ")


def test_an_objective_of_a_later_loadkit_is_printed_with_its_plain_value() -> None:
    later = msgspec.structs.replace(RUNS["open_loop"](), slo=(SloRecord("jitter.p95<5ms", 1_234_567, True),))
    assert "SLO met     jitter.p95<5ms  (1,234,567)" in as_text(later).splitlines()


def test_cpu_time_spent_awake_to_be_on_time_is_told_from_work() -> None:
    record = RUNS["native"]()
    assert "polling" not in as_text(record)
    awake = msgspec.structs.replace(record, wakeups=msgspec.structs.replace(record.wakeups, busy_ns=10**9))
    assert "; 250 us working, the rest polling to be on time" in " ".join(as_text(awake).split())
