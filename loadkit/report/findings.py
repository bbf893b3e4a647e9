"""What the target, the network or the machine did with what it was offered. Never a matter of the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from loadkit.report.disturbed import say_changes
from loadkit.report.evidence import BUSY, MISSING, OWN_DELAY, Evidence, broke, cause_of
from loadkit.report.record import Balance, Finding, Party, RunRecord
from loadkit.report.rules import Rule, Said
from loadkit.units import NS_PER_S, format_count, format_duration, format_rate, plural

__all__ = ["FINDINGS", "RampRate", "machine_findings", "ramp_rate"]

# Messages without a reply, of those sent, from which on the percentiles are those of the lucky ones.
FAILED = 0.001
# A hash spreads n connections over workers with a scatter of sqrt(n): at 100 per worker, 1.25 is 2.5 of them.
UNEVEN = 1.25
ENOUGH_TO_BALANCE = 100
# Replies this much slower than half of them, and this slow: a pause, not a queue.
STALLED, STALLED_NS = 10, 50_000_000
# The kernel sends a SYN or its answer again after a second (RFC 6298, section 2.1), less its timer's grain.
RETRY_NS = 900_000_000
# Less than this part of the asked connect rate is another rate.
ENOUGH_RATE = 0.95
# A ramp's end is seen with the last first reply in it, and a busy machine's timer: less than this is not told apart.
RAMP_SLACK_NS = 50_000_000


def _has_waited(evidence: Evidence) -> bool:
    """Whether messages waited for room, while we had time to spare, and neither stood still nor wanted a core."""
    record, messages = evidence.record, evidence.record.messages
    waited = messages.waited - (record.stood or 0)
    return (
        evidence.is_open_loop
        and evidence.has_time
        and not evidence.is_throttled
        and waited > MISSING * messages.intended
        and evidence.unsent_share <= MISSING
        and evidence.p99("held") > OWN_DELAY * evidence.p99("latency")
        and not evidence.can_be_wait_for_a_core(evidence.p99("held"))
    )


def _is_being_replaced(evidence: Evidence) -> bool:
    """Whether messages waited no longer than churn takes to open a connection and have its first reply."""
    return evidence.is_churn and evidence.p99("held") <= evidence.p99("connect") + evidence.p99("first_byte")


def _peer_behind(evidence: Evidence) -> Iterator[Said]:
    """Messages waited for room that the target was to make."""
    if _has_waited(evidence) and not _is_being_replaced(evidence):
        messages = evidence.record.messages
        yield Said(
            f"{format_count(messages.waited)} of {plural(messages.intended, 'message')} waited for room on a "
            f"connection (held p99 {format_duration(evidence.p99('held'))}), while this end had time to spare: the "
            f"target is slower than the rate, or paused. Latency includes the wait. More --connections or --depth make "
            f"room",
            "target",
        )


def _all_replaced(evidence: Evidence) -> Iterator[Said]:
    """Messages waited for room because all connections were busy or being opened again, as --lifetime asks."""
    if _has_waited(evidence) and _is_being_replaced(evidence):
        messages = evidence.record.messages
        yield Said(
            f"{format_count(messages.waited)} of {plural(messages.intended, 'message')} waited for a connection "
            f"that was being reopened (held p99 {format_duration(evidence.p99('held'))}, no longer than a reopening "
            f"takes). Latency includes the wait. More --connections or a longer --lifetime leave one open",
            "request",
        )


def _target_stalled(evidence: Evidence) -> Iterator[Said]:
    """The highest supported percentile is far above the median, and no disturbance of ours explains it."""
    percentiles = evidence.latency.percentiles
    known = [name for name, value in percentiles.items() if value is not None]
    median = percentiles["50"]
    is_ours = evidence.changes or evidence.is_throttled or evidence.run_delay.share > OWN_DELAY or evidence.is_busy
    if not median or not known or is_ours or any(_peer_behind(evidence)):
        return
    top = known[-1]
    slowest = percentiles[top] or 0
    if top != "50" and slowest > max(STALLED_NS, STALLED * median):
        yield Said(
            f"latency p{top} is {format_duration(slowest)} and p50 is {format_duration(median)}, while this end was on "
            f"time: the target, or the path to it, paused. Check the target's log, its garbage collection, and "
            f"retransmissions",
            "target",
        )


def _messages_lost(evidence: Evidence) -> Iterator[Said]:
    """What was under way when a signal or a worker's death cut the run might have been replied to."""
    record, messages = evidence.record, evidence.record.messages
    is_cut = record.interrupted is not None or any(worker.died for worker in record.workers)
    lost = messages.failed + (0 if is_cut else messages.unanswered)
    if lost <= FAILED * messages.sent:
        return
    rows = sorted(broke(evidence.rows(is_setup=False)), key=lambda row: -row.count)
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.error] += row.count
    names = ", ".join(f"{name} {format_count(count)}" for name, count in counts.most_common(3))
    found = cause_of(rows)
    yield Said(
        f"{format_count(lost)} of {format_count(messages.sent)} messages got no reply{f' ({names})' if names else ''} "
        f"and are in no histogram: the percentiles describe the other messages. The errors say what to do",
        found[1] if found else "target",
    )


