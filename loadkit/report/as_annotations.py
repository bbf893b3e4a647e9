"""A record as GitHub's workflow commands: what the run page and the pull request show in red, yellow and blue."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.printable import cleaned
from loadkit.report.escape import workflow_message, workflow_property
from loadkit.report.record import RunRecord
from loadkit.report.summary import aborted_line, finding_line, headline, slo_value
from loadkit.units import plural

__all__ = ["as_annotations"]

# GitHub shows ten errors per step, and silently drops the others.
MOST = 10


def as_annotations(record: RunRecord) -> list[str]:
    """Returns a line for a verdict that is not valid, for what ended the run early, and for each missed objective.

    One more has all findings.

    At most ten are errors. The findings are a notice.
    """
    record = cleaned(record)
    lines = list(_verdict(record))
    aborted = aborted_line(record)
    lines += [_command("error", "loadkit: aborted", aborted)] if aborted else []
    missed = [slo for slo in record.slo if not slo.ok]
    room = MOST - len(lines)
    shown = missed if len(missed) <= room else missed[: room - 1]
    lines += [
        _command("error", f"SLO missed: {slo.expr}", f"{slo.expr} was not met: {slo_value(slo)}") for slo in shown
    ]
    if len(shown) < len(missed):
        rest = missed[len(shown) :]
        lines.append(
            _command("error", f"{plural(len(rest), 'SLO')} more missed", "\n".join(slo.expr for slo in rest)),
        )
    return [*lines, *_findings(record)]


def _verdict(record: RunRecord) -> Iterator[str]:
    level = {"valid": None, "suspect": "warning", "invalid": "error"}[record.verdict.state]
    if level:
        reasons = (f"{reason.code}: {reason.text}" for reason in record.verdict.reasons)
        yield _command(level, f"loadkit: the run is {record.verdict.state}", "\n".join((headline(record), *reasons)))


def _findings(record: RunRecord) -> Iterator[str]:
    if record.findings:
        title = f"loadkit: {plural(len(record.findings), 'finding')}"
        yield _command("notice", title, "\n".join(map(finding_line, record.findings)))


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={workflow_property(title)}::{workflow_message(message)}"
