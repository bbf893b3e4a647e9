"""Whether a run can be used. Suspect ourselves first, and name the right party.

Invalid: the load that was asked for was not offered, whoever caused it. Suspect: a disturbance of our own changed a
printed figure by more than a tenth. Valid: else. What the target, the network or the machine did with what it was
offered is a finding (findings.py) and changes nothing here.

One cause has one text: a rule keeps silent where another one has said it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from loadkit.report.disturbed import say_changes
from loadkit.report.evidence import MISSING, OWN_DELAY, Evidence, broke, cause_of
from loadkit.report.findings import FINDINGS, machine_findings, ramp_rate
from loadkit.report.record import STATES, Finding, Messages, Party, Reason, RunRecord, Verdict
from loadkit.report.rules import Rule, Said, apply
from loadkit.units import format_count, format_duration, format_rate, plural

__all__ = ["RULES", "Judgement", "judge", "judged"]

# A window that is shorter than this part of the planned one ended by itself.
_WHOLE = 0.99
# A host that takes more than this of the machine's CPU time is worth a word where a worker stood still.
_STOLEN = 0.02


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


# -- invalid


def _worker_died(evidence: Evidence) -> Iterator[Said]:
    for worker in evidence.record.workers:
        if worker.died:
            writing = " while it was writing, so its figures may be off by one batch" if worker.is_mid_fold else ""
            why, party = _death(worker.died)
            yield Said(
                f"blast worker {worker.index} (pid {worker.pid}) ended early: {worker.died}{writing}. What it "
                f"recorded is counted; the rest of its share of the load is missing{why}",
                party,
            )


def _death(died: str) -> tuple[str, Party]:
    """What can be said of a worker's end beyond its own words. One that hung was killed by the parent: run/local.py."""
    if "hung" in died:
        return ". It did not end when it was told to, and was killed", "loadkit"
    if died == "killed by SIGKILL":
        return (
            ". loadkit did not send that signal: another process did, or the kernel was out of memory (see `dmesg`)",
            "machine",
        )
    if "could not get the memory" in died:
        return "", "machine"
    if died.startswith("killed by "):
        return ". loadkit did not send that signal", "machine"
    return "", "loadkit"


def _no_window(evidence: Evidence) -> Iterator[Said]:
    record = evidence.record
    if record.window is not None or any(worker.died for worker in record.workers):
        return
    opened = (
        f"{format_count(record.connections.opened)} of {format_count(evidence.asked_connections)} connections were "
        f"open by then"
    )
    if record.interrupted:
        yield Said(f"{record.interrupted} ended the run before its measured time began: {opened}", "request")
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


def _nothing_due(evidence: Evidence) -> Iterator[Said]:
    record = evidence.record
    if record.window is None or record.messages.intended or _is_silent(evidence) or any(_stranded(evidence)):
        return
    start = f"no message was due in the {format_duration(evidence.span_ns)} measured, so there is nothing to report"
    if evidence.is_open_loop:
        yield Said(f"{start}. Raise --rate or --duration", "request")
    elif not evidence.is_smaller:
        yield Said(f"{start}. Raise --duration or --messages", "request")


def _exhausted(evidence: Evidence) -> Iterator[Said]:
    if not evidence.is_exhausted:
        return
    opening = evidence.record.opening
    if opening and opening.stopped:
        asked, connections = evidence.asked_connections, evidence.record.connections
        there = asked - evidence.missing.at_start if evidence.record.window else connections.opened
        yield Said(
            f"stalled at {format_count(there)} of {format_count(asked)}: {opening.stopped}. This machine holds no "
            f"more; `loadkit doctor -c {asked}` shows the calculation",
            "machine",
        )
        return
    found = cause_of(evidence.exhausted)
    count = sum(row.count for row in evidence.exhausted)
    advice = max(evidence.exhausted, key=lambda row: row.count).advice.partition(": ")[2]
    yield Said(
        f"{format_count(count)} of {plural(evidence.begun, 'connect')} failed on this machine: "
        f"{found[0] if found else ''}. The load was smaller than requested. To fix it: {advice}",
        "machine",
    )


