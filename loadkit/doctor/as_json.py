"""Findings for programs: an object of format `loadkit-findings`. Names are a promise: add but never rename."""

from __future__ import annotations

import json
from collections.abc import Sequence

from loadkit.doctor.check import summary
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, can_work
from loadkit.endpoint import place_of
from loadkit.printable import json_page

__all__ = ["FORMAT", "VERSION", "as_json"]

FORMAT, VERSION = "loadkit-findings", 1


def as_json(demand: Demand, findings: Sequence[Finding]) -> str:
    """Returns the findings as JSON text; `target` is null where only the serve end is here."""
    text = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "ok": can_work(findings),
            "summary": summary(demand, findings),
            "connections": demand.connections,
            "target": _target(demand),
            "workers": {"blast": demand.blast_workers, "serve": demand.serve_workers},
            "findings": [
                {
                    "code": finding.code,
                    "level": finding.level.value,
                    "seen": finding.seen,
                    "needed": finding.needed,
                    "why": finding.why,
                    "fix": finding.fix,
                    "sysctls": finding.sysctls,
                }
                for finding in findings
            ],
        },
        indent=2,
    )
    return json_page(text)


def _target(demand: Demand) -> str | None:
    if demand.target is None:
        return None
    if demand.embedded:
        return demand.target.host
    return place_of(demand.target.host, demand.target.port)
