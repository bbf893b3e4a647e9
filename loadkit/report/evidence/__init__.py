"""What a record shows that the rules of the verdict go by: facts and thresholds, no judgement.

There is one module for each subject: what was asked for, what became of the connections, the blast workers, the cores
that they ran on, the messages, and the ramp. Each builds on those before it. The record alone is read, so a record that
was merged or read from a file shows the same as a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from loadkit.report.evidence.asked import Asked
from loadkit.report.evidence.connections import Connections
from loadkit.report.evidence.cores import Cores
from loadkit.report.evidence.messages import Messages
from loadkit.report.evidence.ramp import RampRate, find_missed_rate
from loadkit.report.evidence.workers import Workers
from loadkit.report.record import RunRecord

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """A record, and what follows from it, by subject."""

    record: RunRecord

    @cached_property
    def asked(self) -> Asked:
        """What the run was asked for, and how much of it was measured."""
        return Asked(self.record)

    @cached_property
    def connections(self) -> Connections:
        """What became of the connections."""
        return Connections(self.asked)

    @cached_property
    def workers(self) -> Workers:
        """What the blast workers did with their time."""
        return Workers(self.asked)

    @cached_property
    def cores(self) -> Cores:
        """Whether the workers of this machine had the cores that they needed."""
        return Cores(self.workers)

    @cached_property
    def messages(self) -> Messages:
        """What became of the messages."""
        return Messages(self.connections, self.cores)

    @cached_property
    def missed_rate(self) -> RampRate | None:
        """The connect rate of the ramp if it was missed; None if it was kept, or if another rule says why not."""
        return find_missed_rate(self.connections)
