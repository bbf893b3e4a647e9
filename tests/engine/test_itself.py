"""A connect that draws the target's own port is connected to itself: it is refused, and the port given back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from loadkit.engine.base import Engine
from loadkit.engine.ports import knows_port_range
from loadkit.measure.samples import PhaseSamples
from loadkit.plan.target import Route
from tests.namespaces import own_network

from .conftest import LOOPBACK, Blast, run, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def port() -> Iterator[int]:
    """A port that no process listens at; a server can have it afterwards."""
    with own_network():
        with socket.socket() as sock:
            sock.bind((LOOPBACK, 0))
            number = int(sock.getsockname()[1])
            sock.connect(sock.getsockname())
            assert sock.getsockname() == sock.getpeername(), "this kernel connects a socket to itself"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        yield number
        with socket.socket() as server:  # without SO_REUSEADDR: not even a TIME_WAIT may be left
            server.bind((LOOPBACK, number))
            server.listen()


def _run(blast: Blast, port: int, source: str | None = None) -> PhaseSamples:
    return run(blast(port, connections="1", duration="100ms", routes=(_route(port, source),)))


def _route(port: int, source: str | None = None) -> Route:
    return Route(source, LOOPBACK, 1, (port, port), may_meet_itself=True)


@pytest.mark.parametrize("source", [None, LOOPBACK])
def test_a_connection_to_itself_is_refused(engine: Engine, blast: Blast, port: int, source: str | None) -> None:
    if engine.name != "native" and not knows_port_range():
        pytest.skip("this kernel has no port range for a socket (Linux 6.3)")
    whole = _run(blast, port, source)
    assert whole.errors == {("connect", "ECONNREFUSED"): 1}
    assert (whole.counters["failed_connects"], whole.counters["opened"], whole.counters["sent"]) == (1, 0, 0)


@pytest.mark.parametrize("lifetime", ["0", "20ms"])
def test_in_churn_each_new_try_is_refused(engine: Engine, blast: Blast, port: int, lifetime: str) -> None:
    if engine.name != "native" and not knows_port_range():
        pytest.skip("this kernel has no port range for a socket (Linux 6.3)")
    blasting = blast(port, connections="1", duration="60s", routes=(_route(port),), lifetime=lifetime)
    blasting.end_ramp()
    wait_for(lambda: blasting.whole().counters["asked"] > 1)
    blasting.say(stop=True)
    whole = blasting.end()
    tries = whole.counters["asked"]
    assert tries > 1
    assert whole.errors == {("connect", "ECONNREFUSED"): tries}
    assert whole.counters["opened"] == whole.counters["replied"] == 0


def test_it_is_refused_where_the_engine_chooses_the_ports_itself(
    engine: Engine, blast: Blast, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.name == "native":  # the others always leave the choice to the kernel
        monkeypatch.setattr("loadkit.engine.native.rows.knows_port_range", lambda: False)
    elif not knows_port_range():
        pytest.skip("this kernel has no port range for a socket (Linux 6.3)")
    assert _run(blast, port).errors == {("connect", "ECONNREFUSED"): 1}
