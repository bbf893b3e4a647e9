"""What happened on some connections in the measured time: differences of TCP_INFO's counters, which only grow.

Watched is an evenly spaced sample of the connections that are open when a measured phase begins, and some of those that
open later. They are read when the phase begins (or they open), some of them at each look, and when it ends (or they
close). They stay watched over a phase that is not measured, so that each connection counts once.
engine/native/tcp_watch.h is the same in C.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from loadkit.measure.board import Page
from loadkit.measure.tcp_info import TcpInfo, read_tcp_info

__all__ = ["LOOKS", "MOST_WATCHED", "TcpWatch"]

# Per worker. Reading them takes 0.8 ms, twice in a run; the native engine takes 0.06 ms (2-core VM, Linux 6.18).
MOST_WATCHED = 128
# Each is read once in this number of looks, which come ten times per second.
LOOKS = 10

_COUNTS = ("retransmits", "busy_us", "rwnd_limited_us", "sndbuf_limited_us")
_BEGINNING = (0,) * len(_COUNTS)

_Connection = TypeVar("_Connection", bound=Hashable)


class TcpWatch(Generic[_Connection]):
    """The watched connections of a worker. `read` returns TCP_INFO of one; None if it is not a connection any more."""

    def __init__(
        self, fd_of: Callable[[_Connection], int], read: Callable[[int], TcpInfo | None] = read_tcp_info
    ) -> None:
        self._fd_of = fd_of
        self._read = read
        self._page: Page | None = None
        self._wanted = 0
        self._before: dict[_Connection, tuple[int, ...]] = {}
        self._counted: set[_Connection] = set()
        self._next = 0

    def begin(self, page: Page, live: Sequence[_Connection]) -> None:
        """Begins a measured phase, with these connections open. One that goes on ends."""
        self.end()
        self._page = page
        wanted = min(len(live), MOST_WATCHED)
        chosen = [live[at * len(live) // wanted] for at in range(wanted)]
        for connection in dict.fromkeys((*self._before, *chosen)):
            known = connection in self._before
            if (known or len(self._before) < MOST_WATCHED) and (counts := self._counts(connection)):
                self._before[connection] = counts

    def end(self) -> None:
        """Ends the measured phase."""
        self._add_differences(list(self._before))
        self._page, self._wanted = None, 0

    def look(self) -> None:
        """Reads some of them, others each time, so that what came is counted soon and not only at the end."""
        watched = list(self._before)
        most = -(-len(watched) // LOOKS)
        begin = self._next if self._next < len(watched) else 0
        self._add_differences(watched[begin : begin + most])
        self._next = begin + most

    def want(self, most: int) -> None:
        """Lets up to `most` of the connections that open next be watched."""
        self._wanted = most if self._page else 0

    def opened(self, connection: _Connection) -> None:
        """Notes that a connection has opened. It is watched if another one is wanted."""
        if self._wanted and len(self._before) < MOST_WATCHED:
            self._wanted -= 1
            self._before[connection] = _BEGINNING

    def closing(self, connection: _Connection) -> None:
        """Notes that a connection is about to close."""
        if connection in self._before:
            self._add_differences([connection])
            del self._before[connection]
            self._counted.discard(connection)

    def _add_differences(self, connections: Iterable[_Connection]) -> None:
        """Adds what came since the last reading. A connection that cannot be read any more adds nothing."""
        if self._page is None:
            return
        total, counted = [0] * len(_COUNTS), len(self._counted)
        for connection in connections:
            if now := self._counts(connection):
                total = [
                    one + late - early for one, early, late in zip(total, self._before[connection], now, strict=True)
                ]
                self._before[connection] = now
                self._counted.add(connection)
        self._page.add("tcp_watched", len(self._counted) - counted)
        for name, amount in zip(_COUNTS, total, strict=True):
            self._page.add(f"tcp_{name}", amount)

    def _counts(self, connection: _Connection) -> tuple[int, ...] | None:
        """Reads the counters. One that this kernel does not report is 0."""
        fd = self._fd_of(connection)
        found = self._read(fd) if fd >= 0 else None
        return tuple(getattr(found, name) or 0 for name in _COUNTS) if found else None
