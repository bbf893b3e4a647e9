"""A connection between its connect and its first message: the steps of its set-up; native/setup.c does the same in C.

Until the last step is done this is the transport's protocol, and the connection takes its place then. So a connection
without a set-up, and one that has it behind it, are no slower for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from loadkit.engine.aio.connection import Connection, State
from loadkit.measure.names import EXTRA_BYTES, OwnError, place_of
from loadkit.wire.check import Judge, judge_of
from loadkit.wire.protocol import WRONG_REPLY, Framing, Unexpected
from loadkit.wire.script import Stream
from loadkit.wire.setup import Step
from loadkit.wire.wires import framing_of

__all__ = ["Setup", "SetupStep"]

clock = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class SetupStep:
    """Bytes to send, and the framing and the judge of the reply; None: there is no reply, or it may be anything."""

    sends: bytes
    framing: Framing[Any] | None
    judge: Judge | None

    @classmethod
    def of(cls, step: Step, stream: Stream) -> SetupStep:
        """Returns the step as a worker has it, once for all connections."""
        return cls(step.sends, framing_of(step.rule, stream) if step.rule else None, judge_of(step.judging))


class Setup(asyncio.Protocol):
    """The steps of one connection."""

    __slots__ = ("_connection", "_is_paused", "_judged", "_number", "_progress", "_steps")

    def __init__(self, connection: Connection, steps: tuple[SetupStep, ...]) -> None:
        self._connection = connection
        self._steps = steps
        self._number = 0
        self._progress: Any = None
        self._judged = 0
        self._is_paused = False

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with the first step."""
        if self._connection.take(transport) and self._connection.swarm.established(self._connection):
            self._begin()

    def data_received(self, chunk: bytes) -> None:
        """Takes bytes of replies, and goes on with each that is whole."""
        connection = self._connection
        connection.swarm.watch.see(clock())
        if connection.state is not State.HANDSHAKING:
            return
        connection.received += len(chunk)
        if connection is connection.swarm.first:
            connection.swarm.keep(chunk)
        try:
            is_done = self._take(chunk)
        except Unexpected as unexpected:
            _, number = place_of(unexpected.error, is_setup=True)
            connection.swarm.not_shaken(connection, number)
            return
        if is_done:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports an error if the peer or the kernel ended it, and not loadkit itself."""
        if self._connection.state is not State.HANDSHAKING:
            return
        number = exc.errno if isinstance(exc, OSError) and exc.errno else OwnError.UNKNOWN
        self._connection.swarm.not_shaken(self._connection, number if exc else OwnError.CLOSED_BY_PEER)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The socket has taken all of the step."""
        self._is_paused = False
        is_waiting = self._connection.state is State.HANDSHAKING and self._steps[self._number].framing is None
        if is_waiting and (not self._next() or self._write()):
            self._end()

    # -- steps

    def _begin(self) -> None:
        self._enter(0)
        if self._write():
            self._end()

    def _enter(self, number: int) -> None:
        self._number = number
        framing = self._steps[number].framing
        self._progress = framing.begin if framing else None
        self._judged = 0

    def _next(self) -> bool:
        """Goes to the step after this one. Returns False if this is the last."""
        if self._number + 1 == len(self._steps):
            return False
        self._enter(self._number + 1)
        return True

    def _write(self) -> bool:
        """Writes steps, from this one to one that waits for room or for its reply. Returns whether none does."""
        while self._connection.state is State.HANDSHAKING:
            step = self._steps[self._number]
            if step.sends:
                self._connection.transport.write(step.sends)
            if step.framing or self._is_paused:
                return False
            if not self._next():
                return True
        return False

    def _take(self, chunk: bytes) -> bool:
        """Returns whether the set-up is done. Raises Unexpected.

        What is read before it was asked for is more than was asked for.
        """
        while chunk:
            framing, judge = self._steps[self._number].framing, self._steps[self._number].judge
            if framing is None:
                raise Unexpected(EXTRA_BYTES)
            try:
                self._progress, ends = framing.feed(self._progress, chunk)
            except Unexpected as unexpected:
                ends = unexpected.ends
                if not ends:
                    raise
            end = ends[0] if ends else len(chunk)
            if judge:
                self._judged = judge.feed(self._judged, chunk[:end])
            if not ends:
                return False
            if judge and not judge.is_right(self._judged):
                raise Unexpected(WRONG_REPLY)
            chunk = chunk[end:]
            is_last = not self._next()
            if chunk and (is_last or self._steps[self._number].sends):
                raise Unexpected(EXTRA_BYTES)
            if is_last or self._write():
                if chunk:
                    raise Unexpected(EXTRA_BYTES)
                return True
        return False

    def _end(self) -> None:
        connection = self._connection
        connection.transport.set_protocol(connection)
        connection.swarm.shaken(connection, clock())
