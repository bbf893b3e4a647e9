"""What became of the connections: how many were missing, what broke or stopped them, whether they brought replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from loadkit.plan.phases import PhaseKind
from loadkit.report.advice import EXHAUSTED, breaks, explain, main_error, say_cause
from loadkit.report.evidence.asked import MISSING, SETUP_KINDS, Asked
from loadkit.report.record import Advised, Party, RunRecord

__all__ = ["Connections", "Missing", "broke", "cause_of"]

_WRONG = ("WRONG_BYTES", "EXTRA_BYTES")


@dataclass(frozen=True, slots=True)
class Missing:
    """Connections that the load lacked: never open (or broken) when the window began, and lost after that."""

    asked: int
    at_start: int
    lost: int

    @property
    def share(self) -> float:
        """The missing part of the requested connections."""
        return (self.at_start + self.lost) / self.asked if self.asked else 0.0


@dataclass(frozen=True)
class Connections:
    """The connections of a record."""

    asked: Asked

    @property
    def record(self) -> RunRecord:
        """The record they are of."""
        return self.asked.record

    @property
    def begun(self) -> int:
        """How many connects were begun, in all phases."""
        return sum(phase.connections.asked for phase in self.record.phases)

    # -- what is missing

    @cached_property
    def missing(self) -> Missing:
        """The connections that the load lacked: none in churn, where each is opened again. Connects may fail there."""
        connections, asked = self.record.connections, self.asked
        if asked.is_churn or self.record.window is None:
            return Missing(asked.connections, 0, 0)
        phases = asked.load.phases
        first = next(at for at, phase in enumerate(phases) if phase.kind is PhaseKind.HOLD)
        wanted = phases[max(0, first - 1)].connections * self.record.merged
        there = connections.at_start
        if there is None:
            wanted, there = asked.connections, connections.peak or 0
        # Connections that a later phase adds, and that did not open.
        later = [phase.connections for phase in self.record.phases if phase.kind not in SETUP_KINDS]
        unopened = sum(max(0, one.asked - one.opened) for one in later)
        return Missing(asked.connections, max(0, wanted - there) + unopened, connections.lost or 0)

    @property
    def is_smaller(self) -> bool:
        """Whether so many connections were missing that it was another experiment."""
        return self.missing.share > MISSING

    @property
    def has_failed_connects(self) -> bool:
        """Whether so many connects of a churn failed that it was another one, and no nearer cause is known."""
        if not self.asked.is_churn or self.record.window is None or self.is_explained or self.is_stranded:
            return False
        return self.record.connections.failed > MISSING * self.begun

    @property
    def is_stranded(self) -> bool:
        """Whether a churn that --messages alone ends gave up waiting for a connection."""
        record = self.record
        if record.stranded_ns is None or record.window is None:
            return False
        return self.asked.is_churn and not self.is_explained

    # -- what stopped them

    @cached_property
    def exhausted(self) -> Sequence[Advised]:
        """The errors by which this machine says that it ran out of something."""
        return [row for row in self.record.errors if row.error in EXHAUSTED and row.step != "close"]

    @property
    def is_exhausted(self) -> bool:
        """Whether that hit more than MISSING of the connections, or the machine's memory ended the ramp."""
        opening = self.record.opening
        if opening and opening.stopped and (self.is_smaller or self.record.window is None):
            return True
        return sum(row.count for row in self.exhausted) > MISSING * self.begun

    @property
    def is_explained(self) -> bool:
        """Whether a nearer cause is known than missing or failed connections."""
        return self.is_exhausted or self.is_silent

    def errors(self, is_setup: bool) -> Sequence[Advised]:
        """The errors of connections before the window, or since it began."""
        names = {phase.name for phase in self.record.phases if phase.kind in SETUP_KINDS}
        return [row for row in self.record.errors if row.step != "close" and (row.phase in names) is is_setup]

    # -- whether they brought replies

    @cached_property
    def has_replies(self) -> bool:
        """Whether any right reply came, in any phase. A connection's first byte may be that of a wrong one."""
        counted = any(phase.messages.replied for phase in self.record.phases)
        first = self.record.histograms["first_byte"]
        wrong = sum(row.count for row in self.record.errors if row.error in _WRONG)
        return counted or (first is not None and first.count > wrong) or bool(self.record.connections.at_start)

    @property
    def is_silent(self) -> bool:
        """Whether no reply came in the measured time, although the connections opened."""
        record = self.record
        if record.window is None or record.messages.replied or record.window.replied:
            return False
        if not self.has_replies:
            return 2 * record.connections.opened >= self.begun > 0
        return record.messages.sent > 0 and not self.is_smaller


def cause_of(rows: Sequence[Advised]) -> tuple[str, Party] | None:
    """Returns the cause of most of these errors in words, and whose it is; None without errors."""
    found = main_error(rows)
    return (say_cause(*found), explain(*found).party) if found else None


def broke(rows: Sequence[Advised]) -> Sequence[Advised]:
    """Returns the errors among these that ended an open connection."""
    return [row for row in rows if breaks(row.step, row.error)]
