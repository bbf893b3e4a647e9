"""A record as JUnit XML: a test case for each objective, one for the verdict, and one for what ended the run early.

A missed objective is a failure. An invalid run is an error, because the experiment failed and not the target. A suspect
run passes; its reasons stand in `system-out`, with the findings.

JUnit has no single format. Both schemas in use accept what is written here: the strict one made from Ant's reports (no
attributes at `testsuites`; `properties`, `system-out` and `system-err` once each and in this order; no output in a test
case; no time zone) and the one of Jenkins' xunit plugin. Jenkins shows the suite's output with a test case that has no
output of its own. GitLab shows the text of a failure and not its `message`, so the text says everything. It reads a
`type` such as integer or yaml as an order to convert the text, so the types here are other words. It tells the test
cases of two pipelines apart by suite, class and name, so none of these contains a figure of the run.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from loadkit.printable import page, printable
from loadkit.report.escape import xml
from loadkit.report.record import PERCENTILES, RunRecord, SloRecord
from loadkit.report.selector import shown
from loadkit.report.summary import (
    aborted_line,
    bytes_line,
    connections_line,
    finding_line,
    headline,
    load_line,
    measured_line,
    messages_line,
    slo_value,
    target_line,
)
from loadkit.units import NS_PER_S

__all__ = ["as_junit"]

_FIGURES = ("error_ratio", *(f"{time}.p{part:g}" for time in ("latency", "service") for part in PERCENTILES))


def as_junit(record: RunRecord) -> str:
    """Returns the XML document, ending in a line feed."""
    missed, errors = sum(not slo.ok for slo in record.slo), int(record.verdict.state == "invalid")
    aborted = aborted_line(record)
    suite = {
        "name": _suite_name(record),
        "package": "loadkit",
        "id": 0,
        "tests": len(record.slo) + 1 + bool(aborted),
        "failures": missed + bool(aborted),
        "errors": errors,
        "skipped": 0,
        "time": _seconds(record),
        "timestamp": _timestamp(record.started),
        "hostname": "localhost",  # a record does not name the machine it was made on
    }
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<testsuites>",
        f"  <testsuite {_attributes(**suite)}>",
        "    <properties>",
        *(f"      <property {_attributes(name=name, value=value)}/>" for name, value in _properties(record)),
        "    </properties>",
        *_verdict(record),
        *(line for slo in record.slo for line in _objective(slo)),
        *_failure("loadkit.run", "abort-on", "loadkit.aborted", aborted),
        "    <system-out>",
        *map(xml, _said(record)),
        "</system-out>",
        "    <system-err></system-err>",
        "  </testsuite>",
        "</testsuites>",
    ]
    return page("\n".join(lines) + "\n")


def _verdict(record: RunRecord) -> Iterator[str]:
    """The verdict takes the time of the run, so that the times add up to the suite's; an objective takes none."""
    case = _attributes(classname="loadkit.run", name="verdict", time=_seconds(record))
    if record.verdict.state != "invalid":
        yield f"    <testcase {case}/>"
        return
    codes = ", ".join(reason.code for reason in record.verdict.reasons)
    yield f"    <testcase {case}>"
    yield f"      <error {_attributes(type='loadkit.invalid', message=f'invalid: {codes}')}>"
    yield from map(xml, _said(record))
    yield "</error>"
    yield "    </testcase>"


def _objective(slo: SloRecord) -> Iterator[str]:
    name = printable(slo.expr) or "-"
    if slo.ok:
        yield f"    <testcase {_attributes(classname='loadkit.slo', name=name, time='0.000')}/>"
    else:
        yield from _failure("loadkit.slo", name, "loadkit.missed", f"{slo.expr} was not met: {slo_value(slo)}")


def _failure(suite: str, name: str, kind: str, text: str | None) -> Iterator[str]:
    """Yields a test case that failed by what the text says; nothing without one."""
    if text:
        yield f"    <testcase {_attributes(classname=suite, name=name, time='0.000')}>"
        yield f"      <failure {_attributes(type=kind, message=text)}>{xml(text)}</failure>"
        yield "    </testcase>"


def _said(record: RunRecord) -> Iterator[str]:
    yield headline(record)
    for reason in record.verdict.reasons:
        yield f"{reason.code}: {reason.text}"
    for finding in record.findings:
        yield finding_line(finding)


def _properties(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "verdict", record.verdict.state
    yield "target", target_line(record)
    yield "load", load_line(record)
    yield "connections", connections_line(record)
    yield "messages", messages_line(record)
    for name, line in (("bytes", bytes_line(record)), ("measured", measured_line(record))):
        if line:
            yield name, line
    for name in _FIGURES:
        text = shown(record, name)
        if text:
            yield name, text
    yield "engine", record.tool.engine
    yield "loadkit", record.tool.loadkit
    yield "python", record.tool.python


def _suite_name(record: RunRecord) -> str:
    """Returns what tells this run from others of a pipeline, and stays the same from one pipeline to the next."""
    target, profile = record.target, record.given.profile
    where = "embedded server" if target.embedded else target.host
    where += f" port {target.port}" if target.port else ""
    return f"loadkit {profile}, {where}" if profile else f"loadkit {where}"


def _seconds(record: RunRecord) -> str:
    """Returns the time from the common start to the end of the window, or how far the series of samples goes."""
    if record.window:
        return f"{record.window.end_ns / NS_PER_S:.3f}"
    return f"{max((row.t_s for row in record.intervals), default=0.0):.3f}"


def _timestamp(started: str) -> str:
    return datetime.datetime.fromisoformat(started).astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _attributes(**values: object) -> str:
    return " ".join(f'{name}="{xml(str(value))}"' for name, value in values.items())
