"""Somebody's own app under the two loops: their protocol, our life and counting."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from loadkit.engine.base import Engine
from loadkit.engine.registry import get_engine
from loadkit.errors import AppError
from loadkit.host import read_host
from loadkit.measure.board import Board, BoardLayout
from loadkit.plan.app import app_of
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ServeProfile
from loadkit.run.worker import listen_on
from loadkit.units import NS_PER_S, Count, Duration
from tests import apps
from tests.golden.made_up import ENGINE

from .conftest import LOOPBACK, HandControl, Server, wait_for
from .test_contract_serve import connect, counters, errors, is_closed, is_refused, is_turned_away

pytestmark = pytest.mark.slow


@pytest.fixture(params=["uvloop", "asyncio"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engines that run an app."""
    return get_engine(EngineName(request.param))


def ask(port: int, message: bytes, length: int) -> bytes:
    """Returns what comes back for a message on a connection of its own."""
    with connect(port) as sock:
        sock.sendall(message)
        got = b""
        while len(got) < length and (chunk := sock.recv(65536)):
            got += chunk
        return got


def test_a_protocol_answers_and_its_connections_are_counted(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.Upper))
    socks = [connect(port) for _ in range(5)]
    for sock in socks:
        sock.sendall(b"shout")
    assert [sock.recv(64) for sock in socks] == [b"SHOUT"] * 5
    wait_for(lambda: board.slots[0].get("open") == 5)
    for sock in socks:
        sock.close()
    wait_for(lambda: counters(board)["closed"] == 5)
    wait_for(lambda: board.slots[0].get("open") == 0)
    assert board.slots[0].get("peak") == 5
    assert counters(board)["opened"] == 5
    # What is not counted stays out of the board.
    assert counters(board)["sent_bytes"] == counters(board)["received_bytes"] == 0
    assert errors(board) == {}


def test_wake_ups_and_cpu_time_are_counted_as_those_of_the_echo(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.Upper))
    with connect(port) as sock:
        for _ in range(200):
            sock.sendall(b"a")
            assert sock.recv(1) == b"A"
        wait_for(lambda: counters(board)["events"] >= 200)
    assert counters(board)["cpu_user_ns"] + counters(board)["cpu_system_ns"] > 0


def test_nothing_stands_between_the_loop_and_a_protocol_that_keeps_its_name(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.Telling))
    assert ask(port, b"?", 24) == b"tests.apps Telling True\n"
    wait_for(lambda: counters(board)["closed"] == 1)


def test_a_buffered_protocol_reads_into_its_own_buffer(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.Buffered))
    assert ask(port, b"x" * 200_000, 200_000) == b"x" * 200_000
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] == 1)


def test_an_async_function_serves_streams(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.lengths))
    assert ask(port, b"three\nfour!!\n\n", 9) == struct.pack("!II", 5, 6)
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] == 1)


@pytest.mark.parametrize("app", [apps.Failing, apps.raising], ids=["protocol", "streams"])
def test_what_an_app_raises_ends_its_connection_and_is_counted_each_time_and_shown_once(
    server: Server, caplog: pytest.LogCaptureFixture, app: Callable[..., Any]
) -> None:
    with caplog.at_level(logging.ERROR):
        port, board, _control = server(app=app_of(app))
        for _ in range(3):
            with connect(port) as sock:
                sock.sendall(b"x\n")
                assert is_closed(sock)
        wait_for(lambda: errors(board) == {("receive", "APP_FAILED"): 3})
    [shown] = caplog.records
    assert f"app tests.apps:{app.__name__} failed" in shown.getMessage()
    assert str(shown.exc_info[1]) == "out of stock"  # type: ignore[index]
    wait_for(lambda: counters(board)["closed"] == 3)


