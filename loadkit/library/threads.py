"""A blocking call beside a running event loop, which cancelling ends early and still waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from loadkit.limits import thread_starts

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(call: Callable[[], T], stop: Callable[[], None]) -> T:
    """Returns what `call` returns, or raises what it raises, from a thread that is gone afterwards.

    When it is cancelled it calls `stop` and waits until `call` has ended, however often it is cancelled meanwhile. Only
    then does the cancellation go on: what the call had started is gone by then.
    """
    # The loop's own executor would keep its threads.
    with ThreadPoolExecutor(1, thread_name_prefix="loadkit") as pool:
        with thread_starts():
            future = asyncio.get_running_loop().run_in_executor(pool, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop()
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # seen: the cancellation is what its caller hears of
            raise
