"""The run's first connection, as every engine opens it: alone, until its first reply was right."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from loadkit.engine.base import CAME_BYTES
from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.samples import read_board
from loadkit.plan.build import build_plan
from loadkit.plan.target import Target
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile
from tests.golden.made_up import ENGINE
from tests.receiving import receive

from .conftest import LOOPBACK, Behaviour, Blast, Blasting, Peer, run, wait_for

pytestmark = pytest.mark.slow

SIZE = 64  # the default


class Counting:
    """A behaviour that notes which connections came."""

    def __init__(self, behave: Behaviour) -> None:
        self.came: list[int] = []
        self._behave = behave

    def __call__(self, sock: socket.socket, number: int) -> None:
        self.came.append(number)
        self._behave(sock, number)


def echo(sock: socket.socket, _number: int) -> None:
    while chunk := sock.recv(1 << 16):
        sock.sendall(chunk)


def replies(text: bytes) -> Behaviour:
    """Returns what replies so to whatever comes first, and then reads on."""

    def behave(sock: socket.socket, _number: int) -> None:
        sock.recv(1 << 16)
        sock.sendall(text)
        while sock.recv(1 << 16):
            pass

    return behave


def half_a_reply_and_the_end(sock: socket.socket, _number: int) -> None:
    message = receive(sock, SIZE)
    sock.sendall(message[: SIZE // 2])
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


def closes(sock: socket.socket, _number: int) -> None:
    receive(sock, SIZE)


def resets(sock: socket.socket, _number: int) -> None:
    receive(sock, SIZE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_silent(sock: socket.socket, _number: int) -> None:
    while sock.recv(1 << 16):
        pass


def test_no_other_connection_opens_before_the_first_has_its_reply(peer: Peer, blast: Blast) -> None:
    asked = threading.Event()

    def echo_when_asked(sock: socket.socket, number: int) -> None:
        if number == 0:
            message = receive(sock, SIZE)
            sock.sendall(message[:-1])  # all but whole
            asked.wait(60)
            sock.sendall(message[-1:])
        echo(sock, number)

    behaviour = Counting(echo_when_asked)
    blasting = blast(peer(behaviour), connections="12", rate="100", duration="100ms", proves=True)
    wait_for(lambda: blasting.board.slots[0].get("open") == 1)
    time.sleep(0.1)  # ten times what the others would take
    assert (blasting.proved(), behaviour.came) == ("unknown", [0])
    asked.set()
    wait_for(lambda: blasting.proved() == "right")
    time.sleep(0.05)
    assert behaviour.came == [0]
    blasting.say(ramp_ns=time.monotonic_ns() + 5_000_000)
    whole = run(blasting)
    assert whole.counters["opened"] == whole.histograms["connect"].count == len(behaviour.came) == 12
    assert whole.histograms["first_byte"].count == 12
    assert whole.errors == {}
    assert blasting.first_bytes() is None


def test_the_others_are_due_an_interval_of_the_rate_apart_from_the_ramp_s_start_on(peer: Peer, blast: Blast) -> None:
    blasting = blast(peer(echo), connections="6", connect_rate="20", rate="10", duration="300ms", proves=True)
    # `proved` is said at once, the histogram is written with the next fold.
    wait_for(lambda: read_board(blasting.board)[0].phases[0].histograms["connect"].count == 1)
    first = read_board(blasting.board)[0].phases[0].histograms["connect"]
    ramp_ns = time.monotonic_ns() - 1_000_000_000  # long ago: all are due, and late by what we know
    before = time.monotonic_ns()
    blasting.say(ramp_ns=ramp_ns)
    wait_for(lambda: blasting.settled() == 6)
    after = time.monotonic_ns()
    whole = run(blasting)
    connect = whole.histograms["connect"]
    # 20 a second: 50, 100, … 250 ms after the ramp's start.
    due = sum(ramp_ns + k * 50_000_000 for k in range(1, 6))
    assert 5 * before - due <= connect.sum_ns - first.sum_ns <= 5 * after - due


@pytest.mark.parametrize("lifetime", [None, "0", "5ms"])
@pytest.mark.parametrize(
    ("behave", "error", "came"),
    [
        pytest.param(
            replies(b"-ERR unknown command\r\n"), "WRONG_BYTES", b"-ERR unknown command\r\n", id="other bytes"
        ),
        pytest.param(
            replies(bytes(range(SIZE)) + b"!"), "EXTRA_BYTES", bytes(range(SIZE)) + b"!", id="a byte too many"
        ),
        pytest.param(half_a_reply_and_the_end, "CLOSED_BY_PEER", bytes(range(SIZE // 2)), id="half a reply"),
        pytest.param(closes, "CLOSED_BY_PEER", b"", id="closes"),
        pytest.param(resets, "ECONNRESET", b"", id="resets"),
        pytest.param(is_silent, "REPLY_TIMEOUT", b"", id="silent"),
    ],
)
def test_a_target_that_is_no_echo_gets_one_connection_and_what_came_is_kept(
    peer: Peer, blast: Blast, behave: Behaviour, error: str, came: bytes, lifetime: str | None
) -> None:
    behaviour = Counting(behave)
    more = {"lifetime": lifetime} if lifetime else {}
    # Only the silent one is to be given up: what others say may come late on a busy machine.
    timeout = "300ms" if behave is is_silent else "60s"
    blasting = blast(peer(behaviour), connections="5", timeout=timeout, connect_rate="10k", proves=True, **more)
    wait_for(lambda: blasting.proved() == "failed")
    time.sleep(0.25)  # a connection that churns is tried again after 100 ms
    assert behaviour.came == [0]
    blasting.say(leave=True)
    assert blasting.end().errors == {("receive", error): 1}
    assert blasting.first_bytes() == came


def test_of_a_long_reply_the_beginning_is_kept(peer: Peer, blast: Blast) -> None:
    text = b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 10_000
    blasting = blast(peer(replies(text)), connections="5", proves=True)
    wait_for(lambda: blasting.proved() == "failed")
    blasting.say(leave=True)
    blasting.end()
    assert blasting.first_bytes() == text[:CAME_BYTES]


@pytest.mark.parametrize("piece", [1, 63, 1000])
def test_a_first_reply_in_pieces_is_right_when_it_is_whole(peer: Peer, blast: Blast, piece: int) -> None:
    def echo_in_pieces(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while message := receive(sock, 1000):
            for at in range(0, len(message), piece):
                sock.sendall(message[at : at + piece])

    blasting = blast(peer(echo_in_pieces), connections="3", size="1000B", messages="10", proves=True)
    wait_for(lambda: blasting.proved() == "right")
    assert read_board(blasting.board)[0].phases[0].counters["failed"] == 0
    blasting.say(ramp_ns=time.monotonic_ns())
    assert run(blasting).errors == {}
    assert blasting.phase("hold").counters["replied"] == 10


@pytest.mark.parametrize("lifetime", [None, "0"])
def test_a_first_connection_that_is_refused_has_failed(blast: Blast, lifetime: str | None) -> None:
    more = {"lifetime": lifetime} if lifetime else {}
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        blasting = blast(bound.getsockname()[1], connections="5", proves=True, **more)
        wait_for(lambda: blasting.proved() == "failed")
        time.sleep(0.25)
        blasting.say(leave=True)
        whole = blasting.end()
    assert whole.errors == {("connect", "ECONNREFUSED"): 1}
    assert whole.counters["asked"] == 1
    assert blasting.first_bytes() == b""


def test_churn_goes_on_with_a_first_connection_that_was_right(peer: Peer, blast: Blast) -> None:
    behaviour = Counting(echo)
    blasting = blast(peer(behaviour), connections="1", lifetime="0", messages="20", duration="30s", proves=True)
    wait_for(lambda: blasting.proved() == "right")
    blasting.say(ramp_ns=time.monotonic_ns())
    assert run(blasting).errors == {}
    assert len(behaviour.came) >= 20


def test_a_stop_while_the_first_reply_is_waited_for_ends_the_shard(peer: Peer, blast: Blast) -> None:
    behaviour = Counting(is_silent)
    blasting = blast(peer(behaviour), connections="5", timeout="60s", proves=True)
    wait_for(lambda: blasting.board.slots[0].get("open") == 1 and bool(behaviour.came))
    blasting.say(leave=True)
    counters = blasting.end().counters
    assert (counters["opened"], counters["unanswered"], behaviour.came) == (1, 1, [0])
    assert blasting.proved() == "unknown"


def test_the_fake_engine_opens_its_first_connection_first_too() -> None:
    profile, sources = load_profile(None, {"connections": "5", "connect_rate": "10", "engine": "fake", "workers": "1"})
    plan = build_plan(profile, sources, read_host(), Target("nowhere", (LOOPBACK,), 9), ENGINE)
    blasting = Blasting(get_engine(EngineName.FAKE), plan, proves=True)
    wait_for(lambda: blasting.proved() == "right")
    assert blasting.settled() == 1
    blasting.say(ramp_ns=1_000_000_000)
    wait_for(lambda: blasting.settled() == 5)
    # 10 a second: the last, the fourth of the ramp, after 400 ms; it takes 0.1 ms to connect and 1 ms to reply.
    assert blasting.board.slots[0].get("settled_ns") == 1_401_100_000
    run(blasting)
