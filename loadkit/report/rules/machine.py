"""What the kernel's counters and TCP_INFO say of a run (kernel.py, tcp.py), and whose it is.

The counters are of all traffic of this machine: what no connection of this run can have met is not about this run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from loadkit.report.record import Finding, RunRecord

__all__ = ["machine_findings"]

# The kernel sends a SYN or its answer again after a second (RFC 6298, section 2.1), and data after 200 ms or more
# (TCP_RTO_MIN in include/net/tcp.h): less its timer's grain.
SYN_RETRY_NS, RETRY_NS = 900_000_000, 180_000_000


def machine_findings(record: RunRecord) -> Iterator[Finding]:
    """Yields the findings of `kernel` and `tcp`, and of those that only other traffic can have caused says so."""
    for finding in record.kernel.findings if record.kernel else ():
        is_met = _IS_MET.get(finding.code)
        if is_met is None or is_met(record):
            yield finding
        else:
            yield Finding(finding.code, f"{finding.text}. {_OTHERS.get(finding.code, _ELSE)}", "machine")
    yield from record.tcp.findings if record.tcp else ()


_ELSE = "No connection of this run met that: it is other traffic of this machine"
# A connect that got a SYN cookie is no slower than another: only a full queue behind it shows.
_OTHERS = {
    "syn-cookies": "No connection of this run failed or waited for a second: other traffic of this machine may have "
    "filled the queue"
}


def _has_failed(record: RunRecord) -> bool:
    """Whether a connect failed, as one does that was refused."""
    return bool(record.connections.failed)


def _has_waited(record: RunRecord) -> bool:
    """Whether a connect failed, or a connection opened or got its first byte a second later: it met a full queue."""
    return _has_failed(record) or _slowest_ns(record, "connect", "first_byte") >= SYN_RETRY_NS


def _was_sent_again(record: RunRecord) -> bool:
    """Whether something of this run was sent again, or was slow enough for it."""
    watched = record.tcp.retransmits_per_connection if record.tcp else None
    slowest_ns = _slowest_ns(record, "connect", "first_byte", "latency")
    return bool(watched) or _has_failed(record) or bool(record.messages.failed) or slowest_ns >= RETRY_NS


def _slowest_ns(record: RunRecord, *names: str) -> int:
    histograms = (record.histograms[name] for name in names)
    return max(((one.max or 0) for one in histograms if one), default=0)


# Whether a connection of the run can have met what a counter counts. The other counters do not show in a connection.
_IS_MET: Mapping[str, Callable[[RunRecord], bool]] = {
    "accept-queue": _has_waited,
    "syn-cookies": _has_waited,
    "syn-drops": _has_waited,
    "attempt-fails": _has_failed,
    "retransmits": _was_sent_again,
}
