"""Whether a run can be trusted. Suspect ourselves first.

Each rule looks at the record and yields nothing, or a reason: what was seen with its number, why it matters, what to
do. A run is invalid when any of INVALID speaks, else suspect when any of SUSPECT does, else valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loadkit.measure.samples import RunSamples
from loadkit.plan.model import PhaseKind, Plan
from loadkit.report.record import STATES, Balance, Messages, Reason, RunRecord, Verdict, WorkerRecord, measured
from loadkit.report.scale import stall_cause
from loadkit.units import NS_PER_S, format_count, format_duration, format_rate

__all__ = ["BY_TARGET", "judge"]

# What makes a run invalid, and is the target's doing: not this machine's, nor loadkit's.
BY_TARGET = ("connections-lost", "no-replies")

# A worker that is on its core, or waits for it, this much of the window has no time left to be on time.
BUSY = 0.95
# Fewer connections than this part of the asked make another experiment; a few missing ones a footnote.
ENOUGH_CONNECTIONS = 0.99
# Lateness that is no longer noise of a timer and a wake-up (tens of us to a few hundred on a virtual machine).
LATE_NS = 10_000_000
SLIGHTLY_LATE_NS = 1_000_000
# A schedule of which more than this was never sent was not kept.
UNSENT = 0.01
FAILED = 0.001
# Time runnable but not running, by the window: the machine was out of CPU.
RUN_DELAY = 0.10
# Less than this part of the asked rate is another rate (nighthawk fails a run on the same ground).
ENOUGH_RATE = 0.95
# A hash spreads n connections over workers with a scatter of sqrt(n): at 100 a worker, 1.25 is 2.5 of them.
UNEVEN = 1.25
ENOUGH_TO_BALANCE = 100


@dataclass(frozen=True, slots=True)
class _Case:
    record: RunRecord
    plan: Plan
    samples: RunSamples

    @property
    def span_ns(self) -> int:
        return self.record.window.measured_ns if self.record.window else 0

    def busiest(self) -> tuple[int, float]:
        """The blast worker with the least time to spare, and the part of the window it had work for."""
        shares = [(worker.index, _work_share(worker)) for worker in self.record.workers]
        return max(shares, key=lambda share: share[1], default=(0, 0.0))

    def lateness_p99(self) -> int:
        """The worst of all where there are too few for a p99: then one late message is already 1 %."""
        lateness = self.record.histograms["lateness"]
        if lateness is None:
            return 0
        p99 = lateness.percentiles["99"]
        return (lateness.max or 0) if p99 is None else p99

    def is_held(self) -> bool:
        """Whether messages had to wait for the server, which then explains what was late or never sent."""
        return self.record.messages.waited > UNSENT * self.record.messages.intended

    def is_saturated(self) -> bool:
        """Whether an open loop's own worker had no time left, and did not keep the schedule: the delay is ours."""
        messages = self.record.messages
        missed = self.lateness_p99() > LATE_NS or messages.unsent > UNSENT * messages.intended
        return self.plan.open_loop and self.busiest()[1] >= BUSY and missed

    def missed_rate(self) -> tuple[float, float] | None:
        """(asked, sent) messages per second, when what was sent is another rate than what was asked for."""
        asked, messages = self.plan.asked_rate_hz, self.record.messages
        if not asked or not self.span_ns or self.record.partial or self.plan.messages is not None:
            return None
        sent = messages.sent * NS_PER_S / self.span_ns
        return (asked, sent) if sent < ENOUGH_RATE * asked else None


Rule = Callable[[_Case], Iterator[Reason]]


def judge(record: RunRecord, plan: Plan, samples: RunSamples) -> Verdict:
    """Returns the verdict on a run."""
    case = _Case(record, plan, samples)
    against = [reason for rule in INVALID for reason in rule(case)]
    doubts = [reason for rule in SUSPECT for reason in rule(case)]
    return Verdict(STATES[2 if against else 1 if doubts else 0], (*against, *doubts))


# -- invalid


