"""What epoll did under a loop that does not count itself: by the best means there are.

uvloop: the hook in its import table (hook.c), exact. Where that is not to be had (no compiler, another processor, a
statically linked libuv): libuv's own metrics, which know the turns of the loop and the events; that is approximate, and
named so. asyncio: a selector of ours, through public API; it sees whether a socket is readable or writable, no more.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import select
import selectors
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from loadkit.measure.board import Page, Slot
from loadkit.measure.names import COUNTERS, WAKEUP_SOURCES
from loadkit.measure.tally import Folding, record

__all__ = ["Counting", "CountingSelector", "Hook", "LoopMetrics", "Wait", "count_libuv"]

_AT = {name: index for index, name in enumerate(COUNTERS)}

# Events of one wait at most, as libuv and native/poller.h have it: a socket that becomes ready does not wait for 20,000
# others.
_BATCH = 1024

clock = time.monotonic_ns


Wait = tuple[int, int, int]  # of a call of epoll_wait: when it was made, when it returned (monotonic ns), its events


class Counting(Folding, Protocol):
    """What counts until it is closed."""

    @property
    def last(self) -> Callable[[], Wait] | None:
        """What tells of this thread's last wait, None where nobody sees it."""

    def close(self) -> None:
        """Counts no more."""


class CountingSelector(selectors.EpollSelector):
    """An EpollSelector that counts its calls. The events of a call are the sockets it returns."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self._many = select.epoll.fromfd(os.dup(self.fileno()))  # the same epoll instance, to be asked for so many
        slot.set("wakeup_source", WAKEUP_SOURCES.index("selector"))
        self._waits = self._blocked_ns = self._reads = self._writes = 0
        self._batches: list[int] = []
        self._busy: list[int] = []  # of whole turns
        self._busy_ns = 0
        self._busy_from_ns = 0  # how far the time since the last wait has been counted
        self._last: Wait = (0, 0, 0)

    @property
    def last(self) -> Callable[[], Wait]:
        """What tells of the last wait."""
        return lambda: self._last

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits as its parent does, and returns _BATCH at most: the kernel puts those that are left in front."""
        begin = clock()
        if self._last[1]:
            self._busy.append(begin - self._last[1])
            self._busy_ns += begin - self._busy_from_ns
        ready = super().select(timeout) if len(self.get_map()) <= _BATCH else self._select_some(timeout)
        end = clock()
        self._last = begin, end, len(ready)
        self._busy_from_ns = end
        self._waits += 1
        self._blocked_ns += end - begin
        if ready:
            self._batches.append(len(ready))
            for _key, mask in ready:
                self._reads += mask & selectors.EVENT_READ != 0
                self._writes += mask & selectors.EVENT_WRITE != 0
        return ready

    def _select_some(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Does what EpollSelector does, which takes as many events as there are sockets."""
        milliseconds = -1 if timeout is None else math.ceil(max(0.0, timeout) * 1e3)
        sockets, ready = self.get_map(), []
        for fd, event in self._many.poll(milliseconds / 1e3 if milliseconds >= 0 else -1, _BATCH):
            key = sockets.get(fd)
            if key:
                events = (event & ~select.EPOLLIN and selectors.EVENT_WRITE) | (
                    event & ~select.EPOLLOUT and selectors.EVENT_READ
                )
                ready.append((key, events & key.events))
        return ready

    def close(self) -> None:
        """Lets go of epoll."""
        self._many.close()
        super().close()

    def fold(self, page: Page) -> None:
        """Adds what came since the last time to the page, of the turn under way as much as has passed."""
        counters = page.counters
        if self._last[1]:
            now = clock()
            counters[_AT["busy_ns"]] += self._busy_ns + now - self._busy_from_ns
            self._busy_ns, self._busy_from_ns = 0, now
        counters[_AT["waits"]] += self._waits
        counters[_AT["blocked_ns"]] += self._blocked_ns
        counters[_AT["events_in"]] += self._reads
        counters[_AT["events_out"]] += self._writes
        self._waits = self._blocked_ns = self._reads = self._writes = 0
        if self._batches:
            batches = np.array(self._batches, np.int64)
            self._batches.clear()
            counters[_AT["wakeups"]] += len(batches)
            counters[_AT["events"]] += int(batches.sum())
            record(page, "batch", batches)
        if self._busy:
            busy = np.array(self._busy, np.int64)
            self._busy.clear()
            record(page, "busy", busy)


class Hook:
    """The hook counts straight into the board, into the page of the phase that the worker is in."""

    def __init__(self, slot: Slot, library: str) -> None:
        from loadkit.engine.aio import _hook

        _hook.begin(slot.words, len(slot.pages), library)
        self._end, self._settle = _hook.end, _hook.settle
        self.last: Callable[[], Wait] = _hook.last
        slot.set("wakeup_source", WAKEUP_SOURCES.index("hook"))

    def fold(self, page: Page) -> None:
        """Adds the busy time of the turn under way to the phase that the worker is in: the rest is counted already."""
        self._settle()

    def close(self) -> None:
        """Puts the import table back, when this is the last one."""
        self._end()


class _Metrics(ctypes.Structure):
    """uv_metrics_t of libuv's docs (metrics.html), since 1.45."""

    _fields_ = (
        ("loop_count", ctypes.c_uint64),
        ("events", ctypes.c_uint64),
        ("events_waiting", ctypes.c_uint64),
        ("reserved", ctypes.POINTER(ctypes.c_uint64) * 13),
    )


class LoopMetrics:
    """libuv's own: how often the loop turned, and the events it handled."""

    last = None

    def __init__(self, slot: Slot, loop: asyncio.AbstractEventLoop, library: str, pointer: Any) -> None:
        self._read = ctypes.CDLL(library).uv_metrics_info
        self._read.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Metrics))
        self._loop = loop  # the pointer is its
        self._pointer = _address(pointer)
        self._was = self._look()
        slot.set("wakeup_source", WAKEUP_SOURCES.index("uv_metrics"))

    def _look(self) -> tuple[int, int]:
        metrics = _Metrics()
        if self._read(self._pointer, ctypes.byref(metrics)):
            raise OSError("uv_metrics_info failed")
        return metrics.loop_count, metrics.events

    def fold(self, page: Page) -> None:
        """Adds what came since the last time to the page."""
        turns, events = self._look()
        page.counters[_AT["waits"]] += turns - self._was[0]
        page.counters[_AT["events"]] += events - self._was[1]
        self._was = turns, events

    def close(self) -> None:
        """Nothing was changed."""


def count_libuv(loop: asyncio.AbstractEventLoop, slot: Slot) -> Counting | None:
    """Begins to count what a uvloop's epoll does, in this thread; None where there is no way to."""
    from uvloop import loop as libuv

    library = libuv.__file__
    try:
        return Hook(slot, library)
    except (ImportError, OSError):
        pass
    try:
        return LoopMetrics(slot, loop, library, libuv.libuv_get_loop_t_ptr(loop))  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None


def _address(pointer: Any) -> int:
    """Returns the address in a capsule (uvloop's), or the number that it is already."""
    if isinstance(pointer, int):
        return pointer
    take = ctypes.pythonapi.PyCapsule_GetPointer
    take.restype, take.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return int(take(pointer, None) or 0)
