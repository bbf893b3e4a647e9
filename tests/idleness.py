"""An idle connection and a busy one at a serve end with a time-out for idle ones."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

_TIMES = 20


def busy_until_idle_is_closed(
    connect: Callable[[], socket.socket], exchange: Callable[[socket.socket], bool], timeout_s: float
) -> None:
    """Asserts that the idle one is closed, no earlier than after the time-out, and that the busy one is not.

    `exchange` has a message echoed, and says whether it was. Where this machine kept the test from sending for half of
    the time-out, a close of the busy one says nothing: then all of it is tried again.
    """
    longest_s = [_try(connect, exchange, timeout_s)]
    while longest_s[-1] is not None:
        assert len(longest_s) < _TIMES, f"this machine does not let us send: not for {longest_s} s"
        longest_s.append(_try(connect, exchange, timeout_s))


def _try(
    connect: Callable[[], socket.socket], exchange: Callable[[socket.socket], bool], timeout_s: float
) -> float | None:
    """Returns the longest time in which the busy one sent nothing, if that may have closed it; None if all is well."""
    with connect() as idle, connect() as busy:
        assert exchange(idle)
        began = last = time.monotonic()
        longest_s = 0.0
        idle.settimeout(timeout_s / 50)
        is_closed = False
        while True:
            is_echoed = _is_echoed(exchange, busy)
            now = time.monotonic()
            longest_s, last = max(longest_s, now - last), now
            if not is_echoed:
                assert longest_s > timeout_s / 2, "the busy one was closed"
                return longest_s
            if is_closed:
                return None
            assert now < began + 60, "the idle one stays"
            is_closed = _is_closed(idle)
            assert not is_closed or time.monotonic() - began > 0.75 * timeout_s, "the idle one was closed early"


def _is_echoed(exchange: Callable[[socket.socket], bool], sock: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        return exchange(sock)
    return False


def _is_closed(sock: socket.socket) -> bool:
    with contextlib.suppress(TimeoutError):
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b"", "it has said something"
        return True
    return False
