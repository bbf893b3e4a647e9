"""The Python side of the compiled engine: the plan goes in, and an asyncio loop watches the core's epoll fd.

The loop keeps what is not hot: what the parent says, the CPU figures ten times a second, the beginning and the end. A
callback is a turn of the core, without the GIL. A turn stays in the core for up to a tick and waits in the core's
own epoll_wait: returning to the loop after each batch would cost a second epoll_wait and a Python callback a wake-up.
What the parent says is in the core's epoll set too, so it ends the turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

from loadkit.engine.base import STOP_NS, Control
from loadkit.engine.listening import end_connects
from loadkit.engine.native import _core
from loadkit.engine.native.rows import (
    blast_values,
    pause_values,
    phase_values,
    route_values,
    rule_values,
    script_values,
    serve_values,
)
from loadkit.engine.probes import Probes, machine_key, open_probes
from loadkit.engine.settings import setting_values
from loadkit.engine.stamps import choose_stamps
from loadkit.measure.board import Slot
from loadkit.measure.cpu import CpuMeter
from loadkit.measure.names import PROOFS, WAKEUP_SOURCES
from loadkit.measure.tcp_info import SAMPLES
from loadkit.plan.pacing import AT_ONCE_HZ
from loadkit.plan.phases import PhaseKind
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard
from loadkit.units import NS_PER_S

__all__ = ["NativeEngine"]

# How often the CPU figures are read: of many workers more seldom, as a hundred of them would spend a tenth of a core.
_TICK_NS, _LONGEST_TICK_NS, _SOON = 100_000_000, 1_000_000_000, 8
_COUNTED = WAKEUP_SOURCES.index("native")
_FAILED = PROOFS.index("failed")


class NativeEngine:
    """The compiled core inside a loop of the given kind."""

    name = "native"

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], around: Callable[[], str]) -> None:
        self._new_loop = new_loop
        self._around = around

    def version(self) -> str:
        """Returns its name and the loop around it."""
        return f"native in {self._around()}"

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        """Returns a fresh loop to go around the core's. uvloop's has 256 KB to read into, and never does here."""
        loop = self._new_loop()
        loop.set_debug(False)  # a turn is long, and debugging would say so each time
        _core.give_back_zeros(loop)
        return loop

    def blast(self, shard: Shard, slot: Slot, control: Control, before: Slot | None = None) -> None:
        """Runs a shard of the blast end."""
        core = _open_blast(shard, slot, control, open_probes(shard, slot))
        with contextlib.closing(core), contextlib.closing(self._open_loop()) as loop:
            slot.set("wakeup_source", _COUNTED)
            control.ready()
            if before:
                core.start_after(before.words, shard.connects_before)
            if shard.opens_first:
                core.open_first(control.wait_start())
            else:
                _begin_ramp(core, shard, control.wait_start())
            kinds = [phase.kind for phase in shard.load.phases]

            def entered(phase: int) -> None:
                core.watch_tcp(phase if kinds[phase] is PhaseKind.HOLD else -1)
                if kinds[phase] is PhaseKind.DRAIN:
                    control.finished()

            turns = _Turns(loop, core, slot, lambda: _blast_heard(core, shard, control), shard.of, entered)
            loop.run_until_complete(turns.run())
            if slot.get("proved") == _FAILED:
                control.came(core.came())

    def serve(self, plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> None:
        """Runs a worker of the serve end."""
        try:
            core = _open_serve(plan, listeners, slot, control)
            with contextlib.closing(core), contextlib.closing(self._open_loop()) as loop:
                slot.set("wakeup_source", _COUNTED)
                control.ready()
                turns = _Turns(loop, core, slot, lambda: _serve_heard(core, plan, listeners, control), plan.workers)
                loop.run_until_complete(turns.run())
        finally:
            for listener in listeners:
                listener.close()


class _Turns:
    """The core's turns in a loop, until it is done."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        core: _core.Blast | _core.Serve,
        slot: Slot,
        heard: Callable[[], None],
        workers: int,
        entered: Callable[[int], None] = lambda _phase: None,
    ) -> None:
        self._loop = loop
        self._core = core
        self._slot = slot
        self._heard = heard
        self._entered = entered
        # A turn keeps the loop from its timers for as long: there is only the tick, and messages would be late by each
        # return to the loop.
        self._tick_ns = min(_LONGEST_TICK_NS, _TICK_NS * max(_SOON, workers) // _SOON)
        self._cpu = CpuMeter()
        self._phase = 0
        self._next_tick: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] = loop.create_future()

    async def run(self) -> None:
        """Returns when the core is done; raises what a turn raised."""
        self._loop.add_reader(self._core.fileno(), self._turn)
        self._loop.call_soon(self._turn)
        self._tick()
        self._heard()  # what was said, and read, before we listened
        try:
            await self._done
        finally:
            if self._next_tick:
                self._next_tick.cancel()
            self._loop.remove_reader(self._core.fileno())
            self._cpu.fold(self._slot, self._phase)

    def _turn(self) -> None:
        if self._done.done():
            return
        try:
            says = self._core.turn(self._tick_ns)
            if says & _core.TURN_HEARD:
                self._heard()
        except BaseException as error:
            self._done.set_exception(error)
            return
        phase = self._slot.get("phase")
        if phase != self._phase:
            # What was used until now is the former phase's.
            self._cpu.fold(self._slot, self._phase)
            self._phase = phase
            self._entered(phase)
        if says & _core.TURN_DONE:
            self._done.set_result(None)

    def _tick(self) -> None:
        self._cpu.fold(self._slot, self._phase)
        if isinstance(self._core, _core.Blast):
            self._core.look_at_tcp(SAMPLES)
        self._next_tick = self._loop.call_later(self._tick_ns / NS_PER_S, self._tick)