def _no_replies(evidence: Evidence) -> Iterator[Said]:
    """Nothing came back at all, though the connections opened; where they did not, others speak."""
    record = evidence.record
    if record.window is None or not _is_silent(evidence):
        return
    found = cause_of([row for row in record.errors if row.step != "close"])
    cause, party = found or ("no connection broke, so the target hangs, or waits for another protocol", "target")
    yield Said(
        f"{plural(evidence.sent, 'message')} got no correct reply, so there is no latency to report: {cause}",
        party,
    )


def _is_silent(evidence: Evidence) -> bool:
    """Whether no reply came in the measured time, and that is not because the connections failed."""
    record = evidence.record
    if record.window is None or record.messages.replied or record.window.replied:
        return False
    if not evidence.has_replies:
        return 2 * record.connections.opened >= evidence.begun > 0
    return record.messages.sent > 0 and not evidence.is_smaller


def _incomplete(evidence: Evidence) -> Iterator[Said]:
    missing = evidence.missing
    if evidence.is_smaller and missing.at_start > missing.lost and not _has_been_said(evidence):
        cause, party = say_missing(evidence)
        later = f"; {format_count(missing.lost)} more broke later" if missing.lost else ""
        yield Said(f"{cause}{later}. The figures describe a smaller load than requested", party)


def _lost(evidence: Evidence) -> Iterator[Said]:
    """Outside churn a connection that breaks is not opened again: what follows is a smaller load than was asked for."""
    missing = evidence.missing
    if evidence.is_smaller and missing.at_start <= missing.lost and not _has_been_said(evidence):
        cause, party = cause_of(broke(evidence.rows(is_setup=False))) or ("see the errors", "target")
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


def _connects_failed(evidence: Evidence) -> Iterator[Said]:
    connections = evidence.record.connections
    if not evidence.is_churn or evidence.record.window is None or _has_been_said(evidence):
        return
    if any(_stranded(evidence)):
        return
    if connections.failed > MISSING * evidence.begun:
        found = cause_of([row for row in evidence.record.errors if row.step == "connect"])
        cause, party = found or ("see the errors", "target")
        yield Said(
            f"{format_count(connections.failed)} of {plural(evidence.begun, 'connect')} failed: {cause}. The "
            f"churn was smaller than requested",
            party,
        )


def _stranded(evidence: Evidence) -> Iterator[Said]:
    """In churn a connection may always come back; where --messages alone ends a run, there is an end to waiting."""
    record = evidence.record
    if record.stranded_ns is None or not evidence.is_churn or record.window is None or _has_been_said(evidence):
        return
    cause, party = _last_cause(evidence)
    timeout = format_duration(evidence.load.timeout_ns)
    yield Said(
        f"no connection could be opened for longer than the --timeout of {timeout}: {cause}. The run ended "
        f"{format_duration(record.stranded_ns)} after its start, with {format_count(record.messages.sent)} of "
        f"{format_count((evidence.load.messages or 0) * record.merged)} messages sent",
        party,
    )


def _last_cause(evidence: Evidence) -> tuple[str, Party]:
    return cause_of([row for row in evidence.record.errors if row.step != "close"]) or ("see the errors", "target")


def _has_been_said(evidence: Evidence) -> bool:
    """Whether a rule with a nearer cause speaks of the connections."""
    return evidence.is_exhausted or _is_silent(evidence)


def say_missing(evidence: Evidence) -> tuple[str, Party]:
    """Says how many connections were there when the window began, why not all, and whose doing that was."""
    missing, opened = evidence.missing, evidence.record.connections.opened
    there = f"{format_count(missing.asked - missing.at_start)} of {format_count(missing.asked)}"
    rows = evidence.rows(is_setup=True) or evidence.rows(is_setup=False)
    found = cause_of(rows)
    if found is None and opened < missing.asked:
        return f"stalled at {there}: the ramp ended before the others were started", "request"
    if found is None:
        return f"{there} connections were open, with a first reply, when the measured time began", "target"
    cause, party = found
    if opened < missing.asked or "NOT_ACCEPTED" in cause:
        return f"stalled at {there}: {cause}", party
    return f"{there} connections were open, with a first reply, when the measured time began: {cause}", party


