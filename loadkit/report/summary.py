"""What a record comes to, in a line each: the headline, the load, what came of it.

Every output format says these in the same words.
"""

from __future__ import annotations

from loadkit.errors import OptionError
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind
from loadkit.report.conditions import parse_condition
from loadkit.report.record import Aborted, Finding, Messages, RunRecord, SloRecord
from loadkit.report.selector import shown
from loadkit.report.slo import parse_slo
from loadkit.units import (
    NS_PER_S,
    format_count,
    format_duration,
    format_rate,
    format_ratio,
    format_share,
    format_size,
    plural,
)
from loadkit.wire.render import Order

__all__ = [
    "aborted_line",
    "bytes_line",
    "complaints",
    "connections_line",
    "crowd_line",
    "finding_line",
    "headline",
    "load_line",
    "lost_line",
    "measured_line",
    "messages_line",
    "seed_text",
    "slo_margin",
    "slo_value",
    "standstills_line",
    "tags_line",
    "target_line",
]


def headline(record: RunRecord) -> str:
    """Returns the verdict and the figures that readers need first, and how many objectives were missed."""
    errors, missed = sum(row.count for row in record.errors), sum(not slo.ok for slo in record.slo)
    times = [f"{part} {text}" for part in ("p50", "p99", "p99.9") if (text := shown(record, f"latency.{part}"))]
    replies = f"{shown(record, 'replies_per_s') or 'no measured'} replies"
    state = f"{record.verdict.state}, partial" if record.partial else record.verdict.state
    latency = f"latency {' '.join(times)}" if times else ""
    objectives = f"{plural(missed, 'SLO')} missed" if missed else ""
    return f"{state}: {', '.join(filter(None, (replies, latency, plural(errors, 'error'), objectives)))}"


def target_line(record: RunRecord) -> str:
    """Returns where the connections went."""
    target = record.target
    is_named = target.host != target.addresses[0]
    name = "embedded server on " if target.embedded else f"{target.host} = " if is_named else ""
    return f"{name}{target.span}, port {record.port}" if record.port else f"{name}{target.span}"


def load_line(record: RunRecord) -> str:
    """Returns whether the loop was open, the requested and the achieved rate, and what was sent."""
    load = record.load
    triggering = " (edge-triggered)" if any(one.edge_triggered for one in record.placements) else ""
    about = " (approximate)" if load.is_approximate else ""
    replies = "" if load.echoes else f", replies {load.expect}{about}"
    shape = f"{_messages_of(record)}{replies}, depth {load.depth}, {record.tool.engine}{triggering}"
    rates = _hold_rates(record)
    if not rates:
        pauses = f" with pauses of {load.think} ({seed_text(load)})" if load.think else ""
        return (
            f"closed loop{pauses}, {shape}: each message waits for the reply before it, which hides stalls of the "
            f"server; use -R to judge latency"
        )
    low, high = min(map(min, rates)), max(map(max, rates))
    asked = format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"
    drawn = f" (Poisson, {seed_text(load)})" if load.is_random else ""
    sent = "nothing measured"
    if record.window and record.window.measured_ns:
        sent = f"{format_rate(record.window.sent * NS_PER_S / record.window.measured_ns)} sent"
    each = " of each run" if record.merged > record.in_a_row else ""  # the others ran side by side with it
    return f"open loop at {asked} requested{each}{drawn}, {sent}; {shape}"


def seed_text(load: Load) -> str:
    """Names the seed of a load; runs that were merged may have had different ones."""
    return "seeds of their own" if load.seed is None else f"seed {load.seed}"


def _messages_of(record: RunRecord) -> str:
    """Returns what was sent. If the lengths of messages differ, the mean is that of the messages of the window."""
    load, window = record.load, record.window
    if load.pool is None:
        return f"{format_size(load.size_bytes)} messages"
    what = f"messages of {load.sizes}" if load.sizes else f"messages of {plural(len(load.send), 'text')}"
    if len(load.send) > 1:
        what += " in turn" if load.order is Order.TURN else " at random"
    facts = []
    if window and window.sent:
        # Of a schedule, the first message of a connection is none of those that are counted.
        facts.append(f"mean {format_size(window.sent_bytes / (window.sent + window.opened * load.is_timed))}")
    if load.pool.is_random and not load.is_random:  # else the arrivals name it
        facts.append(seed_text(load))
    return f"{what} ({', '.join(facts)})" if facts else what


def crowd_line(record: RunRecord) -> str | None:
    """Returns why there are more workers than cores; None if there are not."""
    limit = record.host.get("nofile_hard")
    files = f"the limit is {format_count(limit)} files per process" if limit else "the limit of files per process"
    is_asked = record.origins.is_given("workers")
    why_blast = "as --workers asks" if is_asked else files
    ends = [("blast", one.workers, one.cores, why_blast) for one in record.placements]
    ends += [("serve", one.serve.workers, one.serve.cores, files) for one in record.placements if one.serve]
    crowded: dict[str, list[str]] = {}
    for end, count, cores, why in ends:
        if 0 < len(cores) < count:
            crowded.setdefault(why, []).append(f"{count} to {end} on {plural(len(cores), 'core')}")
    return "; ".join(f"{', '.join(counts)}: {why}" for why, counts in crowded.items()) or None


