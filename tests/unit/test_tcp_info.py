"""TCP_INFO: of a real connection, and of answers as short as older kernels give them."""

from __future__ import annotations

import os
import socket
import struct

import msgspec
import pytest

from loadkit.measure import tcp_info
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.samples import read_worker
from loadkit.measure.tcp_info import (
    TCP_INFO_BYTES,
    TcpInfo,
    is_unacknowledged,
    last_moved_ns,
    note_tcp_info,
    parse_tcp_info,
    read_tcp_info,
)
from loadkit.report.as_text import as_text
from loadkit.report.tcp import tcp_line, tcp_record
from loadkit.report.verdict import judged
from tests.golden.made_up import RUNS, page

_ALL = (
    "timeouts_in_a_row",
    "last_sent_ms",
    "last_received_ms",
    "rtt_us",
    "rttvar_us",
    "cwnd",
    "retransmits",
    "bytes_acked",
    "min_rtt_us",
    "delivery_rate_bytes",
    "busy_us",
    "rwnd_limited_us",
    "sndbuf_limited_us",
)


def an_answer() -> bytes:
    """All fields known here, each at its place in linux/tcp.h, of a value of its own."""
    answer = bytearray(TCP_INFO_BYTES)
    for offset, kind, value in (
        (2, "B", 1),
        (44, "I", 2),
        (52, "I", 3),
        (68, "I", 4),
        (72, "I", 5),
        (80, "I", 6),
        (100, "I", 7),
        (120, "Q", 8),
        (148, "I", 9),
        (160, "Q", 10),
        (168, "Q", 11),
        (176, "Q", 12),
        (184, "Q", 13),
    ):
        struct.pack_into(f"={kind}", answer, offset, value)
    return bytes(answer)


def test_each_field_is_read_at_its_place() -> None:
    assert parse_tcp_info(an_answer()) == TcpInfo(*range(1, 14))


@pytest.mark.parametrize(
    ("length", "known"),
    [
        pytest.param(192, 13, id="Linux 4.10"),
        pytest.param(168, 10, id="4.9: not what held it back"),
        pytest.param(160, 9, id="4.6: no delivery rate"),
        pytest.param(128, 8, id="4.1: no min_rtt"),
        pytest.param(104, 7, id="2.4: not what was acknowledged"),
        pytest.param(102, 6, id="cut in the middle of a field"),
        pytest.param(0, 0, id="nothing"),
    ],
)
def test_what_a_kernel_does_not_tell_is_none(length: int, known: int) -> None:
    found = parse_tcp_info(an_answer()[:length])
    assert [getattr(found, name) is not None for name in _ALL] == [place < known for place in range(len(_ALL))]


def test_a_connection_is_looked_at_and_left_as_it_was() -> None:
    board = Board(BoardLayout(1, 1, 60 * 10**9))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        for _ in range(10):
            ours.sendall(b"x")
            theirs.sendall(theirs.recv(1))
            assert ours.recv(1) == b"x"
        found = read_tcp_info(ours.fileno())
        assert found is not None
        assert found.rtt_us is not None
        assert 0 < found.rtt_us < 10**6
        assert found.bytes_acked == 10 + 1  # the SYN counts as one
        note_tcp_info(board.slots[0].pages[0], [ours.fileno(), theirs.fileno()])
        ours.sendall(b"still there")
        assert theirs.recv(64) == b"still there"
        theirs.close()
        ours.close()
    seen = read_worker(board, 0).phases[0]
    assert found.cwnd is not None
    assert seen.counters["tcp_cwnd"] >= 2 * found.cwnd > 0
    assert seen.counters["tcp_samples"] == seen.histograms["rtt"].count == seen.histograms["delivery_rate"].count == 2
    board.close()