def _worker_died(case: _Case) -> Iterator[Reason]:
    for end in case.samples.ends:
        if end.died:
            # A worker that hung was killed by the parent: run/local.py.
            cause = (
                "stopped, or starved of CPU?" if "hung" in end.died else "look for the kernel's OOM killer in `dmesg`"
            )
            writing = "; it was writing, so its figures may be off by one batch" if end.mid_fold else ""
            yield Reason(
                "worker-died",
                f"blast worker {end.index} (pid {end.pid}) ended before its time: {end.died}{writing}. What it had "
                f"recorded is here, its share of the load is missing; {cause}",
            )


def _interrupted(case: _Case) -> Iterator[Reason]:
    if case.samples.interrupted:
        yield Reason(
            "interrupted",
            f"{case.samples.interrupted} ended the run early: the figures are of what was done by then, not of the run "
            f"that was asked for. Run it again to the end, or with a shorter --duration",
        )


def _incomplete(case: _Case) -> Iterator[Reason]:
    missing, asked = _missing(case)
    if missing > asked * (1 - ENOUGH_CONNECTIONS) and not _is_cut_in_ramp(case):
        yield Reason(
            "incomplete",
            f"stalled at {format_count(asked - missing)} of {format_count(asked)}: {_cause(case)}. A smaller "
            f"experiment than the one asked for, and the figures are its; `loadkit doctor -c {asked}` has the sums",
        )


def _lost(case: _Case) -> Iterator[Reason]:
    """Outside churn a connection that breaks is not opened again: what follows is a smaller load than was asked for."""
    lost = sum(row.count for row in case.record.errors if row.step in ("send", "receive"))
    asked = case.plan.connections
    if case.plan.lifetime_ns is None and lost > asked * (1 - ENOUGH_CONNECTIONS):
        yield Reason(
            "connections-lost",
            f"{format_count(lost)} of {format_count(asked)} connections broke during the run, and the load went on "
            f"without them: a smaller load than was asked for. The errors say how; look in the server's log",
        )


def _no_replies(case: _Case) -> Iterator[Reason]:
    if case.record.window is None:
        if _is_cut_in_ramp(case):
            return  # `interrupted` has said it
        yield Reason(
            "no-window",
            "the run ended before its measured phase began: there is nothing to read but the ramp. Let it run longer, "
            "or raise --connect-rate so that the ramp takes less",
        )
    elif not case.record.messages.replied and (case.record.messages.intended or not case.plan.open_loop):
        yield Reason(
            "no-replies",
            f"not one reply came to {format_count(case.record.messages.intended)} messages of the measured phase: "
            "there is no latency to read. Is the target an echo server, and is it up?",
        )


def _saturated(case: _Case) -> Iterator[Reason]:
    if case.is_saturated():
        index, share = case.busiest()
        yield Reason(
            "saturated",
            f"blast worker {index} had work for {share:.0%} of its core and sent late (lateness p99 "
            f"{format_duration(case.lateness_p99())}, {format_count(case.record.messages.unsent)} never sent): the "
            f"latency is this end's own. Lower --rate, or give it more cores",
        )


def _schedule_missed(case: _Case) -> Iterator[Reason]:
    """Messages that were due and not sent, when neither the server nor a missing connection explains it: it is us."""
    missed = case.missed_rate()
    if missed is None or case.is_held() or case.is_saturated() or case.record.errors or _missing(case)[0]:
        return
    yield Reason(
        "schedule-missed",
        f"{format_rate(missed[1])} were sent of {format_rate(missed[0])} asked for, and the server did not hold them "
        f"up: this end did not keep the schedule. Lower --rate, use more --workers, or stop what else runs here",
    )


def _cut_short(case: _Case) -> Iterator[Reason]:
    planned = sum(phase.duration_ns for phase in case.plan.phases if phase.kind is PhaseKind.HOLD)
    if case.plan.messages is None and not case.record.partial and 0 < case.span_ns < 0.99 * planned:
        yield Reason(
            "cut-short",
            f"measured {format_duration(case.span_ns)} of {format_duration(planned)}: the workers ended their traffic "
            f"early, so the rates are not of the run asked for. The errors say why; if there are none, it is our bug",
        )


