"""The HTTP server behind `--metrics`: a few scrapes at once, each for a bounded time however slow its peer is.

A scrape is a thread, which waits for its peer in calls of the socket; shutting the socket down ends those.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from socketserver import ThreadingMixIn
from typing import Any, TextIO, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from loadkit.endpoint import family_of, sockaddr_of

__all__ = ["ScrapeServer"]

# Scrapes at once: two Prometheus servers of a pair, a person with curl, and some that hang.
_MOST = 8
# Prometheus gives up after 10 s (scrape_timeout).
_LONGEST_S = 10.0
_PAUSE_S = 0.1

_log = logging.getLogger("loadkit")


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """One thread per scrape. If there are too many, the one that has taken longest makes room for the next."""

    request_queue_size = 64  # the default, 5, makes the sixth of some that come at once wait for a second
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int) -> None:
        self.address_family = family_of(address)
        self._free = threading.Semaphore(_MOST)
        self._lock = threading.Lock()
        self._began: dict[socket.socket, float] = {}  # when each scrape did, the oldest first
        super().__init__(cast("tuple[str, int]", sockaddr_of(address, port)), _Handler)

    def server_bind(self) -> None:
        """Binds without asking a name server what this machine is called, as http.server does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def end_overdue(self) -> float | None:
        """Ends scrapes that take too long; returns the ms until the next one does, None if there is none."""
        overdue = time.monotonic() - _LONGEST_S
        with self._lock:
            for sock in [sock for sock, began in self._began.items() if began <= overdue]:
                self._end(sock)
            oldest = next(iter(self._began.values()), None)
        return None if oldest is None else max(0.0, oldest - overdue) * 1000 + 1

    def end_waiting(self) -> None:
        """Ends every scrape but those whose answer is on its way."""
        with self._lock:
            for sock in list(self._began):
                self._end(sock, socket.SHUT_RD)

    def _end(self, sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
        """Has its thread find the end of the stream. With the lock, so that the descriptor is still this socket's."""
        del self._began[sock]
        with contextlib.suppress(OSError):
            sock.shutdown(how)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection; without file descriptors it waits a moment, or it would ask again and again."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a scrape."""
        if not self._find_room():
            self.shutdown_request(request)
            return
        with self._lock:
            self._began[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no room for a thread
            self._free.release()
            self.shutdown_request(request)

    def _find_room(self) -> bool:
        if self._free.acquire(blocking=False):
            return True
        with self._lock:
            oldest = next(iter(self._began), None)
            if oldest:
                self._end(oldest)
        return self._free.acquire(timeout=_PAUSE_S)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a scrape."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def shutdown_request(self, request: Any) -> None:
        """Closes the connection of a scrape."""
        with self._lock:
            self._began.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a scraper that has gone, or sent what is no HTTP."""
        _log.debug("a scrape failed", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = _LONGEST_S  # of each call: what is sent after the end of the server ends too

    def log_message(self, format: str, *args: Any) -> None:
        """Logs no requests."""

    def get_stderr(self) -> TextIO:
        """Returns where wsgiref writes tracebacks to."""
        return io.StringIO()
