"""Rules about the messages: whether all that were due were sent and answered, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from loadkit.report.evidence import Evidence
from loadkit.report.evidence.asked import MISSING
from loadkit.report.evidence.connections import broke, cause_of
from loadkit.report.evidence.messages import OurCause
from loadkit.report.record import Advised, Messages
from loadkit.report.rules.ours import own_party, say_busy, say_own_cause
from loadkit.report.rules.rule import ANY_ERROR, Said, rule
from loadkit.units import format_count, format_duration, plural

__all__ = [
    "all_replaced",
    "cut_short",
    "does_not_add_up",
    "few_samples",
    "messages_lost",
    "no_replies",
    "nothing_due",
    "peer_behind",
    "rate_missed",
    "saturated",
    "schedule_missed",
]

# A window that is shorter than this part of the planned one ended by itself.
_WHOLE = 0.99
# If more than this part of the messages sent got no reply, the percentiles are those of the lucky ones.
FAILED = 0.001


# -- sent, or not


@rule("nothing-due", "invalid", "no message was due in the measured time", "request")
def nothing_due(evidence: Evidence) -> Iterator[Said]:
    record, connections = evidence.record, evidence.connections
    if record.window is None or record.messages.intended or connections.is_silent or connections.is_stranded:
        return
    span = format_duration(evidence.asked.span_ns)
    start = f"no message was due in the {span} measured, so there is nothing to report"
    if evidence.asked.is_open_loop:
        yield Said(f"{start}. Raise --rate or --duration", "request")
    elif not connections.is_smaller:
        yield Said(f"{start}. Raise --duration or --messages", "request")


@rule(
    "rate-missed",
    "invalid",
    "open loop: more than 1 % of the messages never sent, because the target left no room",
    "target",
)
def rate_missed(evidence: Evidence) -> Iterator[Said]:
    if evidence.messages.misses_rate and not evidence.messages.unsent_by_us:
        yield Said(
            f"{_unsent(evidence)} were never sent: they waited for room on a connection (held p99 "
            f"{format_duration(evidence.messages.p99('held'))}), while this end had time to spare. The target is "
            f"slower than the rate. Lower --rate; or raise --connections or --depth if the target can serve more at "
            f"once",
            "target",
        )


@rule(
    "saturated",
    "invalid",
    "open loop: more than 1 % of the messages never sent, and a blast worker busy for 95 % of its core",
    "loadkit",
    "machine",
)
def saturated(evidence: Evidence) -> Iterator[Said]:
    if evidence.messages.misses_rate and evidence.workers.is_busy:
        yield Said(
            f"{_unsent(evidence)} were never sent, and {say_busy(evidence)}: this end is at its limit. "
            f"{_ask_for_less(evidence)}, "
            f"or give it more cores",
            own_party(evidence),
        )


@rule(
    "schedule-missed",
    "invalid",
    "open loop: more than 1 % of the messages never sent, because this end was late, stood still or was throttled",
    "loadkit",
    "machine",
)
def schedule_missed(evidence: Evidence) -> Iterator[Said]:
    """Messages that were due and not sent, or not even seen, if neither the target nor a full core explains it."""
    if not evidence.messages.misses_rate:
        yield from _never_due(evidence)
    elif evidence.messages.unsent_by_us and not evidence.workers.is_busy:
        yield Said(
            f"{_unsent(evidence)} were never sent{_why_unsent(evidence)}: this end fell behind its schedule"
            f"{say_own_cause(evidence)}. {_ask_for_less(evidence)}, use more --workers, or use an idle machine",
            own_party(evidence),
        )


def _why_unsent(evidence: Evidence) -> str:
    """Says what shows that this end left messages unsent; nothing if that is the cause that is named behind it."""
    messages = evidence.messages
    match messages.unsent_by_us:
        case OurCause.BUSY:
            return ", and this end had no time to spare"
        case OurCause.LATE:
            late, held = (format_duration(messages.p99(name)) for name in ("lateness", "held"))
            return f", and messages were late (lateness p99 {late}) for longer than they waited for room (p99 {held})"
        case OurCause.FEW_WAITED:
            waited = plural(evidence.record.messages.waited, "message")
            return f", and the target did not hold them up: {waited} waited for room"
    return ""


def _ask_for_less(evidence: Evidence) -> str:
    return "Lower --rate" if evidence.asked.is_open_loop else "Use fewer --connections, or a longer --think"


def _never_due(evidence: Evidence) -> Iterator[Said]:
    asked, messages = evidence.asked, evidence.record.messages
    is_whole = asked.span_ns >= _WHOLE * asked.planned_ns
    # Each worker's share of each phase is rounded.
    slack = len(evidence.record.workers) * len(asked.holds) + asked.random_slack
    if not asked.is_open_loop or asked.is_cut or not is_whole or not messages.intended:
        return
    if messages.intended < (1 - MISSING) * asked.planned_messages - slack:
        yield Said(
            f"only {format_count(messages.intended)} of the {format_count(asked.planned_messages)} scheduled messages "
            f"became due: this end fell behind its schedule{say_own_cause(evidence)}. Lower --rate, or use an idle "
            f"machine",
            own_party(evidence),
        )


def _unsent(evidence: Evidence) -> str:
    messages = evidence.record.messages
    return f"{format_count(messages.unsent)} of {format_count(messages.intended)} messages"


@rule("cut-short", "invalid", "the workers ended their traffic by themselves", "loadkit")
def cut_short(evidence: Evidence) -> Iterator[Said]:
    asked, connections = evidence.asked, evidence.connections
    if asked.is_cut or connections.is_smaller or connections.is_silent:
        return
    if 0 < asked.span_ns < _WHOLE * asked.planned_ns:
        yield Said(
            f"measured {format_duration(asked.span_ns)} of {format_duration(asked.planned_ns)}: the workers ended "
            f"their traffic early, so the rates are not those of the requested run. This is a bug of loadkit; please "
            f"report it with this record",
            "loadkit",
        )


@rule("does-not-add-up", "invalid", "counters contradict one another", "loadkit")
def does_not_add_up(evidence: Evidence) -> Iterator[Said]:
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


# -- answered, or not


@rule("no-replies", "invalid", "connections opened, but no correct reply came", *ANY_ERROR)
def no_replies(evidence: Evidence) -> Iterator[Said]:
    """Nothing came back at all, though the connections opened; if they did not, others speak."""
    if not evidence.connections.is_silent:
        return
    found = cause_of([row for row in evidence.record.errors if row.step != "close"])
    cause, party = found or ("no connection broke, so the target hangs, or waits for another protocol", "target")
    yield Said(
        f"{plural(evidence.messages.sent, 'message')} got no correct reply, so there is no latency to report: {cause}",
        party,
    )


@rule("messages-lost", "finding", "more than 0.1 % of the messages sent got no reply", *ANY_ERROR)
def messages_lost(evidence: Evidence) -> Iterator[Said]:
    """What was under way when a signal, a condition or a worker's death cut the run might have been replied to."""
    record, messages = evidence.record, evidence.record.messages
    is_cut = record.interrupted is not None or record.aborted or any(worker.died for worker in record.workers)
    lost = messages.failed + (0 if is_cut else messages.unanswered)
    if lost <= FAILED * messages.sent or evidence.connections.is_silent:
        return
    # A message fails with its connection. One that is merely unanswered has no error.
    rows = broke(evidence.connections.errors(is_setup=False)) if messages.failed else ()
    found = cause_of(rows)
    yield Said(
        f"{format_count(lost)} of {format_count(messages.sent)} messages got no reply and are in no histogram: the "
        f"percentiles describe the other messages. {_how_they_ended(rows) if rows else _UNANSWERED}",
        found[1] if found else "target",
    )