def _connections_missing(evidence: Evidence) -> Iterator[Said]:
    missing = evidence.missing
    if not 0 < missing.share <= MISSING or evidence.is_exhausted:
        return
    found = cause_of(broke(evidence.rows(is_setup=False)) if missing.lost else evidence.rows(is_setup=True))
    yield Said(
        f"{format_count(missing.at_start + missing.lost)} of {format_count(missing.asked)} connections were missing "
        f"for all or part of the measured time{f': {found[0]}' if found else ''}. The load was slightly smaller than "
        f"requested",
        found[1] if found else "request",
    )


def _server_restarted(evidence: Evidence) -> Iterator[Said]:
    server = evidence.record.server
    if server and server.restarts:
        how = ", ".join(sorted({worker.died for worker in server.workers if worker.died}))
        yield Said(
            f"the serve end lost and replaced {plural(server.restarts, 'worker')}{f' ({how})' if how else ''}: "
            f"connections broke, and its CPU figures are incomplete",
            "target",
        )


def _server_shed(evidence: Evidence) -> Iterator[Said]:
    server = evidence.record.server
    if server and server.shed:
        yield Said(
            f"the serve end ran out of file descriptors and could not accept {plural(server.shed, 'connection')}: "
            f"raise its limit (ulimit -n), or use more serve workers",
            "target",
        )


def _uneven(evidence: Evidence) -> Iterator[Said]:
    server, serve = evidence.record.server, evidence.record.serve
    if not server or not server.balance or server.accepted < ENOUGH_TO_BALANCE * len(server.workers):
        return
    if serve and serve.is_apart:
        return  # each has addresses of its own, and a ramp cut short leaves the last ones without
    if server.balance.max_over_mean > UNEVEN:
        yield Said(
            f"the busiest serve worker accepted {server.balance.max_over_mean:.2f} x the mean: it sets the upper "
            f"percentiles while others are idle. {_luck(server.balance)}",
            "target",
        )


def _luck(balance: Balance) -> str:
    if balance.usual is None or balance.max_over_mean <= balance.usual:
        return "A fair hash does that with so few connections. More connections or more sources spread better"
    return (
        f"Chance does not explain it: a fair hash stays below {balance.usual:.2f} x in 99 of 100 runs. Did a worker "
        f"start to listen late, or do the connections come from few addresses and ports?"
    )


def _target_run_delay(evidence: Evidence) -> Iterator[Said]:
    """A serve end that was joined from elsewhere; an embedded one's wait is this machine's."""
    server = evidence.record.server
    if not server or evidence.record.serve:
        return
    share, index = max(((worker.run_delay_share or 0.0, worker.index) for worker in server.workers), default=(0.0, 0))
    if share > OWN_DELAY:
        yield Said(
            f"serve worker {index} waited for a core for {share:.0%} of its time: use fewer workers than cores there, "
            f"or stop other work on that machine",
            "target",
        )


@dataclass(frozen=True, slots=True)
class RampRate:
    """The rate at which the first connections opened, beside the one asked for.

    `busy` is the part of the ramp in which the busiest core's blast workers had work.
    """

    asked_hz: float
    rate_hz: float
    busy: float | None

    @property
    def share(self) -> float:
        """The part of the asked rate that came."""
        return self.rate_hz / self.asked_hz

    @property
    def is_ours(self) -> bool:
        """Whether a core of ours had no time left."""
        return self.busy is not None and self.busy >= BUSY


def ramp_rate(evidence: Evidence) -> RampRate | None:
    """Returns the connect rate of the ramp if it was missed; None if it was kept, or if another rule says why not.

    The last connection's own time is no part of the ramp's: the least of all is taken off. The others have in theirs
    how late they were begun, so with a middle value a rate that was missed would pass for one that was kept.
    """
    record, asked = evidence.record, (evidence.load.connect_rate_hz or 0.0) * evidence.at_once
    found = record.opening if evidence.is_churn or not record.connecting else record.connecting
    if not found or not asked or record.window is None or evidence.is_smaller or evidence.is_exhausted:
        return None
    if record.opening and record.opening.stopped:
        return None
    histograms = (record.histograms["connect"], record.histograms["first_byte"])
    last_ns = sum(one.min or 0 for one in histograms if one)
    span_ns = found.duration_ns - min(last_ns, found.duration_ns)
    if span_ns <= found.opened / asked * NS_PER_S + RAMP_SLACK_NS:
        return None
    rate_hz = found.opened * NS_PER_S / span_ns
    if rate_hz >= ENOUGH_RATE * asked:
        return None
    return RampRate(asked, rate_hz, _ramp_busy(record))