def _dropped(case: _Case) -> Iterator[Reason]:
    for name, histogram in case.record.histograms.items():
        if histogram and histogram.dropped:
            yield Reason(
                "dropped-samples",
                f"{format_count(histogram.dropped)} values of {name} lay outside the histogram and are not in it: its "
                f"upper percentiles are too low. A longer --timeout makes it reach further",
            )


def _does_not_add_up(case: _Case) -> Iterator[Reason]:
    for phase in case.record.phases:
        messages = phase.messages
        if not _adds_up(messages):
            yield Reason(
                "does-not-add-up",
                f"messages of phase {phase.name}: intended {messages.intended} = sent {messages.sent} + unsent "
                f"{messages.unsent}, sent = replied {messages.replied} + failed {messages.failed} + unanswered "
                f"{messages.unanswered} does not hold: a bug of loadkit's; please report it with this record",
            )


def _adds_up(messages: Messages) -> bool:
    whole = messages.replied + messages.failed + messages.unanswered
    return messages.intended == messages.sent + messages.unsent and messages.sent == whole


# -- suspect


def _few_missing(case: _Case) -> Iterator[Reason]:
    missing, asked = _missing(case)
    if 0 < missing <= asked * (1 - ENOUGH_CONNECTIONS):
        yield Reason(
            "connections-missing",
            f"{format_count(missing)} of {format_count(asked)} connections were never open at the same time as the "
            f"others: {_cause(case)}. The load was a little less than asked for; `loadkit doctor -c {asked}` has the "
            f"arithmetic",
        )


def _blast_bound(case: _Case) -> Iterator[Reason]:
    index, share = case.busiest()
    if not case.plan.open_loop and share >= BUSY:
        yield Reason(
            "blast-bound",
            f"closed loop, and blast worker {index} had work for {share:.0%} of its core: the replies/s are what this "
            f"end can do, the server may do more. Use --rate below it to judge latency, or more cores for a maximum",
        )


def _peer_behind(case: _Case) -> Iterator[Reason]:
    messages = case.record.messages
    if case.plan.open_loop and case.is_held() and not case.is_saturated():
        yield Reason(
            "peer-behind",
            f"{format_count(messages.intended)} messages were due; {format_count(messages.waited)} times one waited "
            f"for an earlier reply, {format_count(messages.unsent)} were never sent: the server is slower than the "
            f"rate, or stalled. The latency counts the wait; for more room use more connections, or --depth",
        )


def _late(case: _Case) -> Iterator[Reason]:
    late, latency = case.lateness_p99(), measured(case.record.histograms, "latency").percentiles["50"] or 0
    if not case.plan.open_loop or case.is_held() or case.is_saturated():
        return
    if late > SLIGHTLY_LATE_NS and late > 0.1 * latency:
        yield Reason(
            "late",
            f"1 % of the messages went out {format_duration(late)} late or more, where the latency p50 is "
            f"{format_duration(latency)}: the upper percentiles of latency are partly this end's own. Compare "
            f"`service`, which leaves it out; a lower --rate or an idle core mends it",
        )


def _out_of_cpu(case: _Case) -> Iterator[Reason]:
    serve: tuple[WorkerRecord, ...] = case.record.server.workers if case.record.server else ()
    for end, workers in (("blast", case.record.workers), ("serve", serve)):
        delays = [(worker.run_delay_share or 0.0, worker.index) for worker in workers]
        share, index = max(delays, default=(0.0, 0))
        if share > RUN_DELAY:
            yield Reason(
                "run-delay",
                f"{end} worker {index} waited for a core {share:.0%} of the window: the latency counts that wait. "
                f"Something else runs there, or there are more workers than cores: stop it, or use fewer workers",
            )


def _few_samples(case: _Case) -> Iterator[Reason]:
    latency = measured(case.record.histograms, "latency")
    if latency.count and latency.percentiles["99"] is None:
        yield Reason(
            "few-samples",
            f"{format_count(latency.count)} replies do not support a p99 (1,000 do): one unlucky message would be it. "
            f"A longer --duration, or a higher rate",
        )


