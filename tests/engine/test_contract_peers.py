"""What every engine makes of a peer that misbehaves: a counter of its own, the totals whole, the others going on."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.full_listener import full_listener
from tests.receiving import receive

from .conftest import LOOPBACK, TIMEOUT_S, Behaviour, Blast, Peer, hold_back, run

pytestmark = pytest.mark.slow

SIZE = 64  # the default
Fault = Callable[[socket.socket, bytes], None]


def messages(sock: socket.socket, count: int = 1) -> Iterator[bytes]:
    """Yields what comes, `count` messages at a time."""
    while len(chunk := receive(sock, count * SIZE)) == count * SIZE:
        yield chunk


def drain(sock: socket.socket) -> None:
    """Reads to the end, and replies nothing."""
    for _message in messages(sock):
        pass


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def resets_in_the_middle(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message[: SIZE // 2])
    reset(sock)


def half_closes(sock: socket.socket, _message: bytes) -> None:
    sock.shutdown(socket.SHUT_WR)
    drain(sock)


def half_closes_after_the_reply(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message)
    half_closes(sock, message)


def gets_a_byte_wrong(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message[:-1] + bytes([message[-1] ^ 1]))


def adds_a_byte(sock: socket.socket, message: bytes) -> None:
    sock.sendall(message + b"!")


def echo_but(fault: Fault) -> Behaviour:
    """Returns an echo whose first connection has a fault in place of its third reply.

    The others have ten replies until that connection is over: none of them takes the messages that would be its own.
    """
    is_over = threading.Event()

    def fail(sock: socket.socket) -> None:
        try:
            for count, message in enumerate(messages(sock), 1):
                (fault if count == 3 else socket.socket.sendall)(sock, message)
        finally:
            is_over.set()

    def behave(sock: socket.socket, number: int) -> None:
        if number == 0:
            fail(sock)
            return
        for count, message in enumerate(messages(sock), 1):
            if count > 10:
                assert is_over.wait(TIMEOUT_S)
            sock.sendall(message)

    return behave


@pytest.mark.parametrize(
    ("fault", "error", "more_bytes"),
    [
        pytest.param(resets_in_the_middle, "ECONNRESET", SIZE // 2, id="reset in the middle of a reply"),
        pytest.param(half_closes, "CLOSED_BY_PEER", 0, id="half-close instead of a reply"),
        pytest.param(half_closes_after_the_reply, "CLOSED_BY_PEER", 0, id="half-close behind a reply"),
        pytest.param(gets_a_byte_wrong, "WRONG_BYTES", SIZE, id="wrong byte"),
        pytest.param(adds_a_byte, "EXTRA_BYTES", SIZE + 1, id="too many bytes"),
    ],
)
def test_one_connection_fails_under_its_own_name_and_the_others_go_on(
    peer: Peer, blast: Blast, fault: Fault, error: str, more_bytes: int
) -> None:
    blasting = blast(peer(echo_but(fault)), connections="5", messages="300", timeout="60s")
    whole = run(blasting)
    assert whole.errors == {("receive", error): 1}
    assert whole.counters["failed"] == 1
    assert whole.counters["sent"] == 5 + 300
    assert whole.counters["replied"] == 5 + 300 - 1
    assert whole.counters["received_bytes"] == SIZE * whole.counters["replied"] + more_bytes


@pytest.mark.parametrize(
    ("fault", "error"), [(resets_in_the_middle, "ECONNRESET"), (half_closes, "CLOSED_BY_PEER")], ids=["reset", "end"]
)
def test_all_messages_under_way_fail_with_their_connection(peer: Peer, blast: Blast, fault: Fault, error: str) -> None:
    blasting = blast(peer(echo_but(fault)), connections="5", messages="300", depth="4", timeout="60s")
    whole = run(blasting)
    # The reset may be noticed by what reads or by what sends.
    assert [name for _step, name in whole.errors] == [error]
    assert 1 <= whole.counters["failed"] <= 4
    assert whole.counters["sent"] == 5 + 300
    assert whole.counters["replied"] == 5 + 300 - whole.counters["failed"]


def test_a_peer_that_resets_at_once_leaves_whole_totals(peer: Peer, blast: Blast) -> None:
    blasting = blast(peer(lambda sock, _number: reset(sock)), connections="5", messages="10", duration="100ms")
    whole = run(blasting)
    # The reset comes before, during or after the first message; each connection is lost once, wherever it is noticed.
    assert sum(whole.errors.values()) == 5
    assert whole.counters["replied"] == 0


@pytest.mark.parametrize("piece", [1, SIZE * 3 // 2, SIZE * 4], ids=["a byte", "a reply and a half", "four replies"])
def test_replies_in_pieces_of_any_size_are_whole_replies(peer: Peer, blast: Blast, piece: int) -> None:
    def echo_in_pieces(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(next(messages(sock)))  # the ramp's
        for four in messages(sock, 4):
            for at in range(0, len(four), piece):
                sock.sendall(four[at : at + piece])

    blasting = blast(peer(echo_in_pieces), connections="1", messages="40", depth="4")
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["replied"] == 40
    assert whole.counters["received_bytes"] == SIZE * 41
    assert whole.histograms["first_byte"].count == 1


def test_what_is_behind_urgent_data_is_read(peer: Peer, blast: Blast) -> None:
    def echo_around_urgent_data(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for message in messages(sock):
            hold_back(sock, True)  # so that all of it comes at once: a read stops at the urgent byte (tcp(7))
            sock.sendall(message[: SIZE // 2])
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(message[SIZE // 2 :])
            hold_back(sock, False)

    whole = run(blast(peer(echo_around_urgent_data), connections="2", messages="40", timeout="5s"))
    assert whole.errors == {}
    assert whole.counters["replied"] == 42
    assert whole.counters["received_bytes"] == SIZE * 42


def test_a_peer_that_never_replies_times_every_message_out(peer: Peer, blast: Blast) -> None:
    port = peer(lambda sock, _number: drain(sock))
    blasting = blast(port, connections="5", rate="50", duration="200ms", timeout="300ms")
    whole = run(blasting)
    assert whole.errors == {("receive", "REPLY_TIMEOUT"): 5}
    # The first message of each connection is none of the schedule's.
    assert whole.counters["failed"] == whole.counters["sent"] == 0
    assert whole.counters["unsent"] == whole.counters["intended"] == 10  # 50 x 0.2 s
    assert whole.histograms["latency"].count == whole.histograms["first_byte"].count == 0
    assert whole.histograms["connect"].count == 5


def test_a_port_nobody_listens_on_refuses_each_connect(blast: Blast) -> None:
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        blasting = blast(bound.getsockname()[1], connections="5", rate="50", duration="100ms")
        whole = run(blasting)
    assert whole.errors == {("connect", "ECONNREFUSED"): 5}
    assert whole.counters["failed_connects"] == whole.counters["asked"] == 5
    assert whole.counters["unsent"] == whole.counters["intended"] == 5  # 50 x 0.1 s


def test_a_connect_that_is_not_answered_times_out(blast: Blast) -> None:
    with full_listener() as full:
        port = full.getsockname()[1]
        blasting = blast(port, connections="3", duration="100ms", connect_timeout="300ms", rate="1")
        assert run(blasting).errors == {("connect", "CONNECT_TIMEOUT"): 3}
