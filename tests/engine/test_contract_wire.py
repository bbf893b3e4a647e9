"""What every engine has to do with a script of its own, whatever the content, and with replies of any rule."""

from __future__ import annotations

import itertools
import random
import socket
import struct
import threading
from collections.abc import Callable

import msgspec
import pytest

from loadkit.endpoint import reset_on_close
from loadkit.engine.base import Engine
from loadkit.measure.names import JOURNEY_SOURCES
from loadkit.measure.samples import read_board
from loadkit.measure.wrong import find_wrong
from loadkit.wire.check import Judging, JudgingKind
from loadkit.wire.delimited import LINE, Delimited
from loadkit.wire.echo import Echo
from loadkit.wire.expect import Expect
from loadkit.wire.fixed import Fixed
from loadkit.wire.prefixed import Prefixed
from loadkit.wire.script import PIECE_BYTES, Script
from loadkit.wire.unmarked import Closed, Quiet
from loadkit.wire.wires import Rule, Wire

from .conftest import TIMEOUT_S, Blast, Peer, Server, assert_adds_up, run

pytestmark = pytest.mark.slow

_SEVERAL = {
    "short": (b"GET one\r\nGET two\r\nSET three 3\r\n", (9, 18, 31)),
    "of all lengths": (bytes(range(251)), tuple(itertools.accumulate([1, 64, 1000, 3, 70_000, 64]))),
    "longer than a piece": (bytes(range(239)), tuple(itertools.accumulate([10, PIECE_BYTES + 7, 2]))),
}
_LOOPS = {"closed loop": {}, "open loop": {"rate": "500"}}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("loop", _LOOPS)
@pytest.mark.parametrize("several", _SEVERAL)
def test_messages_of_several_lengths_are_sent_in_turn_and_come_back(
    server: Server, blast: Blast, several: str, loop: str, depth: int
) -> None:
    script = Script(*_SEVERAL[several])
    port, _board, _control = server()
    options = {"connections": "1", "messages": "50", "duration": "30s", "depth": str(depth), **_LOOPS[loop]}
    whole = run(blast(port, wire=Wire(script, Echo(check=True)), **options))
    assert whole.errors == {}
    # The connection's first message, and fifty more.
    sizes = [end - begin for begin, end in itertools.pairwise((0, *script.ends))]
    sent = sum(itertools.islice(itertools.cycle(sizes), 51))
    assert whole.counters["sent_bytes"] == whole.counters["received_bytes"] == sent
    assert whole.histograms["per_connection"].max_ns == 51


def test_a_wrong_byte_is_found_in_a_message_of_another_length(blast: Blast, peer: Peer) -> None:
    def echo_wrongly(sock: socket.socket, _number: int) -> None:
        came = 0
        while chunk := sock.recv(65536):
            at = 40 - came  # in the second message of the second cycle
            came += len(chunk)
            sock.sendall(chunk if not 0 <= at < len(chunk) else chunk[:at] + b"?" + chunk[at + 1 :])

    wire = Wire(Script(*_SEVERAL["short"]), Echo(check=True))
    whole = run(blast(peer(echo_wrongly), wire=wire, connections="1", messages="20"))
    assert whole.errors == {("receive", "WRONG_BYTES"): 1}
    assert whole.counters["replied"] == 4  # three of the first cycle, one of the second


# -- other wires than the echo

_LINES = Wire(Script(b"get 1\nget 22\nget 333\n", (6, 13, 21)), LINE)