def _failed(case: _Case) -> Iterator[Reason]:
    messages = case.record.messages
    lost = messages.failed + messages.unanswered
    if lost > FAILED * messages.sent:
        yield Reason(
            "messages-lost",
            f"{format_count(lost)} of {format_count(messages.sent)} messages have no reply and are in no histogram: "
            f"read the percentiles as those of the lucky ones, and the errors for what to mend",
        )


def _rate_missed(case: _Case) -> Iterator[Reason]:
    missed = case.missed_rate()
    if missed:
        yield Reason(
            "rate-missed",
            f"{format_rate(missed[1])} were sent of {format_rate(missed[0])} asked for: the figures are of the lower "
            f"rate. Ask for a rate that both ends keep, or give the slower end more cores",
        )


def _server_died(case: _Case) -> Iterator[Reason]:
    server = case.record.server
    if server and server.restarts:
        how = ", ".join(sorted({worker.died for worker in server.workers if worker.died}))
        yield Reason(
            "server-restarted",
            f"{format_count(server.restarts)} serve workers died and were replaced{f' ({how})' if how else ''}: their "
            f"connections broke off, and the CPU figures of that end miss a part. Look for the cause in `dmesg`",
        )


def _shed(case: _Case) -> Iterator[Reason]:
    server = case.record.server
    if server and server.shed:
        yield Reason(
            "server-shed",
            f"the serve end could not accept {format_count(server.shed)} connections for want of file descriptors: it "
            f"held fewer than asked. Raise its limit (ulimit -n), or use more serve workers",
        )


def _uneven(case: _Case) -> Iterator[Reason]:
    server = case.record.server
    if not server or not server.balance or server.accepted < ENOUGH_TO_BALANCE * len(server.workers):
        return
    if case.plan.serve and case.plan.serve.is_apart:
        return  # each has addresses of its own, and a ramp cut short leaves the last ones without
    if server.balance.max_over_mean > UNEVEN:
        yield Reason(
            "uneven",
            f"the busiest serve worker accepted {server.balance.max_over_mean:.2f} x the mean: it sets the upper "
            f"percentiles while others idle. {_luck(server.balance)}",
        )


def _luck(balance: Balance) -> str:
    if balance.usual is None or balance.max_over_mean <= balance.usual:
        return "With so few connections a fair hash does that: more connections or more sources spread better"
    return (
        f"That is no bad luck, a fair hash gives {balance.usual:.2f} x at most in 99 of 100 runs: did a worker begin "
        f"to listen late, or do the connections come from few addresses and ports?"
    )


def _shared_core(case: _Case) -> Iterator[Reason]:
    serve = case.plan.serve
    if serve and set(serve.cores) & set(case.plan.cores):
        cores = ", ".join(str(core) for core in sorted(set(serve.cores) & set(case.plan.cores)))
        yield Reason(
            "shared-core",
            f"both ends run on core {cores}: each one's time is the other's delay. Give them cores of their own, or "
            f"use two machines",
        )


def _is_cut_in_ramp(case: _Case) -> bool:
    """Whether a signal ended the run before its window: connections that were not begun by then are no finding."""
    return case.samples.interrupted is not None and case.record.window is None


def _missing(case: _Case) -> tuple[int, int]:
    """How many of the connections that were to be open at once never were, and how many that is of."""
    asked = case.plan.connections
    return max(0, asked - (case.record.connections.peak or 0)), asked


def _cause(case: _Case) -> str:
    return stall_cause(case.record.errors, case.samples.stopped_opening)


INVALID: tuple[Rule, ...] = (
    _worker_died,
    _interrupted,
    _no_replies,
    _incomplete,
    _lost,
    _saturated,
    _schedule_missed,
    _cut_short,
    _dropped,
    _does_not_add_up,
)
SUSPECT: tuple[Rule, ...] = (
    _few_missing,
    _blast_bound,
    _peer_behind,
    _late,
    _rate_missed,
    _out_of_cpu,
    _failed,
    _server_died,
    _shed,
    _uneven,
    _few_samples,
    _shared_core,
)


def _work_share(worker: WorkerRecord) -> float:
    """The part of the window a worker had work for: as it counted itself, else what it ran or wanted to run."""
    if worker.busy_share is not None:
        return worker.busy_share
    return (worker.cpu_share or 0.0) + (worker.run_delay_share or 0.0)
