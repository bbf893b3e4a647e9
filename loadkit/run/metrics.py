"""The endpoint of `--metrics`: a small HTTP server that has Prometheus' client write what a view shows.

A scrape is a thread of the parent. Signals are the main thread's, so the threads of scrapes have them blocked. Nothing
that goes wrong here touches the run.
"""

from __future__ import annotations

import io
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from loadkit.endpoint import family_of, place_of, say_error, sockaddr_of
from loadkit.errors import PreflightError
from loadkit.limits import setting_up, thread_starts
from loadkit.report.families import Family, Labels, View, families_of
from loadkit.run.serve import bind_advice
from loadkit.run.signals import hold
from loadkit.run.target import resolve_listen

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Endpoint"]

# Scrapes at once: two Prometheus servers of a pair, a person with curl, and some that hang.
_MOST_SCRAPES = 8
_PATIENCE_S = 10.0
_PAUSE_S = 0.1

_log = logging.getLogger("loadkit")


class Endpoint:
    """Listens at `[HOST:]PORT`, port 0 a free one, from when it is made until it is closed; `url` is where.

    `show` says what a scrape is shown from then on; before that it is shown no metric.
    Raises OptionError for what is no place, TargetError for a name that does not resolve, and PreflightError if the
    place cannot be had.
    """

    def __init__(self, place: str) -> None:
        self._view: Callable[[], View] | None = None
        self._highest: dict[tuple[str, Labels], float] = {}
        where = resolve_listen(place)
        registry = CollectorRegistry()
        registry.register(_Board(self))
        try:
            self._server = _Server(where.addresses[0], where.port)
        except OSError as error:
            at = place_of(where.addresses[0], where.port)
            raise PreflightError(
                f"--metrics: cannot listen on {at}: {say_error(error)}; {bind_advice(error)}"
            ) from None
        self._server.set_app(_plain(make_wsgi_app(registry, disable_compression=True)))
        self.url = f"http://{place_of(where.addresses[0], self._server.server_port)}/metrics"
        self._thread = threading.Thread(target=self._serve, name="loadkit-metrics", daemon=True)
        try:
            with setting_up("serve metrics"):
                self._stopped, self._stop = os.pipe2(os.O_CLOEXEC)
            with hold(), thread_starts():
                self._thread.start()
        except BaseException:
            self._server.server_close()
            raise

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, view: Callable[[], View]) -> None:
        """Has scrapes be shown what `view` returns; it is called in their threads."""
        self._view = view

    def close(self) -> None:
        """Stops listening."""
        os.close(self._stop)
        self._thread.join()
        self._server.server_close()
        os.close(self._stopped)

    def families(self) -> tuple[Family, ...]:
        """Returns what a scrape is shown now."""
        found = families_of(self._view()) if self._view else ()
        return tuple(self._never_less(family) if family.kind == "counter" else family for family in found)

    def _never_less(self, family: Family) -> Family:
        """Returns a counter that has not gone back, which Prometheus takes for a new start.

        A worker takes time that turns out to have been a standstill back out of its busy time (engine/aio/watch.py).
        """
        samples = []
        for sample in family.samples:
            key = (family.name, sample.labels)
            self._highest[key] = max(sample.value, self._highest.get(key, sample.value))
            samples.append(sample._replace(value=self._highest[key]))
        return replace(family, samples=tuple(samples))

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._server, select.POLLIN)
        poller.register(self._stopped, select.POLLIN)
        while self._stopped not in (fd for fd, _event in poller.poll()):
            self._server.handle_request()


def _plain(app: WSGIApplication) -> WSGIApplication:
    """Returns the app without what a scraper would like to have, which costs more than it gains on this machine.

    The client takes 3.7 ms to write 900 samples in its text format and 6.2 ms as OpenMetrics (2026-11-26, 2 CPUs), and
    as long again to compress them.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app({**environ, "HTTP_ACCEPT": "text/plain"}, start_response)

    return answer


class _Board(Collector):
    """What is written when it is asked for, without a second set of books."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def collect(self) -> Iterator[Metric]:
        for family in self._endpoint.families():
            metric = Metric(family.name, family.help, family.kind)
            metric.samples = [
                Sample(family.name + suffix, dict(labels), value) for suffix, labels, value in family.samples
            ]
            yield metric

    def describe(self) -> Iterator[Metric]:
        """Has the registry not collect to find the names."""
        return iter(())


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per scrape, few of them at once; one that is too many is closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int) -> None:
        self.address_family = family_of(address)
        self._free = threading.Semaphore(_MOST_SCRAPES)
        super().__init__(sockaddr_of(address, port), _Handler)

    def server_bind(self) -> None:
        """Binds without asking a name server what this machine is called, as http.server does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection; without file descriptors it waits a moment, or it would ask again and again."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a scrape."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no room for a thread
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a scrape."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a scraper that has gone, or sent what is no HTTP."""
        _log.debug("a scrape failed", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Logs no requests."""

    def get_stderr(self) -> TextIO:
        """Returns where wsgiref writes tracebacks to."""
        return io.StringIO()
