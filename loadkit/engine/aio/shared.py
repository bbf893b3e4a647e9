"""Accepting from a listener that other workers accept from too, which is a UNIX socket's.

A loop watches a listener for itself alone: a connection would wake every worker, and all but one in vain. With
EPOLLEXCLUSIVE it wakes one of them (epoll_ctl(2)), the one that has been watching for the longest time. After it has
accepted it goes to the end of the line, as native/accepting.c does: otherwise one worker would get all that it has time
for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable

__all__ = ["SharedListener"]

# Fewer than of a listener of its own: the rest is for the others (native/serve.h).
_ACCEPTS_A_TURN = 16
# libuv tells epoll of a new watcher when it next waits.
_TURNS_UNTIL_WATCHED = 2
_REST_S = 0.1


class SharedListener:
    """Hands what it accepts to `take`, and errors of accept(2) to `failed`. `epoll_fd` is the loop's own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        epoll_fd: int,
        take: Callable[[socket.socket], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._epoll = select.epoll.fromfd(os.dup(epoll_fd))  # closing it leaves the loop's open
        self._take = take
        self._failed = failed
        self._is_open = True

    async def begin(self) -> None:
        """Begins to accept."""
        self._loop.add_reader(self._listener, self._accept)
        for _ in range(_TURNS_UNTIL_WATCHED):
            await asyncio.sleep(0)
        self._join()

    def close(self) -> None:
        """Accepts no more, and closes the listener."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener)
            self._epoll.close()
            self._listener.close()

    def _join(self) -> None:
        """Watches it anew: at the end of the line, and with no other worker woken for the same connection."""
        if not self._is_open:
            return
        with contextlib.suppress(FileNotFoundError):
            self._epoll.unregister(self._listener)
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                break
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # It stays readable: for a while it is not watched.
                self._failed(error)
                self._epoll.unregister(self._listener)
                self._loop.call_later(_REST_S, self._join)
                return
            sock.setblocking(False)
            self._take(sock)
        self._join()