def _begin_ramp(core: _core.Blast, shard: Shard, at_ns: int) -> None:
    """The connects of the ramp begin; said again it changes nothing."""
    ramp = shard.ramp
    core.start(at_ns, shard.load.connect_rate_hz or AT_ONCE_HZ, ramp.place, ramp.count, ramp.lanes)


def _blast_heard(core: _core.Blast, shard: Shard, control: Control) -> None:
    """The parent said something."""
    control.hear()
    ramp = control.ramp_start()
    if ramp is not None:
        _begin_ramp(core, shard, ramp)
    if control.should_leave():
        core.leave()
    elif control.should_stop():
        core.stop(STOP_NS)
    else:
        if control.should_stop_opening():
            core.stop_opening()
        start = control.hold_start()
        if start is not None:
            core.begin_phases(start)


def _serve_heard(core: _core.Serve, plan: ServePlan, listeners: Sequence[socket.socket], control: Control) -> None:
    control.hear()
    if control.should_leave():
        core.leave()
    elif control.should_stop():
        end_connects(listeners)
        core.stop(plan.grace_ns, min(plan.settle_ns, plan.grace_ns))


def _open_blast(shard: Shard, slot: Slot, control: Control, probes: Probes) -> _core.Blast:
    return _core.Blast(
        words=slot.words,
        control_fd=control.fileno(),
        options=blast_values(shard, choose_stamps(shard.load.stamps, slot)),
        script=script_values(shard.wire.script, shard.load.depth),
        rule=rule_values(shard.wire.rule, shard.wire.judging),
        setup=tuple((one.sends, rule_values(one.rule, one.judging) if one.rule else None) for one in shard.setup),
        phases=phase_values(shard),
        routes=route_values(shard),
        settings=setting_values(shard.load.sockets),
        probes=probes.hand_over(),
        pauses=pause_values(shard),
    )


def _open_serve(plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> _core.Serve:
    return _core.Serve(
        words=slot.words,
        control_fd=control.fileno(),
        options=serve_values(plan, slot, choose_stamps(plan.stamps, slot)),
        listeners=tuple(listener.fileno() for listener in listeners),
        settings=setting_values(plan.sockets),
        tokens=slot.tokens.words if slot.tokens else None,
        machine=machine_key(),
    )
