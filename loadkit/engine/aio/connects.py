"""The connects of a worker that are under way: a task each, ended if it takes too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from loadkit.endpoint import is_unix
from loadkit.engine.aio.connect import open_route, open_unix
from loadkit.engine.aio.connection import Connection, State
from loadkit.engine.aio.line import Line
from loadkit.engine.aio.oldest import OldestFirst
from loadkit.engine.aio.schedule import NEVER
from loadkit.engine.aio.watch import Watch
from loadkit.measure.names import OwnError
from loadkit.plan.split import Shard

__all__ = ["Connects"]

clock = time.monotonic_ns


class Connects:
    """The connects that have begun and are neither established nor refused.

    `protocol` returns what the transport of a connection is made for. `failed` is called with the connection and an
    errno, or UNKNOWN of OwnError, when a connect fails; with None when it is ended here. `next_ns` is when the oldest
    one may have taken too long.
    """

    __slots__ = ("_failed", "_grain_ns", "_line", "_loop", "_protocol", "_shard", "_under_way", "_watch", "next_ns")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shard: Shard,
        watch: Watch,
        grain_ns: int,
        protocol: Callable[[Connection], asyncio.Protocol],
        failed: Callable[[Connection, int | None], None],
    ) -> None:
        self._loop = loop
        self._shard = shard
        self._watch = watch
        self._grain_ns = grain_ns
        self._protocol = protocol
        self._failed = failed
        self._line = Line(loop)
        self._under_way: OldestFirst[tuple[int, asyncio.Task[None], Connection]] = OldestFirst(
            lambda one: one[1].done()
        )
        self.next_ns = NEVER

    def begin(self, connection: Connection) -> None:
        """Begins a connect along the connection's route."""
        task = self._loop.create_task(self._connect(connection))
        now = clock()
        self._watch.see(now)
        self._under_way.append((now, task, connection))
        if self.next_ns == NEVER:
            self.next_ns = now + self._shard.load.connect_timeout_ns

    async def _connect(self, connection: Connection) -> None:
        load = self._shard.load
        try:
            protocol = self._protocol(connection)
            if is_unix(connection.route.destination):
                await open_unix(self._loop, lambda: protocol, connection.route, self._line, load.sockets)
            else:
                await open_route(self._loop, lambda: protocol, connection.route, self._shard.port, load.sockets)
        except asyncio.CancelledError:
            if connection.state is State.CONNECTING:
                self._failed(connection, None)
        except OSError as error:
            self._failed(connection, error.errno or OwnError.UNKNOWN)

    def expire(self, now: int) -> None:
        """Ends the connects that take too long, less what the worker stood still; the oldest are first."""
        self.next_ns = NEVER
        while self._under_way:
            begun, task, _connection = self._under_way.oldest
            if not task.done():
                stood = self._watch.standstills.since(begun)
                # After a standstill what has come meanwhile is read first.
                until = begun + self._shard.load.connect_timeout_ns + stood + (self._grain_ns if stood else 0)
                if until > now:
                    self.next_ns = until
                    return
                task.cancel()
            self._under_way.pop()

    def are_under_way(self) -> bool:
        """Whether there are any."""
        return any(not task.done() for _, task, _ in self._under_way)

    def tidy(self) -> None:
        """Lets go of those that are over: each has a connection and a task."""
        self._under_way.tidy()

    async def cancel(self) -> None:
        """Ends them all."""
        for _, task, _ in self._under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task, _ in self._under_way), return_exceptions=True)
        for _, _, connection in self._under_way:
            if connection.state is State.CONNECTING:  # its task was cancelled before it began
                self._failed(connection, None)
