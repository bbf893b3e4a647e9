"""What became of the messages: whether they were sent, how long they waited for room, and whose doing that was."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

from loadkit.report.evidence.asked import MISSING, Asked
from loadkit.report.evidence.connections import Connections
from loadkit.report.evidence.cores import Cores
from loadkit.report.evidence.workers import OWN_DELAY, Workers
from loadkit.report.record import RunRecord

__all__ = ["Messages", "OurCause"]

# Lateness by which messages may stay unsent.
LATE_NS = 10_000_000


class OurCause(enum.Enum):
    """What shows that this end left messages unsent."""

    BUSY = "a worker had no time to spare"
    STOOD = "standstills are long enough for half of it"
    LATE = "messages were late for longer than they waited for room"
    FEW_WAITED = "few of them waited for room"


@dataclass(frozen=True)
class Messages:
    """The messages of a record."""

    connections: Connections
    cores: Cores

    @property
    def asked(self) -> Asked:
        """What the run was asked for."""
        return self.connections.asked

    @property
    def record(self) -> RunRecord:
        """The record they are of."""
        return self.asked.record

    @property
    def workers(self) -> Workers:
        """The workers that sent them."""
        return self.cores.workers

    def p99(self, name: str) -> int:
        """The p99 of a histogram, or the worst of too few values for one; 0 without values."""
        histogram = self.record.histograms[name]
        if histogram is None:
            return 0
        p99 = histogram.percentiles["99"]
        return (histogram.max or 0) if p99 is None else p99

    @cached_property
    def sent(self) -> int:
        """How many messages were sent, in all phases; one as a connection opens is apart where messages have times."""
        scheduled = sum(phase.messages.sent for phase in self.record.phases)
        return scheduled + self.record.connections.opened if self.asked.is_timed else scheduled

    # -- never sent

    @cached_property
    def unsent_share(self) -> float:
        """The part of the messages that were due and never sent; 0 in a closed loop that does not think."""
        messages = self.record.messages
        return messages.unsent / messages.intended if self.asked.is_timed and messages.intended else 0.0

    @cached_property
    def unsent_by_us(self) -> OurCause | None:
        """What shows that this end left messages unsent: the first of its causes that does; None if the target did."""
        messages = self.record.messages
        if not self.cores.has_time:
            return OurCause.BUSY
        if 2 * self.workers.standstill_share >= self.unsent_share:
            return OurCause.STOOD
        if self.p99("lateness") > max(LATE_NS, self.p99("held")):
            return OurCause.LATE
        return OurCause.FEW_WAITED if 2 * messages.waited < messages.unsent else None

    @cached_property
    def misses_rate(self) -> bool:
        """Whether more messages stayed unsent than the missing connections account for, and some were sent.

        In churn, connects that fail leave no connection to send on: there is no telling how many messages that makes.
        """
        connections, share = self.connections, self.unsent_share
        if share <= MISSING or connections.is_explained or connections.is_stranded:
            return False
        if self.cores.has_time and connections.has_failed_connects:
            return False
        return not (connections.is_smaller and share <= connections.missing.share + MISSING)

    # -- waiting for room

    @cached_property
    def has_waited(self) -> bool:
        """Whether messages waited for room that the target was to make, while we had time to spare and a core."""
        messages, cores = self.record.messages, self.cores
        return (
            self.asked.is_open_loop
            and cores.has_time
            and not cores.is_throttled
            and self.waited_for_target > MISSING * messages.intended
            and self.unsent_share <= MISSING
            and self.is_held
            and not cores.can_be_wait_for_a_core(self.p99("held"))
        )

    @cached_property
    def waited_for_target(self) -> float:
        """How many messages waited for room, without those that waited because this end had stood still.

        Work that stops for a while delays what waits for it by no more than that while. So the target held up each
        message that was held for longer than any standstill: if these are enough to be worth a word, all are its doing.
        """
        waited = self.record.messages.waited
        if self.p99("held") > self._longest_standstill_ns:
            return waited
        return max(0.0, waited - self._waited_for_standstills)

    @property
    def _waited_for_standstills(self) -> float:
        """How many messages waited for room because this end had stood still: for each other, or behind those.

        R messages are due per second, and the target has room for X. The R S messages that fall due in a standstill of
        S go out after it, and the last of them waits for h = S R / X. Until they are gone others fall due and wait as
        well: X / (X - R) = S / (S - h) times as many in all. All of these waits are spread evenly from 0 to h, so h is
        twice their mean. If h is S, X is R: a target that makes no more room than it must would be behind in any case.
        """
        stood, longest_ns, held = self.record.stood or 0, self._longest_standstill_ns, self.record.histograms["held"]
        last_ns = 2 * held.sum / max(1, self.record.messages.waited) if held else 0.0
        return stood * longest_ns / (longest_ns - last_ns) if last_ns < longest_ns else stood

    @property
    def _longest_standstill_ns(self) -> int:
        standstills = self.record.standstills
        return (standstills.longest_ns or 0) if standstills else 0

    @property
    def is_held(self) -> bool:
        """Whether waiting for room is more than a tenth of the latency."""
        return self.p99("held") > OWN_DELAY * self.p99("latency")

    @property
    def is_being_replaced(self) -> bool:
        """Whether messages waited no longer than churn takes to open a connection and have its first reply."""
        return self.asked.is_churn and self.p99("held") <= self.p99("connect") + self.p99("first_byte")