_UNANSWERED = "They were still unanswered when the run ended; a longer --timeout waits longer"


def _how_they_ended(rows: Sequence[Advised]) -> str:
    counts = Counter[str]()
    for row in rows:
        counts[row.error] += row.count
    ended = ", ".join(f"{format_count(count)} by {name}" for name, count in counts.most_common(3))
    return f"Connections ended with an error: {ended}; the errors say what to do"


@rule("few-samples", "finding", "too few replies for a p99", "request")
def few_samples(evidence: Evidence) -> Iterator[Said]:
    latency, asked = evidence.workers.latency, evidence.asked
    more = "--messages" if asked.load.messages else "--duration or --rate" if asked.is_open_loop else "--duration"
    if latency.count and latency.percentiles["99"] is None:
        yield Said(
            f"{plural(latency.count, 'reply')} cannot support a p99, which needs 1,000. Raise {more} to get one",
            "request",
        )


# -- waiting for room


@rule(
    "peer-behind",
    "finding",
    "open loop: more than 1 % of the messages waited for room, for more than a tenth of latency p99",
    "target",
)
def peer_behind(evidence: Evidence) -> Iterator[Said]:
    """Messages waited for room that the target was to make."""
    if evidence.messages.has_waited and not evidence.messages.is_being_replaced:
        yield Said(
            f"{_waited(evidence)} waited for room on a connection (held p99 "
            f"{format_duration(evidence.messages.p99('held'))}), while this end had time to spare: the target is "
            f"slower than the rate, or paused. Latency includes the wait. More --connections or --depth make room",
            "target",
        )


@rule(
    "all-replaced",
    "finding",
    "the same in churn, but no longer than a connection takes to open and get its first reply",
    "request",
)
def all_replaced(evidence: Evidence) -> Iterator[Said]:
    """Messages waited for room because all connections were busy or being opened again, as --lifetime asks."""
    if evidence.messages.has_waited and evidence.messages.is_being_replaced:
        yield Said(
            f"{_waited(evidence)} waited for a connection that was being reopened (held p99 "
            f"{format_duration(evidence.messages.p99('held'))}, no longer than a reopening takes). Latency includes "
            f"the wait. More --connections or a longer --lifetime leave one open",
            "request",
        )


def _waited(evidence: Evidence) -> str:
    messages = evidence.record.messages
    return f"{format_count(messages.waited)} of {plural(messages.intended, 'message')}"
