from __future__ import annotations

import msgspec

from loadkit.report.as_annotations import MOST, as_annotations
from loadkit.report.record import Finding, Reason, RunRecord, SloRecord, Verdict
from tests.golden.made_up import RUNS, awkward


def _judged(state: str, *slo: SloRecord) -> RunRecord:
    reasons = () if state == "valid" else (Reason("peer-behind", "100% of it, late"), Reason("late", "too"))
    return msgspec.structs.replace(RUNS["open_loop"](), verdict=Verdict(state, reasons), slo=slo)


def _missed(count: int) -> list[SloRecord]:
    return [SloRecord(f"errors<{bound}", 100, False) for bound in range(count)]


HEADLINE = "400/s replies, latency p50 1.05 ms p99 1.98 ms, 0 errors"


def test_a_valid_run_that_met_its_objectives_says_nothing() -> None:
    assert as_annotations(_judged("valid", SloRecord("errors==0", 0, True))) == []


def test_a_missed_objective_is_an_error_with_its_value() -> None:
    assert as_annotations(_judged("valid", SloRecord("latency.p99<5ms", 30_000_000, False))) == [
        "::error title=SLO missed%3A latency.p99<5ms::latency.p99<5ms was not met: 30 ms"
    ]


def test_a_condition_that_ended_the_run_is_an_error() -> None:
    text = "latency.p99>1ms for 2s was met 4.99 s after the start: latency.p99 in the last second was 1.97 ms"
    assert f"::error title=loadkit%3A aborted::{text}" in as_annotations(RUNS["aborted"]())


def test_an_invalid_run_is_an_error_and_a_suspect_one_a_warning_with_all_its_reasons() -> None:
    for state, level in (("invalid", "error"), ("suspect", "warning")):
        assert as_annotations(_judged(state)) == [
            f"::{level} title=loadkit%3A the run is {state}::{state}: {HEADLINE}"
            "%0Apeer-behind: 100%25 of it, late%0Alate: too"
        ]


def test_as_many_errors_as_are_shown_are_written_and_the_last_one_names_the_others() -> None:
    # 10 are shown: the verdict and 9 objectives, of 10 only 8, and one for the other two
    assert len(as_annotations(_judged("invalid", *_missed(9)))) == MOST
    lines = as_annotations(_judged("invalid", *_missed(10)))
    assert len(lines) == MOST
    assert lines[-1] == "::error title=2 SLOs more missed::errors<8%0Aerrors<9"


def test_findings_are_one_notice_behind_the_rest() -> None:
    findings = (Finding("peer-behind", "held, 30 ms", "target"), Finding("stolen", "5% of it", "machine"))
    record = msgspec.structs.replace(_judged("suspect", *_missed(1)), findings=findings)
    assert as_annotations(record)[-1] == (
        "::notice title=loadkit%3A 2 findings::finding peer-behind (target): held, 30 ms"
        "%0Afinding stolen (machine): 5%25 of it"
    )
    assert len(as_annotations(record)) == 3


def test_every_command_is_one_line() -> None:
    assert [line for line in as_annotations(awkward()) if len(line.splitlines()) != 1] == []
