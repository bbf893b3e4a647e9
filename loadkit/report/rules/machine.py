"""What the kernel's counters and TCP_INFO say of a run (kernel.py, tcp.py), and whose it is.

The counters are of all traffic of this machine: what no connection of this run can have met is not its target's.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.report.record import Finding, RunRecord

__all__ = ["machine_findings"]

# The kernel sends a SYN or its answer again after a second (RFC 6298, section 2.1), less its timer's grain.
RETRY_NS = 900_000_000


def machine_findings(record: RunRecord) -> Iterator[Finding]:
    """Yields the findings of `kernel` and `tcp`, those that other traffic caused as the machine's."""
    for finding in record.kernel.findings if record.kernel else ():
        if finding.party == "target" and not _can_be_ours(finding.code, record):
            yield Finding(finding.code, f"{finding.text}. {_OTHERS.get(finding.code, _ELSE)}", "machine")
        else:
            yield finding
    yield from record.tcp.findings if record.tcp else ()


# A connect that got a SYN cookie is no slower than another: only a full queue behind it shows.
_OTHERS = {
    "syn-cookies": "No connection of this run failed or waited for a second: other traffic of this machine may have "
    "filled the queue"
}
_ELSE = "No connection of this run met that: it is other traffic of this machine"


def _can_be_ours(code: str, record: RunRecord) -> bool:
    """A refused connect fails; one that met a full queue fails, or opens or gets its first byte a second later."""
    if record.connections.failed:
        return True
    histograms = (record.histograms["connect"], record.histograms["first_byte"])
    slowest = max(((one.max or 0) for one in histograms if one), default=0)
    return code != "attempt-fails" and slowest >= RETRY_NS
