"""What every engine has to do where something is said on a connection before its first message."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from loadkit.wire.check import Judging, JudgingKind
from loadkit.wire.coded import Coded
from loadkit.wire.delimited import LINE, Delimited
from loadkit.wire.fixed import Fixed
from loadkit.wire.prefixed import Prefixed
from loadkit.wire.setup import Step
from loadkit.wire.wires import Rule

from .conftest import TIMEOUT_S, Blast, Peer, run

pytestmark = pytest.mark.slow

_BANNER = Step(b"", LINE)
_GREETING = Step(b"", LINE, Judging(JudgingKind.STARTS, b"220 "))
_LOGIN = Step(b"LOGIN x\r\n", LINE)
_SIZE = 64  # of an echo's message

# What a peer does on a new connection: takes these bytes, then sends those.
_Script = tuple[tuple[bytes, bytes], ...]


class Talker:
    """A peer that keeps to a script on each connection, and is an echo server from then on."""

    def __init__(self, script: _Script, piece: int = 0) -> None:
        self.said: list[bytes] = []  # what came before the script was over, of each connection
        self._script = script
        self._piece = piece

    def __call__(self, sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        for takes, sends in self._script:
            if len(part := _take(sock, len(takes))) < len(takes):
                return
            said += part
            for at in range(0, len(sends), self._piece or len(sends) or 1):
                sock.sendall(sends[at : at + (self._piece or len(sends))])
        self.said.append(said)
        while chunk := sock.recv(65536):
            sock.sendall(chunk)


def _take(sock: socket.socket, length: int) -> bytes:
    taken = b""
    while len(taken) < length and (chunk := sock.recv(length - len(taken))):
        taken += chunk
    return taken


_SETUPS: dict[str, tuple[tuple[Step, ...], _Script]] = {
    "banner": ((_BANNER,), ((b"", b"220 ready\r\n"),)),
    "checked": (
        (_GREETING, Step(b"A\n", LINE, Judging(JudgingKind.CONTAINS, b"OK\n"))),
        ((b"", b"220 ready\n"), (b"A\n", b"OK\n")),
    ),
    "login": ((_LOGIN,), ((b"LOGIN x\r\n", b"OK\r\n"),)),
    "several steps": (
        (_BANNER, Step(b"EHLO me\r\n", Coded()), Step(b"AUTH\0", None), Step(b"\x01\x02", Prefixed(0, 2))),
        ((b"", b"220 ready\r\n"), (b"EHLO me\r\n", b"250-one\r\n250 two\r\n"), (b"AUTH\0\x01\x02", b"\0\3abc")),
    ),
    "nothing comes back": ((Step(b"HELLO\n", None), Step(b"AGAIN\n", None)), ((b"HELLO\nAGAIN\n", b""),)),
    "two banners at once": ((_BANNER, Step(b"", Fixed(3))), ((b"", b"one\ntwo"),)),
    "the last says nothing": ((_LOGIN, Step(b"bye\n", None)), ((b"LOGIN x\r\n", b"OK\n"), (b"bye\n", b""))),
}


@pytest.mark.parametrize("loop", ["closed loop", "open loop", "churn"])
@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", _SETUPS)
def test_nothing_is_sent_before_a_set_up_is_done(blast: Blast, peer: Peer, name: str, piece: int, loop: str) -> None:
    steps, script = _SETUPS[name]
    talker = Talker(script, piece)
    options = {"closed loop": {}, "open loop": {"rate": "500"}, "churn": {"lifetime": "0"}}[loop]
    blasting = blast(peer(talker), setup=steps, connections="3", messages="30", duration="30s", **options)
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["replied"] == 30
    # Each connection said what it was to say, and no more before it had its replies.
    assert set(talker.said) == {b"".join(step.sends for step in steps)}
    opened = whole.counters["opened"]
    assert opened >= (30 if loop == "churn" else 3)
    assert whole.histograms["handshake"].count == opened
    assert whole.histograms["connect"].count >= opened  # a successor may be cut off by the end
    # The bytes of the set-up are no messages' bytes.
    assert whole.counters["sent_bytes"] == whole.counters["received_bytes"] + _SIZE * whole.counters["unanswered"]
    assert whole.counters["sent_bytes"] % _SIZE == 0


def _closes(sock: socket.socket, _number: int) -> None:
    sock.sendall(b"220 re")


def _resets(sock: socket.socket, _number: int) -> None:
    sock.sendall(b"220 ready\n")
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _says(text: bytes) -> Callable[[socket.socket, int], None]:
    def say(sock: socket.socket, _number: int) -> None:
        sock.sendall(text)
        while sock.recv(65536):
            pass

    return say


@pytest.mark.parametrize(
    ("steps", "behave", "error"),
    [
        pytest.param((_BANNER,), _closes, "CLOSED_BY_PEER", id="closes in the middle"),
        pytest.param((_BANNER, _LOGIN), _resets, "ECONNRESET", id="resets in the middle"),
        pytest.param((Step(b"", Delimited(b"\n", most=4)),), _says(b"12345"), "TOO_LONG", id="too long"),
        pytest.param((Step(b"", Prefixed(0, 1, adjust=-2)),), _says(b"\1"), "BAD_LENGTH", id="a length that is none"),
        pytest.param((Step(b"", Coded()),), _says(b"hello\n"), "BAD_CODE", id="a code that is none"),
        pytest.param((_GREETING,), _says(b"554 go away\n"), "WRONG_REPLY", id="a wrong reply"),
        pytest.param((_GREETING,), _says(b"22\n"), "WRONG_REPLY", id="a reply too short to be right"),
        pytest.param((_BANNER,), _says(b"one\ntwo\n"), "EXTRA_BYTES", id="more behind the last reply"),
        pytest.param((_BANNER, _LOGIN), _says(b"one\ntwo\n"), "EXTRA_BYTES", id="a reply before its question"),
        pytest.param((_BANNER,), _says(b"never ends"), "HANDSHAKE_TIMEOUT", id="never ends"),
        pytest.param((_LOGIN,), _says(b""), "HANDSHAKE_TIMEOUT", id="never answers"),
    ],
)
def test_a_set_up_that_fails_is_a_connection_that_did_not_open(
    blast: Blast, peer: Peer, steps: tuple[Step, ...], behave: Callable[[socket.socket, int], None], error: str
) -> None:
    options = {"connections": "2", "messages": "4", "connect_timeout": "200ms"}
    blasting = blast(peer(behave), setup=steps, **options)
    whole = run(blasting)
    assert whole.errors == {("handshake", error): 2}
    assert whole.counters["opened"] == whole.counters["sent_bytes"] == 0
    assert whole.counters["failed_connects"] == whole.histograms["connect"].count == 2
    assert whole.histograms["handshake"].count == 0
    assert blasting.proved() == "failed"


def test_what_came_in_a_set_up_that_failed_is_told(blast: Blast, peer: Peer) -> None:
    blasting = blast(peer(_says(b"-ERR no such user\r\nbye\r\n")), setup=(_LOGIN,), connections="1", messages="1")
    run(blasting)
    assert blasting.first_bytes() == b"-ERR no such user\r\nbye\r\n"


def test_what_came_in_the_set_up_is_no_part_of_a_wrong_reply(blast: Blast, peer: Peer) -> None:
    def answer_wrongly(sock: socket.socket, _number: int) -> None:
        sock.sendall(b"welcome\n")
        sock.recv(1)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n")
        while sock.recv(65536):
            pass

    blasting = blast(peer(answer_wrongly), setup=(_BANNER,), connections="1", messages="1")
    assert run(blasting).errors == {("receive", "WRONG_BYTES"): 1}
    assert blasting.first_bytes() == b"HTTP/1.1 400 Bad Request\r\n"


def test_a_churn_tries_again_where_a_set_up_failed(blast: Blast, peer: Peer) -> None:
    ready = Talker(((b"LOGIN x\r\n", b"OK\n"),))

    def refuse_some(sock: socket.socket, number: int) -> None:
        if number % 3 != 1:
            ready(sock, number)

    whole = run(blast(peer(refuse_some), setup=(_LOGIN,), connections="2", messages="12", lifetime="0"))
    refused = whole.errors.pop(("handshake", "CLOSED_BY_PEER"), 0) + whole.errors.pop(("handshake", "ECONNRESET"), 0)
    assert whole.errors == {}
    assert refused >= 2
    assert whole.counters["failed_connects"] == refused
    assert whole.counters["replied"] >= 12


@pytest.mark.parametrize("rule", [LINE, Fixed(2**20), Prefixed(0, 4)], ids=["line", "bytes", "length"])
def test_texts_and_replies_of_a_set_up_may_be_long(blast: Blast, peer: Peer, rule: Rule) -> None:
    text = b"x" * (2**20 - 1) + b"\n"
    if isinstance(rule, Prefixed):
        text = struct.pack(">I", len(text)) + text
    script = ((text, text),)
    whole = run(blast(peer(Talker(script)), setup=(Step(text, rule),), connections="2", messages="4"))
    assert whole.errors == {}
    assert whole.histograms["handshake"].count == 2


def test_hundreds_of_connections_are_set_up(blast: Blast, peer: Peer) -> None:
    talker = Talker(((b"", b"hello\n"), (b"LOGIN x\r\n", b"OK\n")))
    options = {"connections": "300", "messages": "600", "connect_rate": "max", "opening": "32"}
    whole = run(blast(peer(talker), setup=(_BANNER, _LOGIN), **options))
    assert whole.errors == {}
    assert whole.counters["opened"] == whole.histograms["handshake"].count == len(talker.said) == 300


def test_connections_in_their_set_up_take_no_messages_and_end_with_the_run(blast: Blast, peer: Peer) -> None:
    """The second connection never gets its banner: all messages go over the first."""
    ready = Talker(((b"", b"hello\n"),))
    over = threading.Event()

    def greet_the_first(sock: socket.socket, number: int) -> None:
        if number:
            assert over.wait(TIMEOUT_S)
        else:
            ready(sock, number)

    phases = [
        {"name": "one", "duration": "100ms", "connections": 1, "measured": False},
        {"name": "two", "duration": "300ms", "connections": 2, "rate": 100},
    ]
    try:
        blasting = blast(peer(greet_the_first), setup=(_BANNER,), phases=phases, rate="100", connect_timeout="60s")
        whole = run(blasting)
    finally:
        over.set()
    assert whole.counters["opened"] == 1
    assert whole.counters["unsent"] == 0
    assert blasting.phase("two").counters["replied"] == blasting.phase("two").counters["intended"] > 0
    # It was still being set up when the run ended: it was asked for in vain.
    assert whole.counters["failed_connects"] == 0
    assert whole.errors == {}
