"""The line before a UNIX listener whose queue is full: native/line.h says why, and how long they wait."""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from loadkit.endpoint import SockAddr

__all__ = ["Line"]

_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.001, 0.05


class Line:
    """The connects of a worker to one UNIX socket. While some wait, others wait behind them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting = deque[asyncio.Future[None]]()
        self._pause_s = _LEAST_PAUSE_S

    async def connect(self, sock: socket.socket, sockaddr: SockAddr) -> None:
        """Connects the socket. Raises OSError, but not because the queue is full."""
        if not self._waiting and _connects(sock, sockaddr):
            return
        turn = self._loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._call_first(_LEAST_PAUSE_S)
        try:
            while True:
                await turn
                if _connects(sock, sockaddr):
                    self._pause_s = _LEAST_PAUSE_S
                    return
                turn = self._waiting[0] = self._loop.create_future()
                self._call_first(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S)
        finally:
            was_first = self._waiting[0] is turn
            self._waiting.remove(turn)
            if was_first and self._waiting:
                self._call_first(0)

    def _call_first(self, pause_s: float) -> None:
        self._loop.call_later(pause_s, _call, self._waiting[0])


def _call(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _connects(sock: socket.socket, sockaddr: SockAddr) -> bool:
    """Whether that connects it; not if the queue is full. Raises OSError."""
    try:
        sock.connect(sockaddr)
    except BlockingIOError:
        return False
    return True
