"""Scrapers that take their time, each over a socket of its own."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from loadkit.run import scrapes
from loadkit.run.metrics import Endpoint
from tests.under_way import wait_for


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint("0") as endpoint:
        yield endpoint


def connect(endpoint: Endpoint) -> socket.socket:
    port = int(endpoint.url.split(":")[2].split("/")[0])
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_ended(sock: socket.socket) -> bool:
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            return sock.recv(4096) == b""
        except ConnectionError:
            return True
    return False


def drips(sock: socket.socket) -> bool:
    """Sends a byte of a header that never ends; returns whether it can."""
    with contextlib.suppress(OSError):
        sock.send(b"x")
        return not is_ended(sock)
    return False


def test_the_one_that_has_taken_longest_makes_room(endpoint: Endpoint) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(endpoint)) for _ in range(scrapes._MOST)]
        for sock in slow:
            sock.send(b"GET /metrics HTTP/1.1\r\nX: ")
        for number in (1, 2):
            with urllib.request.urlopen(endpoint.url, timeout=30) as answer:
                assert answer.status == 200
            # The first scrape has left its place to the second one.
            wait_for(lambda: is_ended(slow[0]))
            assert [is_ended(sock) for sock in slow[1:]] == [False] * (scrapes._MOST - 1), number


def test_a_scrape_ends_after_so_long_however_often_a_byte_comes(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrapes, "_LONGEST_S", 0.2)
    with connect(endpoint) as sock:
        sock.send(b"GET /metrics HTTP/1.1\r\nX: ")
        wait_for(lambda: not drips(sock))
    with urllib.request.urlopen(endpoint.url, timeout=30) as answer:
        assert answer.status == 200


def test_with_the_endpoint_those_end_that_have_asked_for_nothing() -> None:
    with Endpoint("0") as endpoint:
        sock = connect(endpoint)
        # Its turn has come: the one after it is answered.
        with urllib.request.urlopen(endpoint.url, timeout=30) as answer:
            assert answer.status == 200
    with sock:
        wait_for(lambda: is_ended(sock))