def _answers(answer: Callable[[bytes], bytes], size: int = 0) -> Callable[[socket.socket, int], None]:
    """A server of lines: each has this answer, which goes out in pieces of `size` bytes, or whole."""

    def behave(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock.makefile("rb") as lines:
            for line in lines:
                reply = answer(line)
                for at in range(0, len(reply), size or len(reply)):
                    sock.sendall(reply[at : at + (size or len(reply))])

    return behave


def _in_words(line: bytes) -> bytes:
    """A reply whose length depends on the message."""
    return b"OK " * (len(line) % 7) + line


_REPLIES: dict[str, tuple[Rule, Callable[[bytes], bytes]]] = {
    "line": (LINE, _in_words),
    "until": (Delimited(b"\r\n.\r\n"), lambda line: b"+OK\r\n" + line + b"\r\n.\r\n"),
    "bytes": (Fixed(100), lambda line: line.ljust(100, b".")),
    "length": (Prefixed(0, 2), lambda line: struct.pack(">H", len(line)) + line),
}


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("loop", [*_LOOPS, "churn"])
@pytest.mark.parametrize("size", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("rule", _REPLIES)
def test_replies_of_any_rule_are_counted_one_by_one(
    blast: Blast, peer: Peer, rule: str, size: int, loop: str, depth: int
) -> None:
    what, answer = _REPLIES[rule]
    wire = msgspec.structs.replace(_LINES, rule=what)
    loops = {**_LOOPS, "churn": {"lifetime": "0"}}
    options = {"connections": "2", "messages": "40", "duration": "30s", "depth": str(depth), **loops[loop]}
    blasting = blast(peer(_answers(answer, size)), wire=wire, **options)
    whole = run(blasting)
    assert whole.errors == {}
    assert blasting.phase("hold").counters["replied"] == 40
    # What came is what these messages are answered with: each connection begins with the first.
    if loop != "churn":
        lines = [b"get 1\n", b"get 22\n", b"get 333\n"]
        cycle = sum(len(answer(line)) for line in lines)
        assert cycle * (42 // 3 - 2) <= whole.counters["received_bytes"] <= cycle * (42 // 3 + 2)


@pytest.mark.parametrize(
    ("rule", "reply", "error"),
    [
        pytest.param(Delimited(b"\n", most=8), b"123456789\n", ("reply", "TOO_LONG"), id="a line too long"),
        pytest.param(Prefixed(0, 8, most=100), b"\0\0\1\0\0\0\0\0", ("reply", "TOO_LONG"), id="a length of 2^40"),
        pytest.param(Prefixed(0, 1, adjust=-1), b"\0", ("reply", "BAD_LENGTH"), id="a length below its header"),
        pytest.param(LINE, b"a\nb", ("receive", "EXTRA_BYTES"), id="more than was asked for"),
        pytest.param(LINE, b"a\nb\n", ("receive", "EXTRA_BYTES"), id="two replies to one message"),
    ],
)
def test_a_reply_that_keeps_to_no_rule_is_an_error_of_its_own(
    blast: Blast, peer: Peer, rule: Rule, reply: bytes, error: tuple[str, str]
) -> None:
    wire = msgspec.structs.replace(_LINES, rule=rule)
    blasting = blast(peer(_answers(lambda _line: reply)), wire=wire, connections="2", messages="4")
    whole = run(blasting)
    assert whole.errors == {error: 2}
    assert blasting.proved() == "failed"
    assert whole.counters["replied"] == (2 if error[0] == "receive" else 0)


def test_a_reply_that_never_ends_is_not_in_time(blast: Blast, peer: Peer) -> None:
    endless = _answers(lambda _line: b"never")
    whole = run(blast(peer(endless), wire=_LINES, connections="1", messages="1", timeout="100ms"))
    assert whole.errors == {("receive", "REPLY_TIMEOUT"): 1}
    assert whole.counters["received_bytes"] == 5


@pytest.mark.parametrize("depth", [1, 3])
def test_a_peer_that_replies_before_it_has_read_and_reads_no_further_has_a_deadline(
    blast: Blast, peer: Peer, depth: int
) -> None:
    over = threading.Event()

    def answer_early(sock: socket.socket, _number: int) -> None:
        sock.recv(1)
        sock.sendall(b"OK\n")
        assert over.wait(TIMEOUT_S)

    # More than two sockets on loopback keep.
    wire = Wire(Script(bytes(range(251)), (64 * 2**20,)), LINE)
    options = {"connections": "1", "messages": "9", "timeout": "200ms", "depth": str(depth)}
    try:
        whole = run(blast(peer(answer_early), wire=wire, **options))
    finally:
        over.set()
    assert whole.errors == {("send", "SEND_TIMEOUT"): 1}
    assert whole.counters["sent"] == whole.counters["replied"] == 1


def test_no_probe_says_hello_to_what_is_no_echo(engine: Engine, blast: Blast, peer: Peer) -> None:
    said: list[bytes] = []

    def answer(line: bytes) -> bytes:
        said.append(line)
        return line

    blasting = blast(peer(_answers(answer)), wire=_LINES, connections="1", messages="3", duration="30s", journey=True)
    assert run(blasting).errors == {}
    assert {line.split()[0] for line in said} == {b"get"}
    sources = {"no_echo", "no_waits"} if engine.name == "uvloop" else {"no_echo"}
    assert JOURNEY_SOURCES[blasting.board.slots[0].get("journey_source")] in sources


# -- what replies say

_CHECKS = {
    "starts": Judging(JudgingKind.STARTS, b"OK "),
    "contains": Judging(JudgingKind.CONTAINS, b": fine"),
    "same": Judging(JudgingKind.SAME),
}


def _third_is_wrong() -> Callable[[bytes], bytes]:
    numbers = itertools.count(1)
    return lambda _line: b"ERR no\n" if next(numbers) % 3 == 0 else b"OK all: fine\n"


@pytest.mark.parametrize("size", [0, 2], ids=["whole", "in pieces"])
@pytest.mark.parametrize("check", _CHECKS)
@pytest.mark.parametrize("loop", _LOOPS)
def test_a_reply_that_says_something_else_fails_its_message_and_the_connection_goes_on(
    blast: Blast, peer: Peer, loop: str, check: str, size: int
) -> None:
    wire = Wire(_LINES.script, LINE, _CHECKS[check])
    blasting = blast(
        peer(_answers(_third_is_wrong(), size)),
        wire=wire,
        connections="1",
        messages="20",
        duration="30s",
        **_LOOPS[loop],
    )
    whole = run(blasting)
    # The connection's first message, and twenty more; in an open loop the first is not counted.
    wrong = 21 // 3
    assert whole.errors == {("reply", "WRONG_REPLY"): wrong}
    assert whole.counters["failed"] == wrong
    assert whole.counters["replied"] == whole.counters["sent"] - wrong == whole.histograms["latency"].count
    assert whole.counters["opened"] == 1
    began = find_wrong(worker.state for worker in read_board(blasting.board))
    assert began is not None
    assert b"ERR no\n".endswith(began)
    assert began == b"ERR no\n" or size


@pytest.mark.parametrize("depth", [1, 5])
def test_replies_that_come_together_are_judged_each(blast: Blast, peer: Peer, depth: int) -> None:
    wire = Wire(_LINES.script, LINE, _CHECKS["starts"])
    whole = run(
        blast(
            peer(_answers(_third_is_wrong())),
            wire=wire,
            connections="1",
            messages="29",
            duration="30s",
            depth=str(depth),
        )
    )
    assert whole.errors == {("reply", "WRONG_REPLY"): 10}
    assert whole.counters["replied"] == 20


def test_a_first_reply_that_says_something_else_ends_the_connection(blast: Blast, peer: Peer) -> None:
    wire = Wire(_LINES.script, LINE, _CHECKS["starts"])
    blasting = blast(peer(_answers(lambda _line: b"ERR no\n")), wire=wire, proves=True, connections="1", messages="9")
    whole = run(blasting)
    assert whole.errors == {("reply", "WRONG_REPLY"): 1}
    assert whole.counters["replied"] == 0
    assert find_wrong(worker.state for worker in read_board(blasting.board)) is None


# -- replies that no byte ends


def _reply_and_close(pieces: tuple[bytes, ...]) -> Callable[[socket.socket, int], None]:
    """A server that answers a connection's first line with these, and closes it."""

    def behave(sock: socket.socket, _number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock.makefile("rb") as lines:
            if lines.readline():
                for piece in pieces:
                    sock.sendall(piece)

    return behave


_CLOSED = {"connections": "2", "messages": "30", "duration": "30s", "expect": "close", "depth": "1"}


@pytest.mark.parametrize("pieces", [(b"OK\n",), (b"O", b"K" * 70_000, b"\n")], ids=["whole", "in pieces"])
def test_a_reply_ends_with_its_connection_which_is_opened_again(
    blast: Blast, peer: Peer, pieces: tuple[bytes, ...]
) -> None:
    wire = Wire(Script(b"get 1\nget 22\n", (6, 13)), Closed(), Judging(JudgingKind.STARTS, b"OK"))
    whole = run(blast(peer(_reply_and_close(pieces)), wire=wire, **_CLOSED))
    assert whole.errors == {}
    counters = whole.counters
    assert counters["replied"] == counters["sent"] == whole.histograms["latency"].count >= 30
    assert counters["opened"] >= counters["replied"]
    assert counters["failed"] == counters["unanswered"] == 0
    # Those of connections that were opened and not needed any more are not counted as replies.
    assert counters["received_bytes"] == counters["replied"] * len(b"".join(pieces))


def test_a_connection_that_ends_without_a_byte_of_its_reply_has_failed(blast: Blast, peer: Peer) -> None:
    def close_odd_ones(sock: socket.socket, number: int) -> None:
        if number % 2:
            sock.recv(100)
        else:
            _reply_and_close((b"OK",))(sock, number)

    wire = Wire(_LINES.script, Closed())
    whole = run(blast(peer(close_odd_ones), wire=wire, **{**_CLOSED, "connections": "1", "messages": "6"}))
    assert set(whole.errors) == {("receive", "CLOSED_BY_PEER")}
    assert whole.counters["failed"] == sum(whole.errors.values())
    assert whole.counters["replied"] >= 3


@pytest.mark.parametrize("loop", _LOOPS)
def test_a_reply_ends_after_a_quiet_time_and_takes_until_its_last_byte(blast: Blast, peer: Peer, loop: str) -> None:
    quiet_ns = 50_000_000
    wire = Wire(_LINES.script, Quiet(quiet_ns), Judging(JudgingKind.CONTAINS, b"two"))
    options = {"connections": "1", "messages": "5", "duration": "30s", **({"rate": "5"} if loop == "open loop" else {})}
    whole = run(blast(peer(_answers(lambda _line: b"one two\nthree", 1)), wire=wire, **options))
    assert whole.errors == {}
    counters = whole.counters
    assert counters["replied"] == counters["sent"] == 5 + (loop == "closed loop")
    assert counters["received_bytes"] == 6 * len(b"one two\nthree")
    # The quiet time is no part of it. Should pieces of a reply be further apart than that, there would be errors.
    assert whole.histograms["service"].min_ns < quiet_ns


def test_a_wrong_reply_is_found_where_no_byte_ends_it(blast: Blast, peer: Peer) -> None:
    wire = Wire(_LINES.script, Quiet(5_000_000), Judging(JudgingKind.STARTS, b"OK"))
    whole = run(blast(peer(_answers(_third_is_wrong())), wire=wire, connections="1", messages="8", duration="30s"))
    assert whole.errors == {("reply", "WRONG_REPLY"): 3}
    assert whole.counters["replied"] == 6


# -- replies of any kind

_PIECES = [b"250-", b"250 ok\r\n", b"\n", b"\0", b"\0\0\0\4", b"\0\0\0\5I", b"Z", b"\xff" * 9, b"\x80", b"x" * 3000]


def _say_anything(sock: socket.socket, number: int) -> None:
    """Answers each line with up to four pieces, among them whole replies; and ends some connections, in either way."""
    fuzz = random.Random(number)
    with sock.makefile("rb") as lines:
        for _ in lines:
            sock.sendall(b"".join(fuzz.choices(_PIECES, k=fuzz.randrange(1, 5))))
            if not fuzz.randrange(4):
                if fuzz.randrange(2):
                    reset_on_close(sock)
                return


@pytest.mark.parametrize(
    "expect", ["line-code", "len:varint", "len:u32be,offset=1,adjust=-4,until=Z", "idle:1ms", "close"]
)
def test_whatever_comes_back_a_run_ends_and_its_counts_add_up(blast: Blast, peer: Peer, expect: str) -> None:
    wire = Wire(_LINES.script, Expect(expect).rule, Judging(JudgingKind.CONTAINS, b"ok"))
    options = {"connections": "4", "duration": "300ms", "timeout": "100ms", "depth": "1"}
    lifetime = {} if expect == "close" else {"lifetime": "50ms"}
    whole = run(blast(peer(_say_anything), wire=wire, expect=expect, **options, **lifetime))
    assert_adds_up(whole, is_timed=False)
    assert whole.counters["sent"] >= 4
    steps = {step for step, _name in whole.errors}
    assert steps <= {"reply", "receive", "send", "connect"}
    assert whole.errors.get(("receive", "UNKNOWN")) is None
