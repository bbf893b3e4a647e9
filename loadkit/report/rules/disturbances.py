"""Rules about our own disturbances: what this end did to the figures, by its own doing or by its machine's."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.report.disturbed import say_changes
from loadkit.report.evidence import Evidence
from loadkit.report.evidence.workers import OWN_DELAY
from loadkit.report.kernel import STOLEN
from loadkit.report.record import Party
from loadkit.report.rules.ours import own_party, say_busy, say_own_cause, say_standstills
from loadkit.report.rules.rule import Said, rule
from loadkit.units import format_count, format_duration, plural

__all__ = [
    "blast_bound",
    "dropped_samples",
    "late",
    "run_delay",
    "shared_core",
    "slightly_late",
    "stood_still",
    "throttled",
    "worker_died",
]


# -- a worker that ended


@rule("worker-died", "invalid", "a blast worker ended early", "loadkit", "machine")
def worker_died(evidence: Evidence) -> Iterator[Said]:
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
    """Returns what can be said of a worker's end beyond its own words. The parent kills one that hung: run/local.py."""
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


# -- stopped, or late


@rule(
    "throttled",
    "suspect",
    "a CPU quota stopped this end for 10 % of the window, or made it late or stand still",
    "machine",
)
def throttled(evidence: Evidence) -> Iterator[Said]:
    throttling, changes = evidence.record.throttling, evidence.workers.changes
    if evidence.cores.is_throttled and throttling:
        changed = f"That changes {say_changes(changes)}. " if changes else ""
        yield Said(
            f"its control group's CPU quota stopped this end in {format_count(throttling.throttled_periods)} of "
            f"{format_count(throttling.periods)} periods, for {format_duration(throttling.throttled_ns)} of the "
            f"{format_duration(evidence.asked.span_ns)} measured. {changed}Raise the quota (docker --cpus, CPUQuota=, "
            f"resources.limits.cpu), use fewer workers, or lower --rate",
            "machine",
        )


@rule(
    "stood-still",
    "suspect",
    "standstills of a blast worker change a percentile of latency, or a closed loop's time, by more than 10 %",
    "loadkit",
    "machine",
)
def stood_still(evidence: Evidence) -> Iterator[Said]:
    workers, cores = evidence.workers, evidence.cores
    slows_loop = not evidence.asked.is_open_loop and workers.standstill_share > OWN_DELAY
    changes = workers.standstill_changes
    if cores.is_throttled or workers.has_long_turns or not (changes or slows_loop):
        return
    effects = []
    if changes:
        effects.append(f"that changes {say_changes(changes)}")
    if slows_loop:
        effects.append(f"{workers.standstill_share:.0%} of the workers' time is missing in the replies/s")
    steal = f" The host took {cores.stolen:.1%} of this machine's CPU time." if cores.stolen > STOLEN else ""
    wait_ns = cores.standstill_wait_ns
    wait = f" It waited {format_duration(wait_ns)} for its core while other processes ran there." if wait_ns else ""
    yield Said(
        f"{say_standstills(evidence)}: {', and '.join(effects)}.{steal}{wait} Keep other work off its core, and run it "
        f"again",
        "machine" if steal or wait else "loadkit",
    )


@rule(
    "late",
    "suspect",
    "messages sent late change a percentile of latency by more than 10 %",
    "loadkit",
    "machine",
)
def late(evidence: Evidence) -> Iterator[Said]:
    """Messages that this end sent late, if no other rule names the cause, which says what that changes."""
    changes, cores = evidence.workers.late_changes, evidence.cores
    is_saturated = evidence.messages.misses_rate and evidence.workers.is_busy
    if not changes or cores.is_throttled or cores.makes_late or is_saturated:
        return
    disturbed = evidence.record.disturbed
    count = disturbed.count if disturbed else 0
    yield Said(
        f"{plural(count, 'message')} went out late by more than a tenth of their latency (lateness p99 "
        f"{format_duration(evidence.messages.p99('lateness'))}){say_own_cause(evidence)}: that changes "
        f"{say_changes(changes)}. `service` excludes lateness. Lower --rate, or use more cores or idle ones",
        own_party(evidence),
    )


