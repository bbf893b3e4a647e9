"""`loadkit.serve`: a serve end for as long as a `with` block lasts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Unpack

from loadkit.endpoint import place_of, reached_at
from loadkit.library.keywords import ServeOptions
from loadkit.library.metrics import RunMetrics, run_metrics
from loadkit.library.options import read_serve_options, warn
from loadkit.library.prepare import PreparedServe, prepare_serve
from loadkit.library.threads import in_thread
from loadkit.limits import thread_starts, within_memory
from loadkit.log import log
from loadkit.measure.run_samples import WorkerEnd
from loadkit.report.serve import ServeRecord, build_serve_record
from loadkit.run.serve import ServeGroup, run_serve
from loadkit.run.signals import Interrupts

__all__ = ["Server", "serve", "serve_blocking"]


class Server:
    """A serve end under way: worker processes, and a thread of this one that replaces those that die.

    `host` and `port` are where it listens. `record` is what `loadkit serve -o` writes, None until it has ended.
    """

    host: str
    port: int
    record: ServeRecord | None = None

    def __init__(self, prepared: PreparedServe) -> None:
        self.host = prepared.plan.addresses[0]
        self.port = prepared.plan.port
        self._prepared = prepared
        self._interrupts = Interrupts()
        self._settled = threading.Event()
        self._group: ServeGroup | None = None
        self._metrics: RunMetrics | None = None
        self._error: BaseException | None = None
        # A daemon, so that a program that never leaves the block can still end: its workers then end by themselves.
        self._thread = threading.Thread(target=self._serve, name="loadkit-serve", daemon=True)

    @property
    def target(self) -> str:
        """Where it is reached from this machine, as "host:port"."""
        return place_of(reached_at(self.host), self.port)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of its workers, none once it has ended."""
        group = self._group
        return tuple(worker.pid for worker in group.workers) if group else ()

    def start(self) -> None:
        """Returns once every worker listens. Raises PreflightError or WorkerError; then nothing is left of it."""
        with thread_starts():
            self._thread.start()
        self._settled.wait()
        if self._group is None:
            self._thread.join()
            self.check()

    def stop(self) -> None:
        """Asks it to stop accepting, and to end when its connections have or the grace is over."""
        self._interrupts.stop()

    def leave(self) -> None:
        """Asks it to end at once."""
        self._interrupts.leave()

    def wait(self) -> None:
        """Returns when it has ended and its processes are gone."""
        if self._thread.ident is not None:
            self._thread.join()

    def check(self) -> None:
        """Raises WorkerError when it did not end because it was asked to."""
        error, self._error = self._error, None
        if error:
            try:
                raise error
            finally:
                del error  # it holds this frame, and what it names

    def _serve(self) -> None:
        try:
            with within_memory():
                with run_metrics(self._prepared.metrics) as metrics, self._interrupts:
                    self._metrics = metrics
                    run = run_serve(self._prepared.plan, self._note_ready, _log_deaths, self._interrupts)
                    if not run.failure and self._interrupts.count < 2:
                        metrics.linger(self._interrupts)
                for end in run.died_last:
                    log.warning("serve worker %d %s when all of them were to end", end.index, end.died)
                self.record = build_serve_record(run, self._prepared.host)
                if run.failure:
                    raise run.failure
        except BaseException as error:
            self._error = error
        finally:
            self._group = None  # and with it the board's memory
            self._settled.set()

    def _note_ready(self, group: ServeGroup) -> None:
        self._group = group
        self.port = group.port
        if self._metrics:
            self._metrics.show(group.view)
        self._settled.set()


def _log_deaths(dead: list[WorkerEnd], group: ServeGroup) -> None:
    for end in dead:
        log.warning("serve worker %d %s; another one has taken its place", end.index, end.died or "ended")


@contextlib.asynccontextmanager
async def serve(listen: str | int = "127.0.0.1:0", **options: Unpack[ServeOptions]) -> AsyncIterator[Server]:
    """Serves while the block lasts: an echo server, or with `app` your own, in one worker process per core.

    Yields the Server once all workers listen; port 0 is a free one. The options are those of `loadkit serve` with
    underscores: `workers`, `engine`, `edge_triggered`, `stamps`, `probes`, `pin`, `backlog`, `max_connections`,
    `idle_timeout`, `grace` (how long open connections may go on after the block, 0 unless given) and `app`: a class or
    function at the top of a module, or its name as "package.module:factory". Values are written as for
    `loadkit.blast`.

    However the block is left, the processes are gone afterwards. Raises OptionError, TargetError, PreflightError or
    WorkerError when it cannot start, and WorkerError at the end when its workers did not stay alive.
    """
    prepared = await in_thread(lambda: _prepare(listen, options), lambda: None)
    server = Server(prepared)
    try:
        await in_thread(server.start, server.leave)
        yield server
    finally:
        server.stop()
        await in_thread(server.wait, server.leave)
    server.check()


@contextlib.contextmanager
def serve_blocking(listen: str | int, options: ServeOptions) -> Iterator[Server]:
    """Does what `serve` does, without an event loop."""
    server = Server(_prepare(listen, options))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        try:
            server.wait()
        except BaseException:
            # A second Ctrl-C.
            server.leave()
            server.wait()
            raise
    server.check()


def _prepare(listen: str | int, options: ServeOptions) -> PreparedServe:
    prepared = prepare_serve(str(listen), read_serve_options(options))
    warn(prepared.check_machine())
    return prepared