@pytest.mark.parametrize(
    ("known", "is_so"),
    [
        pytest.param({"bytes_acked": 1, "retransmits": 1}, True, id="the SYN alone, and sent again"),
        pytest.param({"bytes_acked": 0, "retransmits": 3}, True, id="not even that"),
        pytest.param({"bytes_acked": 1, "retransmits": 0}, False, id="not sent again: it may be on its way"),
        pytest.param({"bytes_acked": 2, "retransmits": 3}, False, id="a byte of ours"),
        pytest.param({"bytes_acked": None, "retransmits": 3}, False, id="a kernel that does not tell of it"),
        pytest.param({"bytes_acked": 1, "retransmits": None}, False, id="nor of this"),
        pytest.param(None, False, id="no connection any more"),
    ],
)
def test_a_connection_of_which_nothing_was_acknowledged_was_never_accepted(
    known: dict[str, int | None] | None, is_so: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = dict.fromkeys(_ALL)
    monkeypatch.setattr(tcp_info, "read_tcp_info", lambda _fd: known and TcpInfo(**{**nothing, **known}))
    assert is_unacknowledged(7) is is_so


@pytest.mark.parametrize(
    ("known", "ago_ms"),
    [
        pytest.param({"last_sent_ms": 30, "last_received_ms": 70, "timeouts_in_a_row": 0}, 30, id="sent last"),
        pytest.param({"last_sent_ms": 70, "last_received_ms": 30, "timeouts_in_a_row": 0}, 30, id="came last"),
        pytest.param({"last_sent_ms": 30, "last_received_ms": 70, "timeouts_in_a_row": 2}, 70, id="sent again"),
    ],
)
def test_bytes_of_either_direction_move_a_connection_and_none_that_are_sent_again(
    known: dict[str, int], ago_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_info, "read_tcp_info", lambda _fd: TcpInfo(**{**dict.fromkeys(_ALL), **known}))
    assert last_moved_ns(7, 10**9) == 10**9 - ago_ms * 10**6


def test_what_the_kernel_does_not_know_has_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_moved_ns(10**6, 10**9) == 0
    monkeypatch.setattr(tcp_info, "read_tcp_info", lambda _fd: TcpInfo(**dict.fromkeys(_ALL)))
    assert last_moved_ns(7, 10**9) == 0


def test_what_is_no_connection_is_passed_over() -> None:
    board = Board(BoardLayout(1, 1, 10**9))
    read, write = os.pipe()
    note_tcp_info(board.slots[0].pages[0], [read, 10**6])
    assert read_worker(board, 0).phases[0].counters["tcp_samples"] == 0
    os.write(write, b"x")  # and left open
    assert os.read(read, 1) == b"x"
    os.close(read)
    os.close(write)
    board.close()
    assert tcp_record(page()) is None


def seen(**counters: int) -> str:
    rtts = [30_000] * 99 + [500_000]
    found = tcp_record(page({"rtt": rtts, "min_rtt": [9_000]}, tcp_samples=100, tcp_busy_us=1_000, **counters))
    assert found is not None
    return " ".join(as_text(judged(msgspec.structs.replace(RUNS["closed_loop"](), tcp=found))).split())


def test_the_line_has_round_trips_retransmissions_and_what_held_the_sender_back() -> None:
    # 40 samples, and 8 retransmissions on 4 connections
    found = tcp_record(page({"rtt": [30_000], "min_rtt": [9_000]}, tcp_samples=40, tcp_retransmits=8, tcp_watched=4))
    assert found is not None
    assert (found.retransmits_per_connection, found.watched) == (2.0, 4)
    assert tcp_line(found) == (
        "round trip p50 30 us, min 9 us; 2 retransmissions per connection (40 samples of TCP_INFO; counts of 4 "
        "connections)"
    )


def test_without_a_watched_connection_nothing_is_said_of_retransmissions() -> None:
    found = tcp_record(page({"rtt": [30_000]}, tcp_samples=1))
    assert found is not None
    assert found.retransmits_per_connection is None
    assert tcp_line(found) == "round trip p50 30 us (1 sample of TCP_INFO)"


@pytest.mark.parametrize(
    ("counters", "code"),
    [
        (
            {"tcp_rwnd_limited_us": 101},
            "receive-window (machine): connections with bytes in flight waited 10% of the time",
        ),
        (
            {"tcp_sndbuf_limited_us": 101},
            "send-buffer (machine): connections with bytes in flight waited 10% of the time",
        ),
    ],
)
def test_a_sender_that_is_held_back_is_a_finding(counters: dict[str, int], code: str) -> None:
    assert code in seen(**counters)
    assert code.split(maxsplit=1)[0] not in seen()