def _rate_missed(evidence: Evidence) -> Iterator[Said]:
    if _misses_rate(evidence) and not evidence.is_unsent_ours:
        messages = evidence.record.messages
        yield Said(
            f"{format_count(messages.unsent)} of {format_count(messages.intended)} messages were never sent: they "
            f"waited for room on a connection (held p99 {format_duration(evidence.p99('held'))}), while this end had "
            f"time to spare. The target is slower than the rate. Lower --rate; or raise --connections or --depth if "
            f"the target can serve more at once",
            "target",
        )


def _saturated(evidence: Evidence) -> Iterator[Said]:
    if _misses_rate(evidence) and evidence.is_busy:
        messages, busiest = evidence.record.messages, evidence.busiest
        yield Said(
            f"{format_count(messages.unsent)} of {format_count(messages.intended)} messages were never sent, and blast "
            f"worker {busiest.index} was busy for {busiest.share:.0%} of its core{_crowded_out(evidence)}: this end "
            f"is at its limit. Lower --rate, or give it more cores",
            _own_party(evidence),
        )


def _schedule_missed(evidence: Evidence) -> Iterator[Said]:
    """Messages that were due and not sent, or not even seen, where neither the target nor a full core explains it."""
    messages = evidence.record.messages
    if _misses_rate(evidence):
        if evidence.is_unsent_ours and not evidence.is_busy:
            yield Said(
                f"{format_count(messages.unsent)} of {format_count(messages.intended)} messages were never sent, and "
                f"{'the target did not hold them up' if evidence.has_time else 'this end had no time to spare'}: this "
                f"end fell behind its schedule{_own_cause(evidence)}. Lower --rate, use more --workers, or use an idle "
                f"machine",
                _own_party(evidence),
            )
        return
    planned = evidence.planned_messages
    whole = evidence.span_ns >= _WHOLE * evidence.planned_ns
    # Each worker's share of each phase is rounded.
    slack = len(evidence.record.workers) * len(evidence.holds)
    if not evidence.is_open_loop or evidence.is_cut or not whole or not messages.intended:
        return
    if messages.intended < (1 - MISSING) * planned - slack:
        yield Said(
            f"only {format_count(messages.intended)} of the {format_count(planned)} scheduled messages became due: "
            f"this end fell behind its schedule{_own_cause(evidence)}. Lower --rate, or use an idle machine",
            _own_party(evidence),
        )


def _misses_rate(evidence: Evidence) -> bool:
    """Whether more messages stayed unsent than the missing connections account for, and some were sent.

    In churn, connects that fail leave no connection to send on: there is no telling how many messages that makes.
    """
    share = evidence.unsent_share
    if share <= MISSING or _is_silent(evidence) or evidence.is_exhausted or any(_stranded(evidence)):
        return False
    if evidence.has_time and any(_connects_failed(evidence)):
        return False
    return not (evidence.is_smaller and share <= evidence.missing.share + MISSING)


def _cut_short(evidence: Evidence) -> Iterator[Said]:
    span, planned = evidence.span_ns, evidence.planned_ns
    if evidence.is_cut or evidence.is_smaller or _is_silent(evidence) or not 0 < span < _WHOLE * planned:
        return
    yield Said(
        f"measured {format_duration(span)} of {format_duration(planned)}: the workers ended their traffic early, so "
        f"the rates are not those of the requested run. This is a bug of loadkit; please report it with this record",
        "loadkit",
    )


def _does_not_add_up(evidence: Evidence) -> Iterator[Said]:
    for phase in evidence.record.phases:
        messages = phase.messages
        if not _adds_up(messages):
            yield Said(
                f"the message counts of phase {phase.name} do not add up: intended {messages.intended} = sent "
                f"{messages.sent} + unsent {messages.unsent}; sent = replied {messages.replied} + failed "
                f"{messages.failed} + unanswered {messages.unanswered}. This is a bug of loadkit; please report it "
                f"with this record",
                "loadkit",
            )


