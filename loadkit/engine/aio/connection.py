r"""One connection of the swarm: what it has sent, what it waits for, what it has read.

    NEW -> CONNECTING -> OPEN -> CLOSED
                |  |       \-> RETIRING -> CLOSED
                |  \-> HANDSHAKING -> OPEN, CLOSED
                \-> CLOSED

A HANDSHAKING connection says what is to be said before its first message (setup.py).
A RETIRING connection is past its lifetime: it sends nothing new and closes with its last reply. A message's times are
noted when it goes out and when its reply is whole. Everything else about it follows from its place in the stream
(wire/script.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import socket
import time
from collections import deque

from loadkit.endpoint import meets_itself, reset_on_close
from loadkit.engine.aio.connect import header_of, keep_alive
from loadkit.engine.aio.crowd import Crowd
from loadkit.engine.settings import apply_settings
from loadkit.engine.stamps import stamp_received
from loadkit.measure.names import EXTRA_BYTES, OwnError, place_of
from loadkit.plan.target import Route
from loadkit.profile.blast import Close
from loadkit.wire.protocol import Unexpected
from loadkit.wire.proxy_header import ProxyProtocol

__all__ = ["OPENING", "Bytes", "Connection", "State"]

Bytes = bytes | bytearray | memoryview

# The `intended` of a message that is not on the schedule: the first message of a connection, in an open loop.
OPENING = -1


clock = time.monotonic_ns


class State(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = enum.auto()
    HANDSHAKING = enum.auto()
    OPEN = enum.auto()
    RETIRING = enum.auto()
    CLOSED = enum.auto()


class Connection(asyncio.Protocol):
    """A connection as a protocol. `pending` has intended, taken, sent, intended, … of the messages without a reply."""

    __slots__ = (
        "due_ns",
        "established_ns",
        "expected",
        "first",
        "has_successor",
        "held",
        "opening",
        "origin",
        "paused",
        "pending",
        "place",
        "received",
        "route",
        "sent",
        "state",
        "swarm",
        "timer_ns",
        "transport",
    )

    def __init__(self, swarm: Crowd[Connection], due_ns: int, route: Route, first: bool, has_successor: bool) -> None:
        self.swarm = swarm
        self.due_ns = due_ns
        self.route = route
        self.first = first  # one of those that the ramp opens
        self.opening = False  # it is on a schedule, and its first reply has not come yet
        self.has_successor = has_successor  # churn: another one is opened when this one ends
        self.state = State.CONNECTING
        self.pending: list[int] = []
        self.held: deque[int] | None = None
        self.paused = False
        self.origin = swarm.next_origin()  # where in the stream it begins
        self.sent = 0  # bytes of the stream from there on, of all messages so far
        self.received = 0
        self.timer_ns = 0  # when its replies are next checked for the time-out; 0: no check is due
        self.place = -1  # index among the swarm's open connections
        self.established_ns = 0  # once it is open: since when it is
        self.expected: Bytes | None = None  # the next chunk of a free-running closed loop, if it is right
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes the time of the connect and sends the first message."""
        if self.take(transport):
            self.state = State.OPEN
            self.swarm.opened(self)

    def take(self, transport: asyncio.BaseTransport) -> bool:
        """It is established: notes when, and sets the socket up. Returns False if both its ends are the same."""
        self.established_ns = clock()
        self.swarm.watch.see(self.established_ns)
        self.transport = transport  # type: ignore[assignment]
        if self.route.may_meet_itself and meets_itself(transport.get_extra_info("socket")):
            self.swarm.met_itself(self)
            return False
        # With a mark of 0 uvloop writes at once instead of at the end of the loop's turn: `sent` is then the time at
        # which the kernel has it, not the one at which it was queued behind a batch of reads.
        self.transport.set_write_buffer_limits(high=0)
        if self.swarm.stamps:
            with contextlib.suppress(OSError):  # gone by now
                stamp_received(transport.get_extra_info("socket"))
        if self.swarm.load.keepalive_ns:
            keep_alive(transport.get_extra_info("socket"), self.swarm.load.keepalive_ns)
        if self.swarm.sets_sockets:  # again: the transport has switched Nagle's algorithm off
            with contextlib.suppress(OSError):  # gone by now
                apply_settings(transport.get_extra_info("socket"), self.swarm.load.sockets)
        if self.swarm.load.proxy_protocol is not ProxyProtocol.OFF:
            with contextlib.suppress(OSError):  # gone by now
                sock = transport.get_extra_info("socket")
                self.transport.write(header_of(sock, self.swarm.load.proxy_protocol))
        return True

    def data_received(self, chunk: bytes) -> None:
        """Checks what came. In a free-running closed loop a whole and right reply takes a shorter path."""
        now = clock()
        swarm = self.swarm
        if now >= swarm.alarm_ns:
            swarm.look(now)
        if chunk == self.expected and swarm.free_running:
            at = self.sent
            self.received = at
            self.sent = at + swarm.size
            pending = self.pending
            swarm.note_exchange((pending[2], now))
            pending[0] = pending[2] = now  # pending[1], when it was taken, is not needed here
            self.expected = message = swarm.messages[(self.origin + at) % swarm.cycle]
            self.transport.write(message)
            if len(swarm.exchanges) >= swarm.fold_length:
                swarm.watch.seen_ns = now
                swarm.tally.fold()
        elif self.state is not State.CLOSED:
            swarm.watch.seen_ns = now
            self._received(chunk, now)

    def _received(self, chunk: bytes, now: int) -> None:
        """Takes bytes in any segmentation: parts of a reply, several replies, wrong bytes."""
        swarm = self.swarm
        received = self.received
        if not received:
            swarm.answered(self, now)
        if self is swarm.first:
            swarm.keep(chunk)
        self.received = received + len(chunk)
        step, wrong, noted = "receive", 0, 0
        try:
            completed = self._count_replies(chunk)
        except Unexpected as unexpected:
            completed = len(unexpected.ends)
            step, wrong = place_of(unexpected.error)
        if completed:
            late, noted = self._take_replies(completed, now)
            if late:
                step, wrong = "receive", late
        # The bytes of the replies that were noted are counted with them.
        if len(chunk) != noted * swarm.size:
            swarm.tally.extra.extend((now, len(chunk) - noted * swarm.size))
        if wrong:
            swarm.broken(self, step, wrong)
        if wrong or not completed:
            return
        self.expected = None
        if self is swarm.first:
            swarm.prove(self, "right")
        swarm.replied(self, now)
        if len(swarm.tally.replied) >= swarm.fold_length:
            swarm.tally.fold()

    def _count_replies(self, chunk: bytes) -> int:
        """Returns how many replies end within bytes that are counted as received. Raises Unexpected.

        This is the echo's: all that it needs to know of a connection is how many bytes have come.
        """
        if self.received > self.sent:
            raise Unexpected(EXTRA_BYTES)
        _, ends = self.swarm.framing.feed(self.origin + self.received - len(chunk), chunk)
        return len(ends)

    def _take_replies(self, count: int, now: int) -> tuple[int, int]:
        """Notes whole replies. Returns a number of OwnError, or 0 if they are in time, and how many were noted."""
        swarm, pending, noted = self.swarm, self.pending, 0
        for _ in range(count):
            intended, taken, sent = pending[:3]
            if now - sent > swarm.timeout_ns and swarm.is_too_late(sent, now):
                return OwnError.REPLY_TIMEOUT, noted
            del pending[:3]
            if intended != OPENING:
                noted += 1
                swarm.tally.replied.extend((intended, taken, sent, now))
        if count:
            swarm.replied_ns = now
        return 0, noted

    def eof_received(self) -> None:
        """The peer sends no more. The loop closes the connection then and calls connection_lost."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports an error if the peer or the kernel ended it, and not loadkit itself."""
        if self.state is State.CLOSED:
            return
        if exc is None:
            self.swarm.broken(self, "receive", OwnError.CLOSED_BY_PEER)
            return
        number = exc.errno if isinstance(exc, OSError) and exc.errno else OwnError.UNKNOWN
        self.swarm.broken(self, "send" if number == errno.EPIPE else "receive", number)

    def pause_writing(self) -> None:
        """The socket is full: messages that are due are held from now on."""
        self.paused = True

    def resume_writing(self) -> None:
        """The socket has room again."""
        self.paused = False
        self.swarm.room(self)

    # -- called by the swarm

    def waits_since(self) -> int | None:
        """Since when it waits for the peer; None if it waits for nothing."""
        if self.state is State.HANDSHAKING:
            return self.established_ns
        return self.pending[2] if self.pending else None

    def has_room(self) -> bool:
        """Whether a message may go out now."""
        return len(self.pending) < 3 * self.swarm.depth and not self.paused and self.state is State.OPEN

    def send_first(self) -> None:
        """Sends the first message, which is not on the schedule of an open loop."""
        if self.swarm.closed_loop:
            self.send(self.established_ns, self.established_ns)
        else:
            self.swarm.tally.openings.append(self.established_ns)
            self._write(OPENING, OPENING, self.established_ns)

    def send(self, intended: int, taken: int | None) -> None:
        """Sends the next message. If `taken` is None, the worker has come to it just now."""
        swarm = self.swarm
        if swarm.closed_loop:
            sent = intended
        else:
            sent = clock()
            swarm.watch.see(sent)
        if taken is None:
            taken = sent
        swarm.tally.sent.extend((intended, taken, sent))
        self._write(intended, taken, sent)

    def _write(self, intended: int, taken: int, sent: int) -> None:
        swarm = self.swarm
        at, place = self.sent, self.origin + self.sent
        message: Bytes = swarm.messages[place % swarm.cycle]
        self.sent = at + (swarm.size or swarm.script.length(place))
        if swarm.is_patched:
            message = self._patched(message, place, sent)
        self.pending += (intended, taken, sent)
        if not self.timer_ns:
            swarm.need_reply_by(self, sent + swarm.timeout_ns)
        if not swarm.size:
            swarm.tally.outgoing.extend((sent, self.sent - at))
        # The shorter path compares a whole chunk, so nothing else may be under way.
        self.expected = message if self.received == at and at and swarm.foresees else None
        self.transport.write(message)

    def _patched(self, message: Bytes, place: int, sent: int) -> Bytes:
        """Returns a message, or its first piece, with what is fresh in it. That is in none but a LongConnection."""
        return message

    def hold(self, intended: int) -> None:
        """Keeps a message that is due until there is room."""
        if self.held is None:
            self.held = deque()
        self.held.append(intended)

    def close(self, how: Close) -> None:
        """Closes at once. RST drops what is under way; with FIN the kernel still delivers it."""
        self.state = State.CLOSED
        self.expected = None
        if self.transport is None:
            return
        if how is Close.RST:
            sock: socket.socket = self.transport.get_extra_info("socket")
            reset_on_close(sock)
        self.transport.abort()
