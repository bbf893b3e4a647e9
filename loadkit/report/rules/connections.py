"""Rules about the connections: whether as many as requested were open, and opened at the requested rate."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.report.evidence import Evidence
from loadkit.report.evidence.asked import MISSING
from loadkit.report.evidence.connections import broke, cause_of
from loadkit.report.evidence.workers import OWN_DELAY
from loadkit.report.record import Party
from loadkit.report.rules.rule import ANY_ERROR, Said, rule
from loadkit.report.summary import aborted_line
from loadkit.units import format_count, format_duration, format_rate, plural

__all__ = [
    "connect_bound",
    "connect_rate_missed",
    "connections_lost",
    "connections_missing",
    "connects_failed",
    "exhausted",
    "incomplete",
    "no_window",
    "stranded",
]

_SEE_ERRORS: tuple[str, Party] = ("see the errors", "target")


@rule(
    "no-window",
    "invalid",
    "the run ended before its measured time began",
    "request",
    *ANY_ERROR,
)
def no_window(evidence: Evidence) -> Iterator[Said]:
    record = evidence.record
    if record.window is not None or any(worker.died for worker in record.workers):
        return
    opened = (
        f"{format_count(record.connections.opened)} of {format_count(evidence.asked.connections)} connections were "
        f"open by then"
    )
    if record.interrupted:
        yield Said(f"{record.interrupted} ended the run before its measured time began: {opened}", "request")
    elif record.aborted:
        yield Said(f"{aborted_line(record)}, before the measured time began: {opened}", "request")
    elif record.stranded_ns is not None:
        cause, party = _last_cause(evidence)
        yield Said(f"every connection had ended before the measured time began: {cause}; {opened}", party)
    elif record.server and record.server.restarts:
        yield Said(f"the serve end died before the measured time began: {opened}", "target")
    else:
        yield Said(
            f"the run ended before its measured time began: {opened}. Let it run longer, or raise --connect-rate to "
            f"shorten the ramp",
            "request",
        )


@rule(
    "exhausted",
    "invalid",
    "more than 1 % of the connections lacked a port, a file descriptor or memory of this machine",
    "machine",
)
def exhausted(evidence: Evidence) -> Iterator[Said]:
    connections, opening = evidence.connections, evidence.record.opening
    if not connections.is_exhausted:
        return
    if opening and opening.stopped:
        asked = evidence.asked.connections
        there = asked - connections.missing.at_start if evidence.record.window else evidence.record.connections.opened
        yield Said(
            f"stalled at {format_count(there)} of {format_count(asked)}: {opening.stopped}. This machine holds no "
            f"more; `loadkit doctor -c {asked}` shows the calculation",
            "machine",
        )
        return
    found = cause_of(connections.exhausted)
    count = sum(row.count for row in connections.exhausted)
    advice = max(connections.exhausted, key=lambda row: row.count).advice.partition(": ")[2]
    yield Said(
        f"{format_count(count)} of {plural(connections.begun, 'connect')} failed on this machine: "
        f"{found[0] if found else ''}. The load was smaller than requested. To fix it: {advice}",
        "machine",
    )


@rule(
    "incomplete",
    "invalid",
    "more than 1 % of the connections missing, most of them from the start",
    *ANY_ERROR,
    "request",
)
def incomplete(evidence: Evidence) -> Iterator[Said]:
    connections, missing = evidence.connections, evidence.connections.missing
    if connections.is_smaller and missing.at_start > missing.lost and not connections.is_explained:
        cause, party = _say_missing(evidence)
        later = f"; {format_count(missing.lost)} more broke later" if missing.lost else ""
        yield Said(f"{cause}{later}. The figures describe a smaller load than requested", party)


def _say_missing(evidence: Evidence) -> tuple[str, Party]:
    """Says how many connections were there when the window began, why not all, and whose doing that was."""
    connections, opened = evidence.connections, evidence.record.connections.opened
    missing = connections.missing
    there = f"{format_count(missing.asked - missing.at_start)} of {format_count(missing.asked)}"
    found = cause_of(connections.errors(is_setup=True) or connections.errors(is_setup=False))
    if found is None and opened < missing.asked:
        return f"stalled at {there}: the ramp ended before the others were started", "request"
    if found is None:
        return f"{there} connections were open, with a first reply, when the measured time began", "target"
    cause, party = found
    if opened < missing.asked or "NOT_ACCEPTED" in cause:
        return f"stalled at {there}: {cause}", party
    return f"{there} connections were open, with a first reply, when the measured time began: {cause}", party


@rule(
    "connections-lost",
    "invalid",
    "more than 1 % of the connections missing; most of them broke during the measured time",
    *ANY_ERROR,
)
def connections_lost(evidence: Evidence) -> Iterator[Said]:
    """Outside churn a connection that breaks is not opened again: what follows is a smaller load than was asked for."""
    connections, missing = evidence.connections, evidence.connections.missing
    if connections.is_smaller and missing.at_start <= missing.lost and not connections.is_explained:
        cause, party = cause_of(broke(connections.errors(is_setup=False))) or _SEE_ERRORS
        before = f"; {format_count(missing.at_start)} never opened" if missing.at_start else ""
        yield Said(
            f"{format_count(missing.lost)} of {plural(missing.asked, 'connection')} broke during the measured time: "
            f"{cause}{before}. {_went_on(evidence)}",
            party,
        )


def _went_on(evidence: Evidence) -> str:
    """Says what became of a load that lost connections."""
    if evidence.record.stranded_ns is None:
        return "The run went on with a smaller load than requested"
    return f"The last one ended {format_duration(evidence.record.stranded_ns)} after the start of the run"


@rule("connects-failed", "invalid", "churn: more than 1 % of the connects failed", *ANY_ERROR)
def connects_failed(evidence: Evidence) -> Iterator[Said]:
    if evidence.connections.has_failed_connects:
        cause, party = cause_of([row for row in evidence.record.errors if row.step == "connect"]) or _SEE_ERRORS
        yield Said(
            f"{format_count(evidence.record.connections.failed)} of {plural(evidence.connections.begun, 'connect')} "
            f"failed: {cause}. The churn was smaller than requested",
            party,
        )


@rule(
    "stranded",
    "invalid",
    "churn ended by --messages alone: no connection could be opened for longer than --timeout",
    *ANY_ERROR,
)
def stranded(evidence: Evidence) -> Iterator[Said]:
    """In churn a connection may always come back; if --messages alone ends a run, there is an end to waiting."""
    record = evidence.record
    if not evidence.connections.is_stranded or record.stranded_ns is None:
        return
    cause, party = _last_cause(evidence)
    timeout = format_duration(evidence.asked.load.timeout_ns)
    yield Said(
        f"no connection could be opened for longer than the --timeout of {timeout}: {cause}. The run ended "
        f"{format_duration(record.stranded_ns)} after its start, with {format_count(record.messages.sent)} of "
        f"{format_count((evidence.asked.load.messages or 0) * record.merged)} messages sent",
        party,
    )


def _last_cause(evidence: Evidence) -> tuple[str, Party]:
    return cause_of([row for row in evidence.record.errors if row.step != "close"]) or _SEE_ERRORS


@rule("connections-missing", "finding", "at most 1 % of the connections missing", *ANY_ERROR, "request")
def connections_missing(evidence: Evidence) -> Iterator[Said]:
    connections, missing = evidence.connections, evidence.connections.missing
    if not 0 < missing.share <= MISSING or connections.is_exhausted:
        return
    rows = broke(connections.errors(is_setup=False)) if missing.lost else connections.errors(is_setup=True)
    found = cause_of(rows)
    yield Said(
        f"{format_count(missing.at_start + missing.lost)} of {format_count(missing.asked)} connections were missing "
        f"for all or part of the measured time{f': {found[0]}' if found else ''}. The load was slightly smaller than "
        f"requested",
        found[1] if found else "request",
    )


# -- the rate at which they opened


@rule(
    "connect-bound",
    "suspect",
    "less than 90 % of --connect-rate reached, with the blast workers of a core busy for 95 % of the ramp",
    "loadkit",
)
def connect_bound(evidence: Evidence) -> Iterator[Said]:
    found = evidence.missed_rate
    if found and found.is_ours and _is_grave(evidence):
        yield Said(
            f"connections opened at {format_rate(found.rate_hz)} of the requested {format_rate(found.asked_hz)}, while "
            f"the blast workers were busy for {found.busy:.0%} of a core: connects/s and `connect` show the limit of "
            f"this end. Lower --connect-rate, or give this end more cores",
            "loadkit",
        )


def _is_grave(evidence: Evidence) -> bool:
    """Whether the rate that was missed had been given, and much of it is missing."""
    found, is_given = evidence.missed_rate, evidence.record.origins.is_given("connect_rate_hz")
    return found is not None and is_given and found.share < 1 - OWN_DELAY


@rule(
    "connect-rate-missed",
    "finding",
    "connections opened at less than 95 % of the connect rate",
    "target",
    "loadkit",
    "machine",
)
def connect_rate_missed(evidence: Evidence) -> Iterator[Said]:
    found = evidence.missed_rate
    if found is None:
        return
    start = f"connections opened at {format_rate(found.rate_hz)} of the requested {format_rate(found.asked_hz)}"
    wait = "`connect` includes that wait"
    if found.is_ours:
        if not _is_grave(evidence):  # else the verdict says it
            yield Said(
                f"{start}: the blast workers of a core were busy for {found.busy:.0%} of that time. {wait}", "loadkit"
            )
        return
    if evidence.cores.is_crowded_out:
        yield Said(f"{start}, while other processes kept a blast worker from its core. {wait}", "machine")
        return
    busy = "" if found.busy is None else f" (at most {found.busy:.0%} busy)"
    yield Said(
        f"{start}, while this end had time to spare{busy}: connects or first replies waited for the target. {wait}. "
        f"Lower --connect-rate, or use more accepting workers there",
        "target",
    )