def _adds_up(messages: Messages) -> bool:
    whole = messages.replied + messages.failed + messages.unanswered
    return messages.intended == messages.sent + messages.unsent and messages.sent == whole


# -- suspect


def _throttled(evidence: Evidence) -> Iterator[Said]:
    throttling = evidence.record.throttling
    if evidence.is_throttled and throttling:
        changed = f"That changes {say_changes(evidence.changes)}. " if evidence.changes else ""
        yield Said(
            f"its control group's CPU quota stopped this end in {format_count(throttling.throttled_periods)} of "
            f"{format_count(throttling.periods)} periods, for {format_duration(throttling.throttled_ns)} of the "
            f"{format_duration(evidence.span_ns)} measured. {changed}Raise the quota (docker --cpus, CPUQuota=, "
            f"resources.limits.cpu), use fewer workers, or lower --rate",
            "machine",
        )


def _stood_still(evidence: Evidence) -> Iterator[Said]:
    slows_loop = not evidence.is_open_loop and evidence.standstill_share > OWN_DELAY
    changes = evidence.standstill_changes
    if evidence.is_throttled or evidence.has_long_turns or not (changes or slows_loop):
        return
    effects = []
    if changes:
        effects.append(f"that changes {say_changes(changes)}")
    if slows_loop:
        effects.append(f"{evidence.standstill_share:.0%} of the workers' time is missing in the replies/s")
    steal = f" The host took {evidence.stolen:.1%} of this machine's CPU time." if evidence.stolen > _STOLEN else ""
    wait_ns = evidence.standstill_wait_ns
    wait = f" It waited {format_duration(wait_ns)} for its core while other processes ran there." if wait_ns else ""
    yield Said(
        f"{_standstills(evidence)}: {', and '.join(effects)}.{steal}{wait} Keep other work off its core, and run it "
        f"again",
        "machine" if steal or wait else "loadkit",
    )


def _standstills(evidence: Evidence) -> str:
    """Says which worker stood still, how often, how long, and the longest when."""
    stood = evidence.record.standstills
    if stood is None or stood.worker is None:
        return "a blast worker stood still"
    worker = next((one for one in evidence.record.workers if one.index == stood.worker), None)
    count, sum_ns = stood.count, stood.sum_ns
    if worker and worker.standstills is not None and worker.standstill_ns is not None and evidence.record.merged == 1:
        count, sum_ns = worker.standstills, worker.standstill_ns
    others = f" ({format_count(stood.count - count)} more in other workers)" if stood.count > count else ""
    times = "once" if count == 1 else f"{format_count(count)} times"
    longest = ""
    if stood.longest_ns is not None and stood.longest_at_ns is not None:
        at = f"{format_duration(stood.longest_at_ns)} after the start"
        longest = f", at {at}" if count == 1 else f", the longest {format_duration(stood.longest_ns)} at {at}"
    return f"blast worker {stood.worker} stood still {times}, for {format_duration(sum_ns)}{longest}{others}"


def _late(evidence: Evidence) -> Iterator[Said]:
    if not evidence.late_changes or evidence.is_throttled or any(_saturated(evidence)):
        return
    disturbed = evidence.record.disturbed
    count = disturbed.count if disturbed else 0
    yield Said(
        f"{plural(count, 'message')} went out late by more than a tenth of their latency (lateness p99 "
        f"{format_duration(evidence.p99('lateness'))}){_own_cause(evidence)}: that changes "
        f"{say_changes(evidence.late_changes)}. `service` excludes lateness. Lower --rate, or use more cores or idle "
        f"ones",
        _own_party(evidence),
    )


def _own_cause(evidence: Evidence) -> str:
    """Returns why this end was late, as a clause; empty if that is not known."""
    throttling, busiest = evidence.record.throttling, evidence.busiest
    if evidence.is_throttled and throttling:
        return f", because its CPU quota stopped it for {format_duration(throttling.throttled_ns)}"
    if evidence.is_busy:
        return f", because blast worker {busiest.index} was busy for {busiest.share:.0%} of its core"
    if 2 * evidence.standstill_share >= evidence.unsent_share > 0:
        return f", because {_standstills(evidence)}"
    delay = evidence.own_run_delay
    if delay.share > OWN_DELAY:
        return f", because {delay.worker} waited for a core for {delay.share:.0%} of the window"
    return ""


