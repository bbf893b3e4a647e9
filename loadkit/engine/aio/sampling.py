"""What the kernel says of a worker's connections: a sample of them, ten times a second."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.engine.aio.connection import Connection
from loadkit.measure.board import Page
from loadkit.measure.tcp_info import SAMPLES, note_tcp_info
from loadkit.measure.tcp_watch import TcpWatch

__all__ = ["Sampling"]


class Sampling:
    """Which connections are read. Those of `watch` are followed over the measured time, the others read once each."""

    __slots__ = ("_at", "watch")

    def __init__(self) -> None:
        self.watch: TcpWatch[Connection] = TcpWatch(_fd_of)
        self._at = 0

    def look(self, page: Page, live: Sequence[Connection]) -> None:
        """Reads some of the open connections, others each time, and notes on the page what the kernel says of them."""
        self.watch.want(SAMPLES)
        self.watch.look()
        chosen = []
        for _ in range(min(SAMPLES, len(live))):
            self._at = (self._at + 1) % len(live)
            chosen.append(_fd_of(live[self._at]))
        note_tcp_info(page, [fd for fd in chosen if fd >= 0])


def _fd_of(connection: Connection) -> int:
    """Returns its file descriptor, -1 once it has none."""
    descriptor: int = connection.transport.get_extra_info("socket").fileno()
    return descriptor
