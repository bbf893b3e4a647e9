"""What every engine has to do with a pool of messages: a peer records what it gets, byte by byte."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from loadkit.wire.delimited import LINE, Delimited
from loadkit.wire.echo import Echo
from loadkit.wire.render import Order, message_of, render
from loadkit.wire.script import PIECE_BYTES, Script, Stream
from loadkit.wire.wires import Wire

from .conftest import Blast, Peer, run

pytestmark = pytest.mark.slow

_ECHO = Echo(check=True)


class Recorder:
    """An echo server that keeps what came, by connection; it may change a byte of what it sends back."""

    def __init__(self, change: Callable[[bytes], bytes] = bytes) -> None:
        self.came: dict[int, bytearray] = defaultdict(bytearray)
        self._change = change
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket, number: int) -> None:
        while chunk := sock.recv(65536):
            with self._lock:
                self.came[number] += chunk
            sock.sendall(self._change(chunk))

    def all(self) -> bytes:
        with self._lock:
            return b"".join(bytes(came) for came in self.came.values())


def _pool(*texts: str, order: Order = Order.TURN, count: int = 64, seed: int = 1) -> Script:
    return render([message_of(text, {}) for text in texts], order, seed, count)


def _expected(script: Script, conn: int, length: int) -> bytes:
    """Returns the first bytes that a connection sends, if nothing is fresh in them."""
    stream, at, sent = Stream(script), script.origin(conn), b""
    while len(sent) < length:
        sent += stream.messages[at % stream.cycle]
        at += script.length(at)
    return sent[:length]


@pytest.mark.parametrize(
    ("texts", "order", "options"),
    [
        (("get {rand:1-100000}\r\n",), Order.TURN, {"rate": "400"}),
        (("set {hex:9} {rand:1-9}\r\n", "get {rand:10-99}\r\n"), Order.TURN, {"workers": "2"}),
        (("one\r\n", "two {bytes:3}\r\n", "{uuid}\r\n"), Order.RANDOM, {"depth": "4"}),
    ],
)
def test_each_connection_sends_its_part_of_the_pool(
    blast: Blast, peer: Peer, texts: Sequence[str], order: Order, options: dict[str, str]
) -> None:
    script, recorder = _pool(*texts, order=order), Recorder()
    whole = run(
        blast(peer(recorder), wire=Wire(script, _ECHO), connections="5", messages="200", duration="30s", **options)
    )
    assert whole.errors == {}
    assert whole.counters["sent_bytes"] == whole.counters["received_bytes"] == len(recorder.all())
    came = sorted(bytes(came) for came in recorder.came.values())
    # Of a run of two workers connection number 3 is the first one's second.
    assert came == sorted(
        _expected(script, conn, len(sent)) for conn, sent in zip(_numbers(script, came), came, strict=True)
    )


def _numbers(script: Script, came: Sequence[bytes]) -> list[int]:
    """Returns which connections these are: each the one that begins as it does."""
    left, found = set(range(6)), []
    for sent in came:
        conn = next(conn for conn in sorted(left) if _expected(script, conn, len(sent)) == sent)
        left.discard(conn)
        found.append(conn)
    return found


@pytest.mark.parametrize(
    ("rule", "options"),
    [(_ECHO, {"lifetime": "0"}), (LINE, {"depth": "5"}), (_ECHO, {"rate": "1000"}), (LINE, {})],
    ids=["churn", "deep", "open loop", "closed loop"],
)
def test_every_message_has_a_number_of_its_own(
    blast: Blast, peer: Peer, rule: Echo | Delimited, options: dict[str, str]
) -> None:
    recorder, before = Recorder(), time.time_ns()
    script = _pool("{n:06} {conn} {worker} {now_ns} {rand:1-5000}\n", "{n:06} second {conn:2}\n")
    blasting = blast(
        peer(recorder),
        wire=Wire(script, rule),
        workers="2",
        connections="4",
        messages="300",
        duration="30s",
        **options,
    )
    whole = run(blasting)
    assert whole.errors == {}
    lines = recorder.all().decode().splitlines()
    assert sorted(int(line[:6]) for line in lines) == list(range(len(lines)))
    assert len(lines) >= 300
    for number, came in recorder.came.items():
        _check_connection(came.decode().splitlines(), number)
    firsts = [line.split() for line in lines if "second" not in line]
    assert {worker for _n, _conn, worker, *_ in firsts} == {"000", "001"}
    # Worker 1 of 2 has the odd ones.
    assert all(int(n) % 2 == int(worker) == int(conn) % 2 for n, conn, worker, *_ in firsts)
    assert all(before <= int(now_ns) <= time.time_ns() for *_, now_ns, _rand in firsts)
    conns = {came.decode().split()[1] for came in recorder.came.values()}
    assert len(conns) == len(recorder.came)


def _check_connection(lines: Sequence[str], number: int) -> None:
    """A connection begins with the first text, and has the same number in each message."""
    for place, line in enumerate(lines):
        pattern = r"\d{6} second \d\d" if place % 2 else r"\d{6} \d{8} \d{3} \d{19} \d{1,4}"
        assert re.fullmatch(pattern, line), (number, place, line)
    assert len({int(line.split()[2 if "second" in line else 1]) for line in lines}) == 1
    numbers = [int(line[:6]) for line in lines]
    assert numbers == sorted(numbers)


def test_a_long_message_has_its_fresh_fields_in_every_piece(blast: Blast, peer: Peer) -> None:
    # 18 digits over the border of two pieces, and some behind it; the peer reads slowly enough for many writes.
    filled = "x" * (PIECE_BYTES - 12)
    script, recorder = _pool(f"{{n:3}}{filled}{{n:18}}{filled}{{n:4}}\n", count=1), Recorder()
    whole = run(blast(peer(recorder), wire=Wire(script, _ECHO), connections="2", messages="10", duration="30s"))
    assert whole.errors == {}
    seen = []
    for came in recorder.came.values():
        for line in came.decode().splitlines():
            numbers = {int(number) for number in re.split("x+", line)}
            assert len(numbers) == 1
            seen += numbers
    assert sorted(seen) == list(range(len(seen)))


def test_what_is_fresh_is_not_checked_and_the_rest_is(blast: Blast, peer: Peer) -> None:
    wire = Wire(_pool("{n:4} right\n", count=4), _ECHO)
    lenient = Recorder(lambda chunk: re.sub(rb"[0-9]", b"9", chunk))
    whole = run(blast(peer(lenient), wire=wire, connections="1", messages="20", duration="30s"))
    assert (whole.errors, whole.counters["replied"]) == ({}, 21)
    wrong = Recorder(lambda chunk: chunk.replace(b"0007 right", b"0007 wight"))
    whole = run(blast(peer(wrong), wire=wire, connections="1", messages="20"))
    assert whole.errors == {("receive", "WRONG_BYTES"): 1}
    assert whole.counters["replied"] == 7


def test_a_wrong_byte_is_found_wherever_a_connection_begins(blast: Blast, peer: Peer) -> None:
    wire = Wire(_pool("get {rand:1-100000}\n", count=500), _ECHO)
    wrong = Recorder(lambda chunk: chunk.replace(b"get", b"got"))
    whole = run(blast(peer(wrong), wire=wire, connections="3", messages="20"))
    assert whole.errors == {("receive", "WRONG_BYTES"): 3}


def test_a_reply_that_only_counts_its_bytes_may_have_others(blast: Blast, peer: Peer) -> None:
    wire = Wire(_pool("get {rand:1-100000} {n}\n", count=500), Echo(check=False))
    other = Recorder(lambda chunk: bytes(len(chunk)))
    whole = run(blast(peer(other), wire=wire, connections="3", messages="50", duration="30s", check=False))
    assert whole.errors == {}
