from __future__ import annotations

import pytest

from loadkit.doctor.as_text import as_text
from loadkit.doctor.check import examine, summary
from loadkit.doctor.finding import Finding, Level
from tests.unit.examined import REMOTE, demanded

_WIDTH = 100


def test_the_worst_comes_first_and_each_way_out_has_a_line() -> None:
    findings = (
        Finding("nofile", Level.OK, "soft 1", "1"),
        Finding("nr_open", Level.OK, "2", "1"),
        Finding("cores", Level.WARN, "1 of 2", "2", "they share one", "taskset -c 0-1, or another machine; or wait"),
        Finding("ports", Level.FAIL, "1", "2", "too few", "--source CIDR"),
    )
    assert as_text(demanded(1000, REMOTE), findings).splitlines() == [
        "cannot: c=1,000 does not fit this machine: ports. too few",
        "",
        "fail  ports    1; needed: 2",
        "               too few",
        "               fix: --source CIDR",
        "",
        "warn  cores    1 of 2; needed: 2",
        "               they share one",
        "               fix: taskset -c 0-1",
        "                 or another machine",
        "                 or wait",
        "",
        "ok    nofile   soft 1; needed: 1",
        "ok    nr_open  2; needed: 1",
    ]


def test_the_conclusion_comes_first_however_long() -> None:
    demand = demanded(10**6, REMOTE, file_max=1, nofile_hard=201)
    text = as_text(demand, examine(demand))
    conclusion, _, _ = text.partition("\n\n")
    assert conclusion.replace("\n", " ") == summary(demand, examine(demand))
    assert text.startswith("cannot: ")


@pytest.mark.parametrize("connections", [1, 100, 10**6, 10**9])
def test_all_but_the_lines_to_paste_fits_the_width(connections: int) -> None:
    demand = demanded(connections, None, somaxconn=1, file_max=1, tcp_mem_pages=(1, 2, 3))
    for line in as_text(demand, examine(demand)).splitlines():
        assert len(line) <= _WIDTH or line.lstrip().startswith(("fix: ", "or ")), line


def test_a_line_to_paste_is_not_broken() -> None:
    fix = "for net in " + " ".join(f"10.0.{number}.0/24" for number in range(20)) + "; do x; done"
    text = as_text(demanded(1), (Finding("sources", Level.FAIL, "0", "20", "not here", fix),))
    assert f"fix: {fix}" in text
