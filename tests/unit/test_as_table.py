"""A row for each record: every figure under its name, empty where it was not measured."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.report.as_table import as_table, table_row
from loadkit.report.figures import FIGURES, NS, figure_named
from loadkit.report.selector import read
from tests.golden.made_up import RUNS
from tests.unit.odd_runs import ODD_RUNS
from tests.unit.test_as_csv import read_back


@pytest.mark.parametrize("name", ODD_RUNS)
def test_a_row_has_every_figure_as_an_objective_would_find_it(name: str) -> None:
    record = ODD_RUNS[name]()
    [row] = read_back(as_table([table_row(record, f"{name}.json")]))
    assert row["file"] == f"{name}.json"
    for figure in [*FIGURES.values(), figure_named("latency.p95"), figure_named("connect.p99.999")]:
        cell = row[f"{figure.name}_ns" if figure.unit is NS else figure.name]
        found = read(record, figure.name)
        if found.value is None:
            assert cell == ("never" if found.is_never else "")
        else:
            assert float(cell) == (round(found.value) if figure.unit is NS else found.value)
        if figure.unit is NS and cell not in ("", "never"):
            int(cell)


def test_what_was_lost_is_never_and_what_was_not_measured_is_empty() -> None:
    [row] = read_back(as_table([table_row(RUNS["saturated"](), "a.json")]))
    assert (row["latency.max_ns"], row["latency.p99.999_ns"]) == ("never", "")
    [row] = read_back(as_table([table_row(RUNS["closed_loop"](), "a.json")]))
    assert (row["lateness.p50_ns"], row["rate_per_s"]) == ("", "")


def test_the_columns_of_tags_are_those_of_all_records() -> None:
    one, other = (
        msgspec.structs.replace(RUNS["open_loop"](), tags=tags) for tags in ({"build": "1", "=a": "=b"}, {"host": "x"})
    )
    text = as_table([table_row(one, "a.json"), table_row(other, "b.json")])
    rows = read_back(text)
    assert [name for name in rows[0] if name.startswith("tag.")] == ["tag.=a", "tag.build", "tag.host"]
    assert [[row[f"tag.{name}"] for name in ("=a", "build", "host")] for row in rows] == [
        ["'=b", "1", ""],
        ["", "", "x"],
    ]


def test_a_table_of_no_record_is_a_header() -> None:
    [header] = as_table([]).splitlines()
    assert header.startswith("file,run,started,merged,verdict,")