def connections_line(record: RunRecord) -> str:
    """Returns how many of the requested connections opened, and how fast."""
    connections = record.connections
    peak, rate = "-" if connections.peak is None else format_count(connections.peak), shown(record, "connects_per_s")
    return (
        f"{shown(record, 'opened')} opened of {format_count(connections.asked)} requested, "
        f"{shown(record, 'failed_connects')} failed, peak {peak}{f', at {rate}' if rate else ''}"
    )


def messages_line(record: RunRecord) -> str:
    """Returns what became of the messages of the window."""
    return ", ".join(f"{shown(record, name)} {name}" for name in Messages.__struct_fields__)


def lost_line(record: RunRecord) -> str | None:
    """Returns what the percentiles of the tables leave out; None if every message came back."""
    messages = record.messages
    lost = messages.intended - messages.replied
    if lost <= 0:
        return None
    return (
        f"{format_count(lost)} of {plural(messages.intended, 'message')} did not come back (error_ratio "
        f"{shown(record, 'error_ratio')}), so no percentile here has them; the first line and the SLOs count them as "
        f"late"
    )


def tags_line(record: RunRecord) -> str | None:
    """Returns the tags of the run, and those that not all of the merged runs have; None if there are no tags."""
    said = ", ".join(f"{key}={value}" for key, value in record.tags.items())
    lost = ", ".join(record.tags_missing)
    return "; ".join(filter(None, (said, lost and f"not the same in all runs: {lost}"))) or None


def standstills_line(record: RunRecord) -> str | None:
    """Returns how often the blast workers stood still in the measured time, and how long; None if they did not."""
    stood = record.standstills
    if stood is None or not stood.count or stood.longest_ns is None or stood.longest_at_ns is None:
        return None
    return (
        f"{format_count(stood.count)} in the blast workers, {format_duration(stood.sum_ns)} in total; longest "
        f"{format_duration(stood.longest_ns)} (worker {stood.worker}, {format_duration(stood.longest_at_ns)} after the "
        f"start)"
    )


def finding_line(finding: Finding) -> str:
    """Returns a finding in one line: that it is a finding, its party, and its text."""
    return f"finding {finding.code} ({finding.party}): {finding.text}"


def bytes_line(record: RunRecord) -> str | None:
    """Returns the bytes per second each way; None if nothing was measured."""
    sent, received = shown(record, "sent_bytes_per_s"), shown(record, "received_bytes_per_s")
    return f"{sent} sent, {received} received" if sent and received else None


def measured_line(record: RunRecord) -> str | None:
    """Returns how long the run measured, and in which phases; None if it measured nothing."""
    if record.window is None:
        return None
    runs = f" in {record.merged} runs" if record.merged > 1 else ""
    names = ", ".join(phase.name for phase in record.phases if phase.kind == "hold")
    by = record.interrupted or ("--abort-on" if record.aborted else None)
    early = f", {by} ended it early" if by else ""
    return f"{format_duration(record.window.measured_ns)}{runs} ({names}){early}"


def aborted_line(record: RunRecord) -> str | None:
    """Returns which condition ended the run early, when, and by how much it was met; None if no condition did."""
    return "; ".join(map(_met, record.aborted)) or None


def _met(aborted: Aborted) -> str:
    what, span, value = "its figure", "", f"never ({aborted.reason or 'it did not come back'})"
    if aborted.value is not None:
        value = f"{aborted.value:,}"  # of a later loadkit, which knows figures that this one does not
    try:
        condition = parse_condition(aborted.expr)
    except OptionError:
        pass
    else:
        what, span = condition.figure.name, " so far" if condition.for_ns is None else " in the last second"
        value = value if aborted.value is None else condition.figure.unit.shown(aborted.value)
    return f"{aborted.expr} was met {format_duration(aborted.at_ns)} after the start: {what}{span} was {value}"


def complaints(record: RunRecord) -> list[str]:
    """Returns why a run is not valid, and which objectives it missed, one line each; empty for a good run."""
    verdict = record.verdict
    reasons = [f"{verdict.state}: {reason.code}: {reason.text}" for reason in verdict.reasons]
    return reasons + [f"SLO missed: {slo.expr} ({slo_value(slo)})" for slo in record.slo if not slo.ok]


def slo_value(slo: SloRecord) -> str:
    """Returns what an objective's figure came to, in its unit, or why it has no value."""
    if slo.value is None:
        return slo.reason or "not measured"
    try:
        return parse_slo(slo.expr).figure.unit.shown(slo.value)
    except OptionError:
        return f"{slo.value:,}"  # a figure that only a later loadkit knows


def slo_margin(slo: SloRecord) -> str:
    """Returns how far an objective's figure is from its bound: `62 % below`, `80 x`; nothing where it is not known."""
    try:
        bound = parse_slo(slo.expr).bound
    except OptionError:
        return ""
    if slo.value is None or not bound or slo.value == bound:
        return ""
    if slo.value >= 2 * bound:
        return f"{format_ratio(slo.value / bound)} x"
    return f"{format_share(abs(slo.value - bound) / bound)} {'below' if slo.value < bound else 'above'}"


def _hold_rates(record: RunRecord) -> list[tuple[float, float]]:
    return [phase.rate_hz for phase in record.load.phases if phase.kind is PhaseKind.HOLD and phase.rate_hz]
