"""Whether a worker stands still: each reading of the clock is compared with the one before."""

from __future__ import annotations

import time
from collections.abc import Callable

from loadkit.engine.aio.pauses import BEAT_NS, STANDSTILL_NS, Standstills
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.wakeups import Wait
from loadkit.measure.board import Slot
from loadkit.measure.tally import Tally
from loadkit.plan.phases import PhaseKind, PhasePlan

__all__ = ["Watch"]


class Watch:
    """The readings of a worker's clock. `seen_ns` is the last one; a callback that reads the clock calls `see`.

    Exchanges of a free-running closed loop do not call it: the tally has their last reading.

    A gap between two readings is a wait that was requested, until `asked_ns` or the next beat at the latest, or work,
    or a standstill. `last_wait` returns the loop's last wait. If it is None, the loop does not report it, and a gap
    counts as a wait.
    """

    __slots__ = ("_exchanges", "_is_measured", "_last_wait", "_slot", "_tally", "asked_ns", "seen_ns", "standstills")

    def __init__(
        self, slot: Slot, tally: Tally, phases: tuple[PhasePlan, ...], last_wait: Callable[[], Wait] | None
    ) -> None:
        self._slot = slot
        self._tally = tally
        self._exchanges = tally.exchanges
        self._is_measured = [phase.kind is PhaseKind.HOLD for phase in phases]
        self._last_wait = last_wait
        self.seen_ns = time.monotonic_ns()
        self.asked_ns = NEVER
        self.standstills = Standstills()

    def see(self, now: int) -> None:
        """Notes a reading of the clock, and the standstill before it if there was one."""
        if self._exchanges and self._exchanges[-1] > self.seen_ns:
            self.seen_ns = self._exchanges[-1]
        if now - self.seen_ns > STANDSTILL_NS:
            self._find(now)
        self.seen_ns = now

    def age(self, since_ns: int, now: int) -> int:
        """Returns how old something was at the wait that reported it, less what the worker stood still."""
        if self._last_wait:
            now = self._last_wait()[1] or now
        return now - since_ns - self.standstills.since(since_ns)

    def _find(self, now: int) -> None:
        seen = self.seen_ns
        asked = min(self.asked_ns, seen + BEAT_NS)
        if self._last_wait is None:
            self._stood(max(seen, asked), now)
            return
        called, returned, _events = self._last_wait()
        if returned <= seen:
            self._stood(seen, now, is_in_turn=True)
            return
        self._stood(seen, called, is_in_turn=True)
        self._stood(max(called, asked), returned)
        self._stood(returned, now, is_in_turn=True)

    def _stood(self, begin: int, end: int, is_in_turn: bool = False) -> None:
        """Notes a standstill from `begin` to `end` if it is long enough to be one. Each phase gets its part."""
        if end - begin <= STANDSTILL_NS:
            return
        self.standstills.note(begin, end)
        self._tally.fold()  # what was read before it is not disturbed
        self._tally.standstill(begin, end)
        for phase, part_ns in self._tally.parts(begin, end):
            if is_in_turn:
                self._slot.pages[phase].add("busy_ns", -part_ns)  # it was no work
            if self._is_measured[phase] and part_ns > self._slot.get("standstill_ns"):
                self._slot.set("standstill_ns", part_ns)
                self._slot.set("standstill_at_ns", begin)
