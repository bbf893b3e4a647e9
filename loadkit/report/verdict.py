"""Whether a run can be used. Suspect ourselves first, and name the right party.

Invalid: the load that was asked for was not offered, whoever caused it. Suspect: a disturbance of our own changed a
printed figure by more than a tenth. Valid: else. What the target, the network or the machine did with what it was
offered is a finding, and changes nothing here.

One cause has one text: a rule keeps silent if another one has said it. The rules are in report/rules, and this is their
order.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from loadkit.report.evidence import Evidence
from loadkit.report.record import STATES, Finding, Reason, RunRecord, Verdict
from loadkit.report.rules import connections, disturbances, messages, target
from loadkit.report.rules.machine import machine_findings
from loadkit.report.rules.rule import Rule, apply

__all__ = ["FINDINGS", "RULES", "Judgement", "judge", "judged"]

RULES: tuple[Rule, ...] = (
    # -- invalid
    disturbances.worker_died,
    connections.no_window,
    messages.nothing_due,
    connections.exhausted,
    messages.no_replies,
    connections.incomplete,
    connections.connections_lost,
    connections.connects_failed,
    connections.stranded,
    messages.rate_missed,
    messages.saturated,
    messages.schedule_missed,
    messages.cut_short,
    messages.does_not_add_up,
    # -- suspect
    disturbances.throttled,
    disturbances.stood_still,
    disturbances.late,
    disturbances.blast_bound,
    connections.connect_bound,
    disturbances.run_delay,
    disturbances.shared_core,
    disturbances.dropped_samples,
)

FINDINGS: tuple[Rule, ...] = (
    messages.messages_lost,
    messages.peer_behind,
    messages.all_replaced,
    target.target_stalled,
    connections.connections_missing,
    connections.connect_rate_missed,
    target.server_restarted,
    target.server_shed,
    target.uneven,
    target.target_run_delay,
    disturbances.slightly_late,
    messages.few_samples,
)


class Judgement(NamedTuple):
    """A verdict, and the findings that stand beside it."""

    verdict: Verdict
    findings: tuple[Finding, ...]


def judge(record: RunRecord) -> Judgement:
    """Returns the verdict on a run and the findings, from the record alone: fresh, merged, joined or read from a file.

    The verdict and findings that stand in the record are not looked at. Raises RecordError for a histogram that cannot
    be decoded.
    """
    evidence = Evidence(record)
    said = list(apply(RULES, evidence))
    states = [rule.state for rule, _said in said]
    state = STATES[max((STATES.index(state) for state in states if state != "finding"), default=0)]
    reasons = tuple(Reason(rule.code, *one) for rule, one in said)
    findings = tuple(Finding(rule.code, *one) for rule, one in apply(FINDINGS, evidence))
    return Judgement(Verdict(state, reasons), (*findings, *machine_findings(record)))


def judged(record: RunRecord) -> RunRecord:
    """Returns the record with its verdict and findings worked out anew."""
    verdict, findings = judge(record)
    return msgspec.structs.replace(record, verdict=verdict, findings=findings)
