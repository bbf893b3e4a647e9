"""Why this end was late or at its limit, in words, and whose doing that was: what several rules say in the same way."""

from __future__ import annotations

from loadkit.report.evidence import Evidence
from loadkit.report.evidence.workers import OWN_DELAY
from loadkit.report.record import Party
from loadkit.units import format_count, format_duration, times

__all__ = ["own_party", "say_busy", "say_own_cause", "say_standstills"]


def own_party(evidence: Evidence) -> Party:
    """Returns whose doing it is that this end was late or at its limit: ours, or the machine's that kept its cores."""
    return "machine" if evidence.cores.is_throttled or evidence.cores.is_crowded_out else "loadkit"


def say_own_cause(evidence: Evidence) -> str:
    """Returns why this end was late, as a clause; empty if that is not known."""
    throttling, workers, cores = evidence.record.throttling, evidence.workers, evidence.cores
    if cores.is_throttled and throttling:
        return f", because its CPU quota stopped it for {format_duration(throttling.throttled_ns)}"
    if workers.is_busy:
        return f", because blast worker {workers.busiest.index} was busy for {workers.busiest.share:.0%} of its core"
    if 2 * workers.standstill_share >= evidence.messages.unsent_share > 0:
        return f", because {say_standstills(evidence)}"
    delay = cores.own_run_delay
    if delay.share > OWN_DELAY:
        return f", because {delay.worker} waited for a core for {delay.share:.0%} of the window"
    return ""


def say_busy(evidence: Evidence) -> str:
    """Says how busy the busiest blast worker was, and that other processes had its core if they had."""
    busiest, delay = evidence.workers.busiest, evidence.cores.own_run_delay
    text = f"blast worker {busiest.index} was busy for {busiest.share:.0%} of its core"
    if not evidence.cores.is_crowded_out:
        return text
    return f"{text} and {delay.worker} waited for a core for {delay.share:.0%} of the window"


def say_standstills(evidence: Evidence) -> str:
    """Says which worker stood still, how often, how long, and the longest when."""
    stood = evidence.record.standstills
    if stood is None or stood.worker is None:
        return "a blast worker stood still"
    worker, count, sum_ns = evidence.workers.stood_most, stood.count, stood.sum_ns
    if worker and worker.standstills is not None and worker.standstill_ns is not None and evidence.record.merged == 1:
        count, sum_ns = worker.standstills, worker.standstill_ns
    others = f" ({format_count(stood.count - count)} more in other workers)" if stood.count > count else ""
    longest = ""
    if stood.longest_ns is not None and stood.longest_at_ns is not None:
        at = f"{format_duration(stood.longest_at_ns)} after the start"
        longest = f", at {at}" if count == 1 else f", the longest {format_duration(stood.longest_ns)} at {at}"
    return f"blast worker {stood.worker} stood still {times(count)}, for {format_duration(sum_ns)}{longest}{others}"
