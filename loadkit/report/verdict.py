"""Whether a run can be trusted. Suspect ourselves first.

Each rule looks at the record and yields nothing, or a reason: what was seen with its number, why it matters, what to
do. A run is invalid when any of INVALID speaks, else suspect when any of SUSPECT does, else valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loadkit.measure.samples import RunSamples
from loadkit.plan.model import PhaseKind, Plan
from loadkit.report.record import Messages, Reason, RunRecord, Verdict
from loadkit.units import format_count, format_duration, format_rate

__all__ = ["judge"]

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


@dataclass(frozen=True, slots=True)
class _Case:
    record: RunRecord
    plan: Plan
    samples: RunSamples

    @property
    def span_ns(self) -> int:
        window = self.record.window
        return window.end_ns - window.start_ns if window else 0

    def busiest(self) -> tuple[int, float]:
        """The blast worker with the least time to spare, and the part of the window it had work for."""
        if not self.span_ns:
            return 0, 0.0
        shares = [
            (worker.index, ((worker.cpu_ns or 0) + (worker.run_delay_ns or 0)) / self.span_ns)
            for worker in self.record.workers
        ]
        return max(shares, key=lambda share: share[1])

    def lateness_p99(self) -> int:
        return self.record.histograms["lateness"].percentiles["99"] or self.record.histograms["lateness"].max or 0


Rule = Callable[[_Case], Iterator[Reason]]


def judge(record: RunRecord, plan: Plan, samples: RunSamples) -> Verdict:
    """Returns the verdict on a run."""
    case = _Case(record, plan, samples)
    for state, rules in (("invalid", INVALID), ("suspect", SUSPECT)):
        reasons = tuple(reason for rule in rules for reason in rule(case))
        if reasons:
            more = () if state == "suspect" else tuple(reason for rule in SUSPECT for reason in rule(case))
            return Verdict(state, reasons + more)
    return Verdict("valid")


# -- invalid


def _worker_died(case: _Case) -> Iterator[Reason]:
    for end in case.samples.ends:
        if end.died:
            writing = "; it was writing, so its figures may be off by one batch" if end.mid_fold else ""
            yield Reason(
                "worker-died",
                f"blast worker {end.index} (pid {end.pid}) ended before its time: {end.died}{writing}. What it had "
                f"recorded is here, its share of the load is missing; look for the kernel's OOM killer in `dmesg`",
            )


def _interrupted(case: _Case) -> Iterator[Reason]:
    if case.samples.interrupted:
        yield Reason(
            "interrupted", f"{case.samples.interrupted} ended the run early: the figures are of what was done by then"
        )


def _incomplete(case: _Case) -> Iterator[Reason]:
    missing, asked = _missing(case)
    if missing > asked * (1 - ENOUGH_CONNECTIONS):
        yield Reason("incomplete", f"{_missing_text(missing, asked)}; the errors below say why")


def _lost(case: _Case) -> Iterator[Reason]:
    """Outside churn a connection that breaks is not opened again: what follows is a smaller load than was asked for."""
    lost = sum(row.count for row in case.record.errors if row.step in ("send", "receive"))
    asked = case.plan.connections
    if case.plan.lifetime_ns is None and lost > asked * (1 - ENOUGH_CONNECTIONS):
        yield Reason(
            "connections-lost",
            f"{format_count(lost)} of {format_count(asked)} connections broke during the run, and the load went on "
            f"without them; the errors below say how",
        )


def _no_replies(case: _Case) -> Iterator[Reason]:
    if case.record.window is None:
        yield Reason(
            "no-window", "the run ended before its measured phase began: there is nothing to read but the ramp"
        )
    elif not case.record.messages.replied and (case.record.messages.intended or not case.plan.open_loop):
        yield Reason("no-replies", "not one reply came in the measured phase: is the target an echo server?")


def _saturated(case: _Case) -> Iterator[Reason]:
    """An open loop whose own worker had no time left, and did not keep the schedule: the delay is ours."""
    if not case.plan.open_loop:
        return
    index, share = case.busiest()
    messages = case.record.messages
    late = case.lateness_p99()
    if share >= BUSY and (late > LATE_NS or messages.unsent > UNSENT * messages.intended):
        yield Reason(
            "saturated",
            f"blast worker {index} had work for {share:.0%} of its core and sent late (lateness p99 "
            f"{format_duration(late)}, {format_count(messages.unsent)} never sent): the latency is this end's own. "
            f"Lower --rate, or give it more cores",
        )


def _cut_short(case: _Case) -> Iterator[Reason]:
    planned = sum(phase.duration_ns for phase in case.plan.phases if phase.kind is PhaseKind.HOLD)
    if case.plan.messages is None and not case.record.partial and 0 < case.span_ns < 0.99 * planned:
        yield Reason("cut-short", f"measured {format_duration(case.span_ns)} of {format_duration(planned)}")


def _dropped(case: _Case) -> Iterator[Reason]:
    for name, histogram in case.record.histograms.items():
        if histogram.dropped:
            yield Reason(
                "dropped-samples",
                f"{format_count(histogram.dropped)} values of {name} lay outside the histogram and are not in it",
            )


def _does_not_add_up(case: _Case) -> Iterator[Reason]:
    for name, messages in [("the window", case.record.messages), *((p.name, p.messages) for p in case.record.phases)]:
        if not _adds_up(messages):
            yield Reason(
                "does-not-add-up",
                f"messages of {name}: intended {messages.intended} = sent {messages.sent} + unsent {messages.unsent}, "
                f"sent = replied {messages.replied} + failed {messages.failed} + unanswered {messages.unanswered} does "
                f"not hold: a bug of loadkit's; please report it with this record",
            )


def _adds_up(messages: Messages) -> bool:
    whole = messages.replied + messages.failed + messages.unanswered
    return messages.intended == messages.sent + messages.unsent and messages.sent == whole


# -- suspect


def _few_missing(case: _Case) -> Iterator[Reason]:
    missing, asked = _missing(case)
    if 0 < missing <= asked * (1 - ENOUGH_CONNECTIONS):
        yield Reason("connections-missing", _missing_text(missing, asked))


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
    if not case.plan.open_loop or case.busiest()[1] >= BUSY:
        return
    if messages.unsent > UNSENT * messages.intended or messages.held > UNSENT * messages.intended:
        yield Reason(
            "peer-behind",
            f"{format_count(messages.held)} of {format_count(messages.intended)} messages waited for an earlier reply, "
            f"{format_count(messages.unsent)} were never sent: the server is slower than the rate, or stalled. Their "
            f"latency counts the wait; for more room use more connections, or --depth",
        )


def _late(case: _Case) -> Iterator[Reason]:
    messages = case.record.messages
    late, latency = case.lateness_p99(), case.record.histograms["latency"].percentiles["99"] or 0
    held = messages.held > UNSENT * messages.intended
    if case.plan.open_loop and not held and late > SLIGHTLY_LATE_NS and late > 0.1 * latency:
        yield Reason(
            "late",
            f"1 % of the messages went out {format_duration(late)} late or more, of a latency p99 of "
            f"{format_duration(latency)}: part of it is this end's own. Compare `service`, which leaves it out",
        )


def _out_of_cpu(case: _Case) -> Iterator[Reason]:
    for end, workers in (("blast", case.record.workers), ("serve", case.record.server and case.record.server.workers)):
        delays = [(worker.index, (worker.run_delay_ns or 0) / case.span_ns) for worker in workers or () if case.span_ns]
        if not delays:
            continue
        index, share = max(delays, key=lambda delay: delay[1])
        if share > RUN_DELAY:
            yield Reason(
                "run-delay",
                f"{end} worker {index} waited for a core {share:.0%} of the window: something else runs there, or "
                f"there are more workers than cores. Stop it, or use fewer workers",
            )


def _few_samples(case: _Case) -> Iterator[Reason]:
    latency = case.record.histograms["latency"]
    if latency.count and latency.percentiles["99"] is None:
        yield Reason(
            "few-samples",
            f"{format_count(latency.count)} replies do not support a p99 (1,000 do): a longer --duration or a "
            f"higher rate",
        )


def _failed(case: _Case) -> Iterator[Reason]:
    messages = case.record.messages
    lost = messages.failed + messages.unanswered
    if lost > FAILED * messages.sent:
        yield Reason(
            "messages-lost",
            f"{format_count(lost)} of {format_count(messages.sent)} messages have no reply and are in no histogram: "
            f"read the percentiles as those of the lucky ones",
        )


def _rate_missed(case: _Case) -> Iterator[Reason]:
    asked, got = case.plan.asked_rate_hz, case.record.rates.replies_per_s
    if asked and got is not None and got < 0.95 * asked and not case.record.partial and case.plan.messages is None:
        yield Reason("rate-missed", f"{format_rate(got)} replied of {format_rate(asked)} asked for")


def _shared_core(case: _Case) -> Iterator[Reason]:
    serve = case.plan.serve
    if serve and set(serve.cores) & set(case.plan.cores):
        yield Reason("shared-core", "both ends share a core: each one's time is the other's delay. Use two machines")


def _missing(case: _Case) -> tuple[int, int]:
    """How many of the connections that were to be open at once never were, and how many that is of."""
    asked = case.plan.connections
    return max(0, asked - (case.record.connections.peak or 0)), asked


def _missing_text(missing: int, asked: int) -> str:
    return (
        f"{format_count(missing)} of {format_count(asked)} connections were never open at the same time as the others"
    )


INVALID: tuple[Rule, ...] = (
    _worker_died,
    _interrupted,
    _no_replies,
    _incomplete,
    _lost,
    _saturated,
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
    _few_samples,
    _shared_core,
)