def _own_party(evidence: Evidence) -> Party:
    """Whose doing it is that this end was late or at its limit: ours, unless the machine kept its cores from us."""
    return "machine" if evidence.is_throttled or evidence.is_crowded_out else "loadkit"


def _crowded_out(evidence: Evidence) -> str:
    """Says, as a clause, that other processes had a worker's core; nothing where they had not."""
    delay = evidence.own_run_delay
    return (
        f" and {delay.worker} waited for a core for {delay.share:.0%} of the window" if evidence.is_crowded_out else ""
    )


def _blast_bound(evidence: Evidence) -> Iterator[Said]:
    if not evidence.is_busy or evidence.record.window is None:
        return
    index, share = evidence.busiest.index, evidence.busiest.share
    if not evidence.is_open_loop:
        yield Said(
            f"closed loop, and blast worker {index} was busy for {share:.0%} of its core{_crowded_out(evidence)}: the "
            f"replies/s are the limit of this end, and the target may do more. To judge latency, set --rate below that "
            f"figure; to find a maximum, give blast more cores",
            _own_party(evidence),
        )
    elif evidence.p99("held") > OWN_DELAY * evidence.p99("latency") and not _misses_rate(evidence):
        yield Said(
            f"messages waited for room on a connection (held p99 {format_duration(evidence.p99('held'))}) while blast "
            f"worker {index} was busy for {share:.0%} of its core{_crowded_out(evidence)}: either end may have caused "
            f"that wait. Lower --rate, or give this end more cores",
            _own_party(evidence),
        )


def _connect_bound(evidence: Evidence) -> Iterator[Said]:
    found = ramp_rate(evidence)
    asked_for = evidence.record.origins.is_given("connect_rate_hz")
    if found and found.is_ours and asked_for and found.share < 1 - OWN_DELAY:
        yield Said(
            f"connections opened at {format_rate(found.rate_hz)} of the requested {format_rate(found.asked_hz)}, while "
            f"the blast workers were busy for {found.busy:.0%} of a core: connects/s and `connect` show the limit of "
            f"this end. Lower --connect-rate, or give this end more cores",
            "loadkit",
        )


def _run_delay(evidence: Evidence) -> Iterator[Said]:
    """A worker that waited for a core: for other processes, or for the run's own workers, if no other rule says so."""
    delay = evidence.run_delay
    if delay.share <= OWN_DELAY or evidence.is_throttled:
        return
    start = f"{delay.worker} waited for a core for {delay.share:.0%} of the window: latency includes that wait."
    if delay.by_others > OWN_DELAY:
        yield Said(f"{start} Other processes ran there: stop them, or keep them off its core", "machine")
    elif not any(_shared_core(evidence)):
        workers, cores = evidence.crowd
        yield Said(
            f"{start} {workers} workers share {plural(cores, 'core')}: use fewer workers, or more cores", "loadkit"
        )


def _shared_core(evidence: Evidence) -> Iterator[Said]:
    server = evidence.record.server
    if not evidence.record.serve or not server:
        return
    cores = {core for placement in evidence.record.placements for core in placement.cores}
    shares: dict[int, float] = {}
    for worker in server.workers:
        if worker.core is not None and worker.core in cores:
            share = (worker.cpu_share or 0.0) / evidence.record.merged
            shares[worker.core] = shares.get(worker.core, 0.0) + share
    core, share = max(shares.items(), key=lambda one: one[1], default=(0, 0.0))
    if share > OWN_DELAY:
        yield Said(
            f"both ends run on core {core}, and the serve end used it for {min(share, 1.0):.0%} of the window: each "
            f"end delays the other. Give each end its own cores, or use two machines",
            "loadkit",
        )


