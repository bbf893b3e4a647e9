"""Probes and their answers in a loop: when they are due, and when something came.

The compiled part does the work (native/probe_types.c). Here its epoll fd is watched, and it is told when each wake-up
began and ended. A probe is read in its turn within the batch, as any other connection is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from loadkit.engine.aio.timer import Timer
from loadkit.engine.aio.wakeups import Wait
from loadkit.engine.compiled import native_missing
from loadkit.engine.probes import Probes, machine_key
from loadkit.measure.board import Slot
from loadkit.plan.serve import ServePlan
from loadkit.profile.serve import ProbePeers

if TYPE_CHECKING:
    from loadkit.engine.native._core import Answers

__all__ = ["Answering", "Probing"]


class Probing:
    """The blast end's probes under way."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slot: Slot, probes: Probes, last_wait: Callable[[], Wait]
    ) -> None:
        from loadkit.engine.native._core import Prober

        self._loop = loop
        self._last_wait = last_wait
        self.on_event: Callable[[], None] = lambda: None  # called ahead of everything else
        self._prober = Prober(words=slot.words, phases=len(slot.pages), probes=probes.hand_over())
        self._timer = Timer(loop, self._send)
        self.begin_phase = self._prober.begin_phase
        loop.add_reader(self._prober.fileno(), self._receive)
        self._timer.arm(self._prober.send_due())

    def start(self, at_ns: int) -> None:
        """Messages are due from then on."""
        self._prober.start(at_ns)
        self._send()

    def stop(self) -> None:
        """Nothing more is due; replies are still taken."""
        self._prober.stop()
        self._timer.arm(None)

    def close(self) -> None:
        """Closes the probes."""
        self._loop.remove_reader(self._prober.fileno())
        self._timer.close()
        self._prober.close()

    def _send(self) -> None:
        self.on_event()
        self._timer.arm(self._prober.send_due())

    def _receive(self) -> None:
        self.on_event()
        self._timer.arm(self._prober.receive(*self._last_wait()))


class Answering:
    """The probes of others, at the serve end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slot: Slot, answers: Answers, last_wait: Callable[[], Wait]
    ) -> None:
        self._loop = loop
        self._last_wait = last_wait
        self._answers = answers
        self._tokens = slot.tokens
        loop.add_reader(answers.fileno(), self._receive)

    @classmethod
    def find(
        cls, loop: asyncio.AbstractEventLoop, slot: Slot, last_wait: Callable[[], Wait] | None, plan: ServePlan
    ) -> Answering | None:
        """Returns what answers; None if nothing can, and a probe gets an echo as any other connection does."""
        if last_wait is None or native_missing():
            return None
        from loadkit.engine.native._core import Answers

        answers = Answers(
            words=slot.words,
            machine=machine_key(),
            peers=list(ProbePeers).index(plan.probes),
            idle_timeout=-1 if plan.idle_timeout_ns is None else plan.idle_timeout_ns,
        )
        return cls(loop, slot, answers, last_wait)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._answers.count()

    def greet(self, transport: asyncio.Transport, chunk: bytes) -> bytes | None:
        """Takes over a connection that said hello, with its token, and returns None; else returns what to send back."""
        before = self._answers.count()
        fd = os.dup(transport.get_extra_info("socket").fileno())
        echoed = self._answers.greet(fd, chunk)
        if echoed is not None:
            os.close(fd)
            return echoed
        if self._tokens and self._answers.count() == before:
            self._tokens.give()  # it could not be watched, and is closed
        # Closes the loop's own descriptor; the connection lives on in ours.
        transport.abort()
        return None

    def end_idle(self) -> None:
        """Ends those that have been idle for too long. Call it regularly."""
        self._answers.end_idle()

    def close(self) -> None:
        """Closes them all."""
        self._loop.remove_reader(self._answers.fileno())
        self._answers.close()

    def _receive(self) -> None:
        before = self._answers.count()
        self._answers.receive(*self._last_wait())
        if self._tokens:
            for _ in range(before - self._answers.count()):
                self._tokens.give()
