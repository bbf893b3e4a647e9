r"""One connection of the swarm: what it sent, what it waits for, what it read.

    NEW -> CONNECTING -> OPEN -> CLOSED
                |          \-> RETIRING -> CLOSED
                \-> CLOSED

RETIRING is a connection past its lifetime: it sends nothing new and closes with its last reply. A message's times are
noted when it goes out and when its reply is whole; everything else about a message is derived from its place in the
stream (wire/echo.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from loadkit.endpoint import reset_on_close
from loadkit.engine.aio.connect import keep_alive
from loadkit.engine.base import CAME_BYTES
from loadkit.engine.stamps import stamp_received
from loadkit.measure.board import OwnError
from loadkit.plan.model import Route
from loadkit.profile.model import Close

if TYPE_CHECKING:
    from loadkit.engine.aio.swarm import Swarm

__all__ = ["Connection", "State"]


clock = time.monotonic_ns


class State(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = enum.auto()
    OPEN = enum.auto()
    RETIRING = enum.auto()
    CLOSED = enum.auto()


class Connection(asyncio.Protocol):
    """A protocol in the swarm. `pending` is intended, sent, intended, sent, … of the messages without a reply yet."""

    __slots__ = (
        "due_ns",
        "established_ns",
        "expected",
        "first",
        "has_successor",
        "held",
        "opening",
        "paused",
        "pending",
        "place",
        "received",
        "route",
        "sent",
        "state",
        "swarm",
        "transport",
    )

    def __init__(self, swarm: Swarm, due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        self.swarm = swarm
        self.due_ns = due_ns
        self.route = route
        self.first = first  # one of those that the ramp opens
        self.opening = False  # a schedule asked for it, and its first reply is not there yet
        self.has_successor = has_successor  # churn: another one is opened when this one ends
        self.state = State.CONNECTING
        self.pending: list[int] = []
        self.held: deque[int] | None = None
        self.paused = False
        self.sent = 0  # bytes of the stream
        self.received = 0
        self.place = -1  # index among the swarm's open connections
        self.established_ns = 0
        self.expected: bytes | memoryview | None = None  # a free-running closed loop's next chunk, if all is well
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    # -- what the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the time of the connect and sends the first message."""
        self.established_ns = clock()
        self.transport = transport  # type: ignore[assignment]
        # With a mark of 0 uvloop writes at once instead of at the end of the loop's turn: `sent` is then the time at
        # which the kernel has it, not the one at which it was queued behind a batch of reads.
        self.transport.set_write_buffer_limits(high=0)
        if self.swarm.stamps:
            with contextlib.suppress(OSError):  # gone by now
                stamp_received(transport.get_extra_info("socket"))
        if self.swarm.plan.keepalive_ns:
            keep_alive(transport.get_extra_info("socket"), self.swarm.plan.keepalive_ns)
        self.state = State.OPEN
        self.swarm.opened(self)

    def data_received(self, chunk: bytes) -> None:
        """Checks what came. In a free-running closed loop one whole right reply takes the short way."""
        now = clock()
        swarm = self.swarm
        if chunk == self.expected and swarm.free_running:
            at = self.sent
            self.received = at
            self.sent = at + swarm.size
            pending = self.pending
            swarm.note_exchange((pending[1], now))
            pending[0] = pending[1] = now
            self.expected = message = swarm.messages[at % swarm.period]
            self.transport.write(message)
            if len(swarm.exchanges) >= swarm.fold_length:
                swarm.tally.fold(now)
        elif self.state is not State.CLOSED:
            self._received(chunk, now)

    def _received(self, chunk: bytes, now: int) -> None:
        """Any segmentation: parts of a reply, several replies, wrong bytes."""
        swarm = self.swarm
        received = self.received
        if not received:
            swarm.settle_opening(self)
            swarm.tally.first_bytes.extend((self.due_ns, self.established_ns, now))
        if self is swarm.first:
            swarm.came = (swarm.came + chunk[:CAME_BYTES])[:CAME_BYTES]
        swarm.tally.extra_bytes += len(chunk)
        if received + len(chunk) > self.sent:
            swarm.broken(self, "receive", OwnError.EXTRA_BYTES)
            return
        if swarm.check and not swarm.framing.matches(received, chunk):
            swarm.broken(self, "receive", OwnError.WRONG_BYTES)
            return
        self.received = received + len(chunk)
        completed = swarm.framing.completed(received, len(chunk))
        if not completed:
            return
        # Whole replies are counted in bytes by the tally.
        swarm.tally.extra_bytes -= completed * swarm.size
        self.expected = None
        if self is swarm.first:
            swarm.prove(self, "right")
        pending = self.pending
        replied = swarm.tally.replied
        for at in range(0, 2 * completed, 2):
            replied.extend((pending[at], pending[at + 1], now))
        del pending[: 2 * completed]
        swarm.replied(self, now)
        if len(replied) >= swarm.fold_length:
            swarm.tally.fold(now)

    def eof_received(self) -> None:
        """The peer sends no more: close, which comes back as connection_lost."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, or the kernel, ended it: an error, unless we closed it ourselves."""
        if self.state is State.CLOSED:
            return
        if exc is None:
            self.swarm.broken(self, "receive", OwnError.CLOSED_BY_PEER)
            return
        number = exc.errno if isinstance(exc, OSError) and exc.errno else OwnError.UNKNOWN
        self.swarm.broken(self, "send" if number == errno.EPIPE else "receive", number)

    def pause_writing(self) -> None:
        """The socket is full: what is due from now on is held."""
        self.paused = True

    def resume_writing(self) -> None:
        """There is room again."""
        self.paused = False
        self.swarm.room(self)

    # -- what the swarm says

    def has_room(self) -> bool:
        """Whether a message may go out now."""
        return len(self.pending) < 2 * self.swarm.depth and not self.paused and self.state is State.OPEN

    def send(self, intended: int) -> None:
        """Sends the next message."""
        swarm = self.swarm
        at = self.sent
        self.sent = at + swarm.size
        sent = intended if swarm.closed_loop else clock()
        self.pending += (intended, sent)
        swarm.tally.sent.extend((intended, sent))
        message = swarm.messages[at % swarm.period]
        # What is checked whole must be all that is under way; without a check any content will do.
        self.expected = message if self.received == at and at and swarm.check else None
        self.transport.write(message)

    def hold(self, intended: int) -> None:
        """Keeps a due message until there is room."""
        if self.held is None:
            self.held = deque()
        self.held.append(intended)

    def close(self, how: Close) -> None:
        """Closes at once: RST drops what is under way, FIN lets the kernel deliver it."""
        self.state = State.CLOSED
        self.expected = None
        if self.transport is None:
            return
        if how is Close.RST:
            sock: socket.socket = self.transport.get_extra_info("socket")
            reset_on_close(sock)
        self.transport.abort()