def _dropped(evidence: Evidence) -> Iterator[Said]:
    for name, histogram in evidence.record.histograms.items():
        if histogram and histogram.dropped:
            yield Said(
                f"{plural(histogram.dropped, 'value')} of {name} were outside the histogram's range and are not in it: "
                f"its upper percentiles are too low. A longer --timeout extends the range",
                "loadkit",
            )


RULES: tuple[Rule, ...] = (
    Rule("worker-died", "invalid", "a blast worker ended early", ("loadkit", "machine"), _worker_died),
    Rule(
        "no-window",
        "invalid",
        "the run ended before its measured time began",
        ("request", "target", "network", "machine"),
        _no_window,
    ),
    Rule("nothing-due", "invalid", "no message was due in the measured time", ("request",), _nothing_due),
    Rule(
        "exhausted",
        "invalid",
        "more than 1 % of the connections lacked a port, a file descriptor or memory of this machine",
        ("machine",),
        _exhausted,
    ),
    Rule(
        "no-replies",
        "invalid",
        "connections opened, but no correct reply came",
        ("target", "network", "machine"),
        _no_replies,
    ),
    Rule(
        "incomplete",
        "invalid",
        "more than 1 % of the connections missing, most of them from the start",
        ("target", "network", "machine", "request"),
        _incomplete,
    ),
    Rule(
        "connections-lost",
        "invalid",
        "more than 1 % of the connections missing; most of them broke during the measured time",
        ("target", "network", "machine"),
        _lost,
    ),
    Rule(
        "connects-failed",
        "invalid",
        "churn: more than 1 % of the connects failed",
        ("target", "network", "machine"),
        _connects_failed,
    ),
    Rule(
        "stranded",
        "invalid",
        "churn ended by --messages alone: no connection could be opened for longer than --timeout",
        ("target", "network", "machine"),
        _stranded,
    ),
    Rule(
        "rate-missed",
        "invalid",
        "open loop: more than 1 % of the messages never sent, because the target left no room",
        ("target",),
        _rate_missed,
    ),
    Rule(
        "saturated",
        "invalid",
        "open loop: more than 1 % of the messages never sent, and a blast worker busy for 95 % of its core",
        ("loadkit", "machine"),
        _saturated,
    ),
    Rule(
        "schedule-missed",
        "invalid",
        "open loop: more than 1 % of the messages never sent, because this end was late, stood still or was throttled",
        ("loadkit", "machine"),
        _schedule_missed,
    ),
    Rule("cut-short", "invalid", "the workers ended their traffic by themselves", ("loadkit",), _cut_short),
    Rule("does-not-add-up", "invalid", "counters contradict one another", ("loadkit",), _does_not_add_up),
    Rule(
        "throttled",
        "suspect",
        "a CPU quota stopped this end for 10 % of the window, or made it late or stand still",
        ("machine",),
        _throttled,
    ),
    Rule(
        "stood-still",
        "suspect",
        "standstills of a blast worker change a percentile of latency, or a closed loop's time, by more than 10 %",
        ("loadkit", "machine"),
        _stood_still,
    ),
    Rule(
        "late",
        "suspect",
        "messages sent late change a percentile of latency by more than 10 %",
        ("loadkit", "machine"),
        _late,
    ),
    Rule(
        "blast-bound",
        "suspect",
        "a blast worker busy for 95 % of its core, in a closed loop or while messages waited for room",
        ("loadkit", "machine"),
        _blast_bound,
    ),
    Rule(
        "connect-bound",
        "suspect",
        "less than 90 % of --connect-rate reached, with the blast workers of a core busy for 95 % of the ramp",
        ("loadkit",),
        _connect_bound,
    ),
    Rule(
        "run-delay",
        "suspect",
        "a worker waited for its core for 10 % of the window",
        ("machine", "loadkit"),
        _run_delay,
    ),
    Rule(
        "shared-core",
        "suspect",
        "both ends on one core, the serve end for 10 % of the window",
        ("loadkit",),
        _shared_core,
    ),
    Rule("dropped-samples", "suspect", "values outside the range of a histogram", ("loadkit",), _dropped),
)
