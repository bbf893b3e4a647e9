from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from lxml import etree

from loadkit.report.as_junit import as_junit
from loadkit.report.record import Finding, Reason, RunRecord, SloRecord, Verdict
from tests.golden.made_up import (
    MS,
    RUNS,
    awkward,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    ramp,
    worker,
)

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd"))))
MADE_UP = RUNS | {"awkward": awkward}


def _read(record: RunRecord) -> etree._Element:
    return etree.fromstring(as_junit(record).encode())


def _judged(state: str, *slo: SloRecord) -> RunRecord:
    reasons = () if state == "valid" else (Reason("peer-behind", "the server is slow"),)
    return msgspec.structs.replace(RUNS["open_loop"](), verdict=Verdict(state, reasons), slo=slo)


def _outcomes(record: RunRecord) -> dict[str, list[str]]:
    """Test case -> what is in it."""
    cases = _read(record).iter("testcase")
    return {f"{case.get('classname')} {case.get('name')}": [found.tag for found in case] for case in cases}


MISSED, MET = SloRecord("latency.p99<5ms", 30_000_000, False), SloRecord("errors==0", 0, True)


@pytest.mark.parametrize("name", MADE_UP)
def test_every_report_is_what_ci_systems_accept(name: str) -> None:
    SCHEMA.assertValid(_read(MADE_UP[name]()))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param("<testsuites>", '<testsuites tests="1">', id="an attribute at testsuites"),
        pytest.param('type="loadkit.missed" ', "", id="a failure without a type"),
        pytest.param('T03:04:05"', 'T03:04:05+00:00"', id="a time zone"),
        pytest.param('time="12.000"', 'time="12 s"', id="a time with its unit"),
        pytest.param("<system-err></system-err>", "", id="no system-err"),
        pytest.param('classname="loadkit.run" ', "", id="no class name"),
        pytest.param("<failure", "<system-out></system-out><failure", id="output inside a test case"),
        pytest.param('hostname="localhost"', 'hostname=""', id="no host"),
    ],
)
def test_the_schema_sees_what_a_strict_reader_refuses(ours: str, theirs: str) -> None:
    text = as_junit(RUNS["saturated"]())
    assert ours in text
    assert not SCHEMA.validate(etree.fromstring(text.replace(ours, theirs).encode()))


def test_a_missed_objective_is_a_failure_and_a_met_one_passes() -> None:
    record = _judged("valid", MISSED, MET)
    assert _outcomes(record) == {
        "loadkit.run verdict": [],
        "loadkit.slo latency.p99<5ms": ["failure"],
        "loadkit.slo errors==0": [],
    }
    assert _read(record).findtext(".//failure") == "latency.p99<5ms was not met: 30 ms"


def test_a_percentile_among_what_never_came_back_is_never() -> None:
    hold = exchanged([MS] * 9_800, intended=200, sent=200, failed=200)
    record = made_up_record(
        made_up_plan(100.0, slo=("latency.p99<5ms",)), made_up_samples(worker(0, ramp(), page(), hold, page()))
    )
    properties = {one.get("name"): one.get("value") for one in _read(record).iter("property")}
    assert (properties["latency.p90"], properties["latency.p99"], properties["service.p99"]) == (
        "1 ms",
        "never",
        "never",
    )
    says = "latency.p99<5ms was not met: never: 2.0 % of 10,000 did not come back"
    assert _read(record).findtext(".//failure") == says


def test_an_invalid_run_is_an_error_of_the_environment_and_no_failure() -> None:
    record = _judged("invalid", MET)
    assert _outcomes(record) == {"loadkit.run verdict": ["error"], "loadkit.slo errors==0": []}
    assert "peer-behind: the server is slow" in _read(record).findtext(".//error").splitlines()


def test_findings_stand_in_the_output_behind_the_reasons() -> None:
    record = msgspec.structs.replace(_judged("suspect", MET), findings=(Finding("stolen", "5 % of it", "machine"),))
    lines = _read(record).findtext(".//system-out").split("\n")
    assert lines[lines.index("peer-behind: the server is slow") :][:2] == [
        "peer-behind: the server is slow",
        "finding stolen (machine): 5 % of it",
    ]
    assert _outcomes(record) == _outcomes(_judged("suspect", MET))


def test_a_suspect_run_passes_and_its_reasons_are_the_output() -> None:
    record = _judged("suspect", MET)
    assert _outcomes(record) == {"loadkit.run verdict": [], "loadkit.slo errors==0": []}
    assert "peer-behind: the server is slow" in _read(record).findtext(".//system-out").splitlines()


@pytest.mark.parametrize("name", MADE_UP)
def test_the_suite_adds_up_to_its_cases(name: str) -> None:
    [suite] = _read(MADE_UP[name]())
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall(".//failure"))
    assert int(suite.get("errors")) == len(suite.findall(".//error"))
    assert float(suite.get("time")) == sum(float(case.get("time")) for case in cases)


def test_a_test_case_has_the_same_name_whatever_the_run_came_to() -> None:
    fast, slow = (_judged("valid", SloRecord("latency.p99<5ms", value, value < 5_000_000)) for value in (10**6, 10**7))
    assert _outcomes(fast).keys() == _outcomes(slow).keys()
    assert _read(fast)[0].get("name") == _read(slow)[0].get("name") == "loadkit db.example port 7000"


def test_the_time_is_that_of_the_start_in_utc() -> None:
    record = msgspec.structs.replace(RUNS["open_loop"](), started="2026-01-02T01:04:05.678-02:30")
    assert _read(record)[0].get("timestamp") == "2026-01-02T03:34:05"