@rule(
    "slightly-late",
    "finding",
    "messages sent late change a percentile of latency by more than 10 %, but by less than 1 ms",
    "machine",
)
def slightly_late(evidence: Evidence) -> Iterator[Said]:
    noise = evidence.workers.noise
    if noise:
        yield Said(
            f"messages sent late change {say_changes(noise)}, by less than 1 ms: timers, wake-ups and other work of "
            f"this machine take that long. `service` excludes lateness",
            "machine",
        )


# -- at its limit, or without a core


@rule(
    "blast-bound",
    "suspect",
    "a blast worker busy for 95 % of its core, in a closed loop or while messages waited for room",
    "loadkit",
    "machine",
)
def blast_bound(evidence: Evidence) -> Iterator[Said]:
    messages = evidence.messages
    if not evidence.workers.is_busy or evidence.record.window is None:
        return
    if not evidence.asked.is_open_loop:
        yield Said(
            f"closed loop, and {say_busy(evidence)}: the replies/s are the limit of this end, and the target may do "
            f"more. To judge latency, set --rate below that figure; to find a maximum, give blast more cores",
            own_party(evidence),
        )
    elif messages.is_held and not messages.misses_rate:
        yield Said(
            f"messages waited for room on a connection (held p99 {format_duration(messages.p99('held'))}) while "
            f"{say_busy(evidence)}: either end may have caused that wait. Lower --rate, or give this end more cores",
            own_party(evidence),
        )


@rule("run-delay", "suspect", "a worker waited for its core for 10 % of the window", "machine", "loadkit")
def run_delay(evidence: Evidence) -> Iterator[Said]:
    """A worker that waited for a core: for other processes, or for the run's own workers, if no other rule says so."""
    cores = evidence.cores
    delay = cores.own_run_delay if cores.makes_late else cores.run_delay
    if delay.share <= OWN_DELAY or cores.is_throttled:
        return
    start = f"{delay.worker} waited for a core for {delay.share:.0%} of the window: latency includes that wait"
    if delay.by_others > OWN_DELAY:
        yield Said(f"{start}{_lateness(evidence)}. Other processes ran there{_others(evidence)}", "machine")
    elif not (cores.shared and cores.shared.is_disturbing):
        workers, count = cores.crowd
        yield Said(
            f"{start}{_lateness(evidence)}. {workers} workers share {plural(count, 'core')}: use fewer workers, or "
            f"more cores",
            "loadkit",
        )


def _lateness(evidence: Evidence) -> str:
    """Says what messages changed that were late because of a wait for a core; empty if there were none."""
    return f", which changes {say_changes(evidence.workers.late_changes)}" if evidence.cores.makes_late else ""


def _others(evidence: Evidence) -> str:
    """Says what to do about processes that had a worker's core: one of them may be the target."""
    if not evidence.cores.has_unknown_target:
        return ": stop them, or keep them off its core"
    return ", and the target on this machine may be one of them: give each end cores of its own, and stop the others"


@rule("shared-core", "suspect", "both ends on one core, the serve end for 10 % of the window", "loadkit")
def shared_core(evidence: Evidence) -> Iterator[Said]:
    shared, cores = evidence.cores.shared, evidence.cores
    if shared and shared.is_disturbing:
        changes = "" if cores.is_crowded_out else _lateness(evidence)  # `run-delay` says it of other processes
        yield Said(
            f"both ends run on core {shared.core}, and the serve end used it for {min(shared.share, 1.0):.0%} of "
            f"{'the window' if evidence.record.serve else 'its time'}: each end delays the other{changes}. Give each "
            f"end its own cores, or use two machines",
            "loadkit",
        )


# -- values that are nowhere


@rule("dropped-samples", "suspect", "values outside the range of a histogram", "loadkit")
def dropped_samples(evidence: Evidence) -> Iterator[Said]:
    for name, histogram in evidence.record.histograms.items():
        if histogram and histogram.dropped:
            yield Said(
                f"{plural(histogram.dropped, 'value')} of {name} were outside the histogram's range and are not in it: "
                f"its upper percentiles are too low. A longer --timeout extends the range",
                "loadkit",
            )
