"""A worker of the blast end under way: its loop, its timer, its parent, and the beat in which it is looked after.

timeline.py says what happens when, swarm.py does it to connections.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from loadkit.engine.aio.context import BlastContext
from loadkit.engine.aio.pauses import STANDSTILL_NS
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.swarm import Swarm
from loadkit.engine.aio.timeline import Stage
from loadkit.engine.aio.timer import Timer
from loadkit.engine.base import STOP_NS
from loadkit.measure.names import PROOFS
from loadkit.measure.tally import FOLD_NS
from loadkit.reserve import Reserve
from loadkit.units import NS_PER_S

__all__ = ["Blasting"]

_FAILED = PROOFS.index("failed")
_DRAIN_TICK_S = 0.02

clock = time.monotonic_ns


class Blasting(Swarm):
    """Runs a shard, from the common start to the last close."""

    def __init__(self, context: BlastContext) -> None:
        super().__init__(context)
        if self._probing:
            self._probing.on_event = lambda: self.watch.see(clock())
        self._done: asyncio.Future[None] = self.loop.create_future()
        self._timer = Timer(self.loop, self._on_time)
        self._tick_handle: asyncio.TimerHandle | None = None
        # Given back when there is no more memory: uvloop reads through NULL where it gets none to end with.
        self._reserve = Reserve()

    async def run(self) -> None:
        """Runs the shard from the common start to the last close."""
        self.control.ready()
        start = self.control.wait_start()
        self.watch.seen_ns = clock()
        self.outbox.looks.note(self.watch.seen_ns)
        self.tally.begin_phase(0, start)
        if self.shard.opens_first:
            self.openings.add(iter((start,)))
        else:
            self._begin_ramp(start)
        self.loop.add_reader(self.control.fileno(), self._heard)
        self.loop.set_exception_handler(self._failed)
        self._tick()
        self._on_time()
        self._heard()
        try:
            await self._done
        finally:
            self.loop.remove_reader(self.control.fileno())
            self._timer.close()
            if self._probing:
                self._probing.close()
            if self._tick_handle:
                self._tick_handle.cancel()
            await self._connects.cancel()
            # The transports that were closed report connection_lost in the next turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self.slot.get("proved") == _FAILED:
                self.control.came(self.came)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback has failed. Without memory the worker cannot go on; other failures are logged by the loop."""
        error = context.get("exception")
        if not isinstance(error, MemoryError):
            loop.default_exception_handler(context)
        elif not self._done.done():
            self._reserve.give_back()
            self.is_over = True
            self._done.set_exception(error)

    def _heard(self) -> None:
        """The parent has sent something."""
        self.control.hear()
        if self.control.should_leave():
            self._finish()
        elif self.control.should_stop():
            self._begin_drain(STOP_NS, 0)
        else:
            ramp = self.control.ramp_start()
            if ramp is not None and not self._is_started and self.stage is Stage.RAMP:
                self._begin_ramp(ramp)
                self.arm()
            if self.control.should_stop_opening():
                self.openings.stop()
            start = self.control.hold_start() if self.stage is Stage.RAMP else None
            if start is not None:
                self._begin_phases(start)

    def _on_time(self) -> None:
        """Does what is due. One clock reading decides the round."""
        now = clock()
        self.watch.see(now)
        self.outbox.looks.note(now)
        self._enter_phases(now)
        self._do_due(now)
        self.arm()

    def arm(self) -> None:
        """Sets the timer for what is due first."""
        first = min(self.next_phase_ns, self.openings.next_ns, self.outbox.next_ns, self.timeouts.next_ns)
        self.watch.asked_ns = first = min(first, self.thinking.next_ns, self._first_end())
        self._timer.arm(first if first < NEVER else None)

    def look(self, now: int) -> None:
        """A reply has come after a gap, or after the end of a phase: finds out which, before it is counted.

        If it was neither, the next reply is checked after the time of a standstill.
        """
        self.watch.see(now)
        self._enter_phases(now)
        self.alarm_ns = min(now + STANDSTILL_NS, self.next_phase_ns)

    def _tick(self) -> None:
        """Folds, publishes, and finds out whether the run is over: ten times per second, which is the beat too."""
        now = clock()
        self.watch.see(now)
        self._enter_phases(now)
        self.slot.pages[self._phase].add("beats")
        self._keep_up(now)
        self._publish(now)
        self._end_if_spent()
        self._end_if_stranded(now)
        if self.stage is Stage.DRAIN and self.drain.ends_holding(now):
            self._drop_due()
        if self.stage is Stage.DRAIN and (self._is_drained() or now >= self._drain_end()):
            self._finish()
            return
        self._tick_in(_DRAIN_TICK_S if self.stage is Stage.DRAIN or self._is_spent else FOLD_NS / NS_PER_S)

    def _tick_in(self, pause_s: float) -> None:
        """Schedules the next tick for then, and no other one before."""
        if self._tick_handle:
            self._tick_handle.cancel()
        self._tick_handle = self.loop.call_later(pause_s, self._tick)

    def _tick_soon(self) -> None:
        if self._tick_handle:
            self._tick_in(0)

    def _finish(self) -> None:
        """Counts what was left unanswered and closes everything."""
        if self.is_over:
            return
        now = clock()
        self.outbox.cut(now)
        self.thinking.cut(now)
        self._drop_due()
        self._close_all(now)
        if not self.slot.get("finished_ns"):
            self.slot.set("finished_ns", now)
        self._publish(clock())
        self.is_over = True
        self._done.set_result(None)
