"""The two engines: a loop factory each, and the same code for both ends."""

from __future__ import annotations

import _socket
import asyncio
import contextlib
import gc
import importlib.metadata
import platform
import socket
from collections.abc import Callable, Sequence

from loadkit.engine.aio.app import AppServing
from loadkit.engine.aio.blasting import Blasting
from loadkit.engine.aio.context import BlastContext, ServeContext
from loadkit.engine.aio.echo import Echo
from loadkit.engine.aio.greeting import GreetedConnection
from loadkit.engine.aio.probing import Answering, Probing
from loadkit.engine.aio.serving import Serving
from loadkit.engine.aio.stamping import Stamping
from loadkit.engine.aio.wakeups import Counting, CountingSelector, count_libuv
from loadkit.engine.base import Control
from loadkit.engine.probes import open_probes
from loadkit.engine.stamps import stamp_received
from loadkit.measure.board import Slot
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard
from loadkit.profile.both import Stamps

__all__ = ["AsyncioEngine", "UvloopEngine"]


class AsyncioEngine:
    """The standard library's selector loop."""

    name = "asyncio"

    def version(self) -> str:
        """Returns the interpreter the loop comes with."""
        return f"asyncio (Python {platform.python_version()})"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Returns a fresh loop of this engine's kind."""
        return asyncio.SelectorEventLoop()

    def blast(self, shard: Shard, slot: Slot, control: Control, before: Slot | None = None) -> None:
        """Runs a shard of the blast end."""

        def make(loop: asyncio.AbstractEventLoop, counting: Counting | None) -> Blasting:
            last_wait = counting.last if counting else None
            probes = open_probes(shard, slot, sees_waits=last_wait is not None)
            probing = Probing(loop, slot, probes, last_wait) if probes.sockets and last_wait else None
            loop.set_debug(False)  # debug mode is for apps: it logs each slow callback
            return Blasting(BlastContext(loop, shard, slot, control, before, probing, last_wait))

        with self._stamping(shard.load.stamps, slot):
            self._run(slot, make)

    def serve(self, plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> None:
        """Runs a worker of the serve end: the plan's app, or the echo."""

        def make(loop: asyncio.AbstractEventLoop, counting: Counting | None) -> Serving:
            epoll_fd = self._epoll_fd(loop)
            if plan.app:
                return AppServing(plan.app, ServeContext(loop, plan, listeners, slot, control, None, epoll_fd))
            loop.set_debug(False)
            answering = Answering.find(loop, slot, counting.last if counting else None, plan)
            context = ServeContext(loop, plan, listeners, slot, control, answering, epoll_fd)
            return Echo(context, GreetedConnection if plan.proxy_protocol else None)

        with self._stamping(plan.stamps, slot) as stamping:
            for listener in listeners if stamping.is_on else ():
                stamp_received(listener)
            self._run(slot, make)

    def _stamping(self, asked: Stamps, slot: Slot) -> contextlib.closing[Stamping]:
        """Returns what reads stamps, if they were requested."""
        return contextlib.closing(Stamping(asked, slot, getattr(_socket, "__file__", None), by_recv=True))

    def _open(self, slot: Slot) -> tuple[asyncio.AbstractEventLoop, Counting | None]:
        """Returns a fresh loop, and what counts its wake-ups."""
        selector = CountingSelector(slot)
        return asyncio.SelectorEventLoop(selector), selector

    def _epoll_fd(self, loop: asyncio.AbstractEventLoop) -> int:
        """Returns the loop's file descriptor of epoll."""
        fd: int = loop._selector.fileno()  # type: ignore[attr-defined]
        return fd

    def _run(
        self, slot: Slot, make: Callable[[asyncio.AbstractEventLoop, Counting | None], Blasting | Serving]
    ) -> None:
        loop, counting = self._open(slot)
        asyncio.set_event_loop(loop)
        # What exists now stays. A collection over 10,000 live connections would stop the loop for milliseconds.
        threshold = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        try:
            runner = make(loop, counting)
            runner.tally.wakeups = counting
            loop.run_until_complete(runner.run())
        finally:
            gc.set_threshold(*threshold)
            gc.unfreeze()
            asyncio.set_event_loop(None)
            loop.close()
            if counting:
                counting.close()


class UvloopEngine(AsyncioEngine):
    """libuv's loop."""

    name = "uvloop"

    def version(self) -> str:
        """Returns uvloop's version."""
        return f"uvloop {importlib.metadata.version('uvloop')}"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Returns a fresh loop of this engine's kind."""
        import uvloop

        return uvloop.new_event_loop()

    def _stamping(self, asked: Stamps, slot: Slot) -> contextlib.closing[Stamping]:
        """Returns what reads stamps, where they were asked for."""
        from uvloop import loop as libuv

        return contextlib.closing(Stamping(asked, slot, libuv.__file__, by_recv=False))

    def _open(self, slot: Slot) -> tuple[asyncio.AbstractEventLoop, Counting | None]:
        """Returns a fresh loop, and what counts its wake-ups."""
        loop = self.new_loop()
        return loop, count_libuv(loop, slot)

    def _epoll_fd(self, loop: asyncio.AbstractEventLoop) -> int:
        """Returns the loop's file descriptor of epoll."""
        fd: int = loop._get_backend_id()  # type: ignore[attr-defined]
        return fd
