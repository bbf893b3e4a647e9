"""Intervals as CSV: what RFC 4180 reads back is what the record has, and a spreadsheet computes none of it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from loadkit.errors import RecordError
from loadkit.report.as_csv import as_csv, csv_page
from loadkit.report.reading import load
from loadkit.report.serve import load_serve
from loadkit.report.writing import encode
from tests.hostile.records import served
from tests.unit.odd_runs import ODD_RUNS, row_of, with_rows


def read_back(text: str) -> list[dict[str, str]]:
    """The rows of a table, after what RFC 4180 asks of its lines."""
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n") == text.count("\r")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = list(reader)
    assert all(None not in row and None not in row.values() for row in rows)  # as many cells as columns
    return rows


@pytest.mark.parametrize("name", ODD_RUNS)
def test_there_is_a_row_for_each_interval_with_the_figures_of_the_record(name: str) -> None:
    record = ODD_RUNS[name]()
    rows = read_back(as_csv(record))
    assert len(rows) == len(record.intervals)
    for row, interval in zip(rows, record.intervals, strict=True):
        assert (int(row["from_ns"]), int(row["t_ns"])) == (interval.from_s * 10**9, interval.t_s * 10**9)
        assert row["phase"] == interval.phase
        counts = ("opened", "replied", "bytes", "errors", "wakeups", "events", "retransmits")
        assert [row[name] for name in counts] == [_text(getattr(interval, name)) for name in counts]
        latency = interval.latency
        found = [row[f"latency_replied_{part}_ns"] for part in ("p50", "p99", "max")]
        assert found == [_text(value) for value in (latency.p50, latency.p99, latency.max)]


def _text(value: float | None) -> str:
    return "" if value is None else str(value)


def test_the_other_percentiles_come_from_the_whole_histogram_of_an_interval() -> None:
    [row] = read_back(as_csv(with_rows([10**6] * 4, row_of(2, list(range(1_000, 3_000))))))
    assert (row["latency_replied_count"], row["latency_replied_mean_ns"]) == ("2000", "2000")  # 1,999.5
    assert [row[f"latency_replied_p{one}_ns"] for one in ("75", "90", "95")] == ["2499", "2799", "2899"]
    assert row["latency_replied_p99.9_ns"] == ""  # two lie above it


def test_an_interval_without_replies_has_no_latency() -> None:
    rows = read_back(as_csv(ODD_RUNS["no replies"]()))
    assert [row["latency_replied_count"] for row in rows] == ["0", "0"]
    assert {row[name] for row in rows for name in row if name.startswith("latency") and name.endswith("_ns")} == {""}


def test_a_serve_end_has_its_seconds_too(tmp_path: Any) -> None:
    (tmp_path / "serve.json").write_text(json.dumps(served()))
    record = load_serve(str(tmp_path / "serve.json"))
    rows = read_back(as_csv(record))
    assert [int(row["t_ns"]) for row in rows] == [round(one.t_s * 1000) * 10**6 for one in record.intervals]
    assert [(row["accepted"], row["cpu_user_ns"]) for row in rows] == [("10", "1000000")] * len(record.intervals)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r\n=cmd|' /C calc'!A0",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        "  =1",
    ],
)
def test_a_text_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(text: str) -> None:
    [row] = read_back(csv_page(["name"], [{"name": text}]))
    assert row["name"].startswith("'")
    assert row["name"][1:] == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1;=cmd|'/C calc'!A0;", "1;'=cmd|'/C calc'!A0;"),
        ("a;b; -1;+2", "a;b; '-1;'+2"),
        ("=1;=2", "'=1;'=2"),
        ("1;\uff1d2", "1;'\uff1d2"),
        ('";@A1', "\";'@A1"),
    ],
)
def test_so_does_what_would_be_a_cell_where_semicolons_part_them(text: str, written: str) -> None:
    """Where the decimal mark is the comma, a spreadsheet reads a comma as text, and quotes within a cell too."""
    [row] = read_back(csv_page(["name", "other"], [{"name": text, "other": "x, y"}]))
    assert row == {"name": written, "other": "x, y"}
    line = csv_page(["name"], [{"name": text}]).splitlines()[1]
    cells = [cell.strip(' "') for cell in line.split(";")]
    assert [cell for cell in cells if cell.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))] == []


@pytest.mark.parametrize("text", ["a,b", 'say "no"', 'a";b', "1;2", "a-b", "x = 1", "'", "plain"])
def test_a_text_with_commas_and_quotes_stays_one_cell(text: str) -> None:
    [row] = read_back(csv_page(["a", "b"], [{"a": text, "b": -5}]))
    assert row == {"a": text, "b": "-5"}  # a number below 0 is no formula


def test_an_interval_whose_histogram_is_damaged_is_named(tmp_path: Any) -> None:
    record = with_rows([10**6], row_of(2, [10**6]))
    fields = json.loads(encode(record))
    fields["intervals"][0]["latency"]["hdr"] = "HISTFAAA"
    (tmp_path / "run.json").write_text(json.dumps(fields))
    with pytest.raises(RecordError, match=r"^intervals: the latency of hold at 3 s cannot be read: not an Hdr"):
        as_csv(load(str(tmp_path / "run.json")))


def test_the_columns_are_the_fields_of_an_interval() -> None:
    """A field that is added to it is a column without a word here."""
    record = with_rows([])
    header = as_csv(msgspec.structs.replace(record, intervals=())).splitlines()[0].split(",")
    assert header[:7] == ["from_ns", "t_ns", "phase", "opened", "replied", "bytes", "errors"]
    assert header[7:19] == [
        *("latency_replied_count", "latency_replied_mean_ns"),
        *(f"latency_replied_p{one}_ns" for one in ("50", "75", "90", "95", "99", "99.9", "99.99", "99.999")),
        *("latency_replied_max_ns", "wakeups"),
    ]