def test_a_factory_that_fails_later_costs_its_own_connection(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    apps._Once.made = 0
    port, board, _control = server(app=app_of(apps.failing_later))
    with connect(port) as sock:
        assert is_turned_away(port)
        sock.sendall(b"still here")
        assert sock.recv(64) == b"STILL HERE"
    wait_for(lambda: errors(board) == {("receive", "APP_FAILED"): 1})
    assert counters(board)["opened"] == 1
    assert "no more" in caplog.text


def test_a_peer_s_reset_is_no_failure_of_an_async_app(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    port, board, _control = server(app=app_of(apps.lengths))
    with connect(port) as sock:
        sock.sendall(b"one\n")
        assert sock.recv(4) == struct.pack("!I", 3)
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close() resets
    wait_for(lambda: counters(board)["closed"] == 1)
    assert errors(board) == {}
    assert caplog.records == []


def test_connections_beyond_the_limit_are_turned_away_before_the_app_hears_of_them(server: Server) -> None:
    port, board, _control = server(app=app_of(apps.Upper), max_connections=2)
    with connect(port) as first, connect(port) as second:
        for sock in (first, second):
            sock.sendall(b"a")
            assert sock.recv(1) == b"A"
        assert is_turned_away(port)
        wait_for(lambda: errors(board) == {("connect", "AT_LIMIT"): 1})
    wait_for(lambda: counters(board)["closed"] == 2)
    assert counters(board)["opened"] == 2


def test_a_gentle_stop_refuses_new_connections_and_waits_for_the_open_ones(server: Server) -> None:
    port, board, control = server(app=app_of(apps.Upper), grace=Duration(600 * NS_PER_S))
    with connect(port) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"A"
        control.say(stop=True)
        wait_for(lambda: is_refused(port))
        sock.sendall(b"b")
        assert sock.recv(1) == b"B"
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] >= 1)


def test_a_gentle_stop_lets_what_an_app_has_written_go_out(server: Server) -> None:
    port, board, control = server(app=app_of(apps.Pouring), grace=Duration(600 * NS_PER_S))
    with connect(port) as sock:
        sock.sendall(b"x")
        got = bytearray(sock.recv(1))
        control.say(stop=True)
        wait_for(lambda: is_refused(port))
        time.sleep(0.3)  # two looks at whether all is done
        while chunk := sock.recv(2**20):
            got += chunk
    assert got == apps.BULK
    # The question whether it refuses is a connection too, as long as it does not.
    wait_for(lambda: counters(board)["closed"] == counters(board)["opened"] >= 1)


def test_a_connection_handed_to_another_protocol_does_not_keep_a_stop_waiting(server: Server) -> None:
    port, board, control = server(app=app_of(apps.Handing), grace=Duration(600 * NS_PER_S))
    with connect(port) as sock:
        sock.sendall(b"x")
        assert sock.recv(6) == b"handed"
        sock.sendall(b"echo")
        assert sock.recv(4) == b"echo"
    control.say(stop=True)
    # The fixture waits for the end of the thread, for less than the grace.
    wait_for(lambda: is_refused(port))
    assert counters(board)["opened"] >= 1


@pytest.mark.parametrize("app", [apps.Upper, apps.forever], ids=["protocol", "streams"])
def test_what_does_not_end_within_the_grace_is_cut_and_cancelled(
    server: Server, app: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    port, board, control = server(app=app_of(app), grace=Duration(NS_PER_S // 10))
    with connect(port) as sock:
        wait_for(lambda: counters(board)["opened"] == 1)
        control.say(stop=True)
        assert is_closed(sock)
        wait_for(lambda: is_refused(port))
    wait_for(lambda: counters(board)["closed"] == 1)
    time.sleep(0.2)  # for what a cancelled one might say
    assert errors(board) == {("close", "CUT"): 1}
    assert caplog.records == []


@pytest.mark.parametrize("app", [apps.failing, apps.nothing], ids=["raises", "makes none"])
def test_an_app_that_cannot_serve_is_found_out_before_anybody_can_connect(
    engine: Engine, app: Callable[..., Any]
) -> None:
    plan = build_serve_plan(read_host(), (LOOPBACK,), 0, ServeProfile(workers=Count(1)), engine=ENGINE, app=app_of(app))
    [listener] = listen_on(plan.addresses, 0, None)
    port = listener.getsockname()[1]
    board, control = Board(BoardLayout(1, 1, 10 * NS_PER_S)), HandControl()
    failures: list[Exception] = []

    def serve() -> None:
        try:
            engine.serve(plan, [listener], board.slots[0], control)
        except AppError as error:
            failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [str(error).partition(": ")[0] for error in failures] == [f"app tests.apps:{app.__name__}"]
    assert not control.is_ready.is_set()
    assert is_refused(port)
    listener.close()
    control.close()
    board.close()
