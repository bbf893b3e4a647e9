"""The rate at which the first connections opened, if that was not the requested one."""

from __future__ import annotations

from dataclasses import dataclass

from loadkit.report.evidence.connections import Connections
from loadkit.report.evidence.workers import BUSY
from loadkit.report.record import RunRecord
from loadkit.units import NS_PER_S

__all__ = ["RampRate", "find_missed_rate"]

# Less than this part of the requested connect rate is another rate.
ENOUGH_RATE = 0.95
# A ramp's end is seen with the last first reply in it, and a busy machine's timer: a smaller difference shows nothing.
RAMP_SLACK_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class RampRate:
    """The rate at which the first connections opened, beside the requested one.

    `busy` is the part of the ramp in which the blast workers of the busiest core were busy.
    """

    asked_hz: float
    rate_hz: float
    busy: float | None

    @property
    def share(self) -> float:
        """The part of the requested rate that was reached."""
        return self.rate_hz / self.asked_hz

    @property
    def is_ours(self) -> bool:
        """Whether a core of ours had no time left."""
        return self.busy is not None and self.busy >= BUSY


def find_missed_rate(connections: Connections) -> RampRate | None:
    """Returns the connect rate of the ramp if it was missed; None if it was kept, or if another rule says why not.

    The last connection's own time is no part of the ramp's: the least of all is subtracted. The times of the others
    include how late they were begun, so with a middle value a rate that was missed would pass for one that was kept.
    """
    record, asked = connections.record, connections.asked
    asked_hz = (asked.load.connect_rate_hz or 0.0) * asked.at_once
    found = record.opening if asked.is_churn or not record.connecting else record.connecting
    if not found or not asked_hz or record.window is None or connections.is_smaller or connections.is_exhausted:
        return None
    if record.opening and record.opening.stopped:
        return None
    histograms = (record.histograms["connect"], record.histograms["first_byte"])
    last_ns = sum(one.min or 0 for one in histograms if one)
    span_ns = found.duration_ns - min(last_ns, found.duration_ns)
    if span_ns <= found.opened / asked_hz * NS_PER_S + RAMP_SLACK_NS:
        return None
    rate_hz = found.opened * NS_PER_S / span_ns
    if rate_hz >= ENOUGH_RATE * asked_hz:
        return None
    return RampRate(asked_hz, rate_hz, _busy(record))


def _busy(record: RunRecord) -> float | None:
    """Adds up the workers of a core, which take turns at opening. Of several runs it is their mean."""
    cores: dict[int, float] = {}
    for worker in record.workers:
        if worker.ramp_busy_share is not None:
            core = -1 - worker.index if worker.core is None else worker.core
            cores[core] = cores.get(core, 0.0) + worker.ramp_busy_share / record.merged
    return min(1.0, max(cores.values())) if cores else None
