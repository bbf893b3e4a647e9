"""Rules about the target: that it paused, and what loadkit's own serve end knows of itself."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.report.evidence import Evidence
from loadkit.report.evidence.workers import OWN_DELAY
from loadkit.report.record import Balance
from loadkit.report.rules.rule import Said, rule
from loadkit.units import format_duration, plural

__all__ = ["server_restarted", "server_shed", "target_run_delay", "target_stalled", "uneven"]

# Replies this much slower than half of them, and this slow: a pause, not a queue.
STALLED, STALLED_NS = 10, 50_000_000
# A hash spreads n connections over workers with a scatter of sqrt(n): at 100 per worker, 1.25 is 2.5 of them.
UNEVEN = 1.25
ENOUGH_TO_BALANCE = 100


@rule(
    "target-stalled",
    "finding",
    "the slowest replies took 50 ms and ten times the median, while this end was on time",
    "target",
)
def target_stalled(evidence: Evidence) -> Iterator[Said]:
    """The highest supported percentile is far above the median, and no disturbance of ours explains it."""
    percentiles, median = evidence.workers.latency.percentiles, evidence.workers.latency.percentiles["50"]
    known = [name for name, value in percentiles.items() if value is not None]
    if not median or not known or _is_ours(evidence) or _is_waiting_for_room(evidence):
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


def _is_ours(evidence: Evidence) -> bool:
    workers, cores = evidence.workers, evidence.cores
    return bool(workers.changes) or cores.is_throttled or cores.run_delay.share > OWN_DELAY or workers.is_busy


def _is_waiting_for_room(evidence: Evidence) -> bool:
    """Whether `peer-behind` says it."""
    return evidence.messages.has_waited and not evidence.messages.is_being_replaced


# -- loadkit's own serve end


@rule("server-restarted", "finding", "loadkit's own serve end lost workers", "target")
def server_restarted(evidence: Evidence) -> Iterator[Said]:
    server = evidence.record.server
    if server and server.restarts:
        how = ", ".join(sorted({worker.died for worker in server.workers if worker.died}))
        yield Said(
            f"the serve end lost and replaced {plural(server.restarts, 'worker')}{f' ({how})' if how else ''}: "
            f"connections broke, and its CPU figures are incomplete",
            "target",
        )


@rule("server-shed", "finding", "loadkit's own serve end ran out of file descriptors", "target")
def server_shed(evidence: Evidence) -> Iterator[Said]:
    server = evidence.record.server
    if server and server.shed:
        yield Said(
            f"the serve end ran out of file descriptors and could not accept {plural(server.shed, 'connection')}: "
            f"raise its limit (ulimit -n), or use more serve workers",
            "target",
        )


@rule("uneven", "finding", "a serve worker accepted more than 1.25 times the mean", "target")
def uneven(evidence: Evidence) -> Iterator[Said]:
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


@rule(
    "target-run-delay",
    "finding",
    "a joined serve end's worker waited for its core for 10 % of the time",
    "target",
)
def target_run_delay(evidence: Evidence) -> Iterator[Said]:
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