def _ramp_busy(record: RunRecord) -> float | None:
    """Adds up the workers of a core: they take turns at opening. Of several runs it is their mean."""
    cores: dict[int, float] = {}
    for worker in record.workers:
        if worker.ramp_busy_share is not None:
            core = -1 - worker.index if worker.core is None else worker.core
            cores[core] = cores.get(core, 0.0) + worker.ramp_busy_share / record.merged
    return min(1.0, max(cores.values())) if cores else None


def _connect_rate_missed(evidence: Evidence) -> Iterator[Said]:
    found = ramp_rate(evidence)
    if found is None:
        return
    start = f"connections opened at {format_rate(found.rate_hz)} of the requested {format_rate(found.asked_hz)}"
    wait = "`connect` includes that wait"
    if found.is_ours:
        if (
            not evidence.record.origins.is_given("connect_rate_hz") or found.share >= 1 - OWN_DELAY
        ):  # else the verdict says it
            yield Said(
                f"{start}: the blast workers of a core were busy for {found.busy:.0%} of that time. {wait}", "loadkit"
            )
        return
    if evidence.is_crowded_out:
        yield Said(f"{start}, while other processes kept a blast worker from its core. {wait}", "machine")
        return
    busy = "" if found.busy is None else f" (at most {found.busy:.0%} busy)"
    yield Said(
        f"{start}, while this end had time to spare{busy}: connects or first replies waited for the target. {wait}. "
        f"Lower --connect-rate, or use more accepting workers there",
        "target",
    )


def _slightly_late(evidence: Evidence) -> Iterator[Said]:
    if evidence.noise:
        yield Said(
            f"messages sent late change {say_changes(evidence.noise)}, by less than 1 ms: timers, wake-ups and other "
            f"work of this machine take that long. `service` excludes lateness",
            "machine",
        )


def _few_samples(evidence: Evidence) -> Iterator[Said]:
    latency = evidence.latency
    if latency.count and latency.percentiles["99"] is None:
        yield Said(
            f"{plural(latency.count, 'reply')} cannot support a p99, which needs 1,000. Raise --duration or --rate to "
            f"get one",
            "request",
        )


def machine_findings(record: RunRecord) -> Iterator[Finding]:
    """Yields what the kernel's counters and TCP_INFO say: kernel.py, tcp.py.

    The counters are of all traffic of this machine: what no connection of this run can have met is not its target's.
    """
    for finding in record.kernel.findings if record.kernel else ():
        if finding.party == "target" and not _can_be_ours(finding.code, record):
            text = f"{finding.text}. No connection of this run met that: it is other traffic of this machine"
            yield Finding(finding.code, text, "machine")
        else:
            yield finding
    yield from record.tcp.findings if record.tcp else ()


def _can_be_ours(code: str, record: RunRecord) -> bool:
    """A refused connect fails; one that met a full queue fails, or opens or gets its first byte a second later."""
    if record.connections.failed:
        return True
    histograms = (record.histograms["connect"], record.histograms["first_byte"])
    slowest = max(((one.max or 0) for one in histograms if one), default=0)
    return code != "attempt-fails" and (slowest >= RETRY_NS or code == "syn-cookies")


_ANY_ERROR: tuple[Party, ...] = ("target", "network", "machine")

FINDINGS: tuple[Rule, ...] = (
    Rule("messages-lost", "finding", "more than 0.1 % of the messages sent got no reply", _ANY_ERROR, _messages_lost),
    Rule(
        "peer-behind",
        "finding",
        "open loop: more than 1 % of the messages waited for room, for more than a tenth of latency p99",
        ("target",),
        _peer_behind,
    ),
    Rule(
        "all-replaced",
        "finding",
        "the same in churn, but no longer than a connection takes to open and get its first reply",
        ("request",),
        _all_replaced,
    ),
    Rule(
        "target-stalled",
        "finding",
        "the slowest replies took 50 ms and ten times the median, while this end was on time",
        ("target",),
        _target_stalled,
    ),
    Rule(
        "connections-missing",
        "finding",
        "at most 1 % of the connections missing",
        (*_ANY_ERROR, "request"),
        _connections_missing,
    ),
    Rule(
        "connect-rate-missed",
        "finding",
        "connections opened at less than 95 % of the connect rate",
        ("target", "loadkit", "machine"),
        _connect_rate_missed,
    ),
    Rule("server-restarted", "finding", "loadkit's own serve end lost workers", ("target",), _server_restarted),
    Rule("server-shed", "finding", "loadkit's own serve end ran out of file descriptors", ("target",), _server_shed),
    Rule("uneven", "finding", "a serve worker accepted more than 1.25 times the mean", ("target",), _uneven),
    Rule(
        "target-run-delay",
        "finding",
        "a joined serve end's worker waited for its core for 10 % of the time",
        ("target",),
        _target_run_delay,
    ),
    Rule(
        "slightly-late",
        "finding",
        "messages sent late change a percentile of latency by more than 10 %, but by less than 1 ms",
        ("machine",),
        _slightly_late,
    ),
    Rule("few-samples", "finding", "too few replies for a p99", ("request",), _few_samples),
)
