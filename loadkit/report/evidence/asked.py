"""What a run was asked for, and how much of it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.report.record import RunRecord
from loadkit.units import NS_PER_S

__all__ = ["MISSING", "SETUP_KINDS", "Asked"]

# If more than this part of the connections, messages or connects is missing, it was another experiment.
MISSING = 0.01
# The phases before the measured time.
SETUP_KINDS = ("ramp", "warm-up")


@dataclass(frozen=True)
class Asked:
    """The load of a record, and the time that it was measured for."""

    record: RunRecord

    @property
    def load(self) -> Load:
        """What was asked of the target."""
        return self.record.load

    @cached_property
    def is_open_loop(self) -> bool:
        """Whether messages went out on a schedule."""
        return any(phase.rate_hz for phase in self.load.phases)

    @cached_property
    def is_timed(self) -> bool:
        """Whether messages were due at times of their own: on a schedule, or after a pause."""
        return self.is_open_loop or self.load.think is not None

    @property
    def is_churn(self) -> bool:
        """Whether connections were closed and opened again all the time."""
        return self.load.lifetime_ns is not None

    @property
    def is_cut(self) -> bool:
        """Whether the run ended before its plan did, and is judged on what was asked up to then."""
        return self.record.partial or self.load.messages is not None

    @property
    def connections(self) -> int:
        """How many connections were to be open at the same time, in all runs of the record."""
        return self.load.connections * self.record.merged

    @cached_property
    def holds(self) -> Sequence[PhasePlan]:
        """The planned phases that are measured."""
        return [phase for phase in self.load.phases if phase.kind is PhaseKind.HOLD]

    @property
    def planned_ns(self) -> int:
        """How long was to be measured."""
        return sum(phase.duration_ns for phase in self.holds) * self.record.in_a_row

    @property
    def at_once(self) -> float:
        """How many runs went on side by side: 1 except in a merged record."""
        return self.record.merged / self.record.in_a_row

    @property
    def planned_messages(self) -> float:
        """How many messages the schedule has in the measured phases."""
        each = [sum(phase.rate_hz or ()) / 2 * phase.duration_ns / NS_PER_S for phase in self.holds]
        return float(sum(each)) * self.record.merged

    @property
    def random_slack(self) -> float:
        """How many fewer messages random arrivals may come to than the mean number that is planned; else 0.

        A Poisson process has a variance as large as its mean. One in 10**9 runs is more than six deviations below it.
        """
        return 6 * math.sqrt(self.planned_messages) if self.load.is_random else 0.0

    @property
    def span_ns(self) -> int:
        """How long was measured."""
        return self.record.window.measured_ns if self.record.window else 0
