"""What the kernel knows of a connection: TCP_INFO (tcp(7)), as far as this kernel reports it.

The struct, tcp_info of linux/tcp.h, grew over the years. A kernel does not return the fields that it does not have, so
a field is read only if the answer is long enough. Offsets: time-outs in a row 2, last_data_sent 44, last_data_recv 52,
snd_cwnd 80, retransmissions 100 (Linux 2.4), bytes_acked 120 (4.1), min_rtt 148 (4.6), delivery_rate 160 (4.9), busy,
rwnd_limited and sndbuf_limited 168 to 191 (4.10). The kernel's times are in microseconds, but last_data_sent and
last_data_recv are in milliseconds.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loadkit.measure.board import Page
from loadkit.measure.tally import record
from loadkit.units import NS_PER_S

__all__ = [
    "SAMPLES",
    "TCP_INFO_BYTES",
    "TcpInfo",
    "is_unacknowledged",
    "last_moved_ns",
    "note_tcp_info",
    "parse_tcp_info",
    "read_tcp_info",
]

TCP_INFO_BYTES = 512  # more than any kernel's struct has; the kernel returns no more than that
# Connections that each worker reads ten times per second, which takes 1.3 to 1.7 us each.
SAMPLES = 4
_NO_MIN_RTT = 2**32 - 1  # before its first sample


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """TCP_INFO of one connection. None: this kernel does not report it.

    `retransmits` and the last three fields count from the connection's beginning. `busy_us` is the time with
    unacknowledged bytes; in parts of it the peer's receive window, or our send buffer, limited the sender.
    """

    timeouts_in_a_row: int | None
    last_sent_ms: int | None  # the time since data was last sent, the first time or again
    last_received_ms: int | None  # the time since data last came
    rtt_us: int | None
    rttvar_us: int | None
    cwnd: int | None  # segments
    retransmits: int | None
    bytes_acked: int | None
    min_rtt_us: int | None
    delivery_rate_bytes: int | None
    busy_us: int | None
    rwnd_limited_us: int | None
    sndbuf_limited_us: int | None


def parse_tcp_info(answer: bytes) -> TcpInfo:
    """Reads the fields that an answer of the kernel is long enough for."""

    def word(offset: int, kind: str = "I") -> int | None:
        size = struct.calcsize(kind)
        return int(struct.unpack_from(f"={kind}", answer, offset)[0]) if len(answer) >= offset + size else None

    return TcpInfo(
        timeouts_in_a_row=word(2, "B"),
        last_sent_ms=word(44),
        last_received_ms=word(52),
        rtt_us=word(68),
        rttvar_us=word(72),
        cwnd=word(80),
        retransmits=word(100),
        bytes_acked=word(120, "Q"),
        min_rtt_us=word(148),
        delivery_rate_bytes=word(160, "Q"),
        busy_us=word(168, "Q"),
        rwnd_limited_us=word(176, "Q"),
        sndbuf_limited_us=word(184, "Q"),
    )


def read_tcp_info(fd: int) -> TcpInfo | None:
    """Reads TCP_INFO of a connection by its file descriptor; None if it is not a connection any more."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    except OSError:
        return None
    try:
        return parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES))
    except OSError:
        return None
    finally:
        sock.detach()


def is_unacknowledged(fd: int) -> bool:
    """Whether the peer's kernel has acknowledged no byte, though some were sent again."""
    info = read_tcp_info(fd)
    if info is None or info.bytes_acked is None or info.retransmits is None:
        return False
    return info.bytes_acked <= 1 and info.retransmits > 0  # the SYN counts as one byte


def last_moved_ns(fd: int, now_ns: int) -> int:
    """Returns when the kernel last received bytes from the peer, or sent it some; 0 if that is not known.

    A slow reader takes bytes out of the kernel's buffers while no event says so. Bytes that are sent again do not count
    as moved. native/serve.c does the same.
    """
    info = read_tcp_info(fd)
    if info is None or info.last_received_ms is None:
        return 0
    ago_ms = info.last_received_ms
    if info.last_sent_ms is not None and not info.timeouts_in_a_row:
        ago_ms = min(ago_ms, info.last_sent_ms)
    return now_ns - ago_ms * NS_PER_S // 1000


def note_tcp_info(page: Page, fds: Iterable[int]) -> None:
    """Notes the present state of these connections in the histograms of a page of the board.

    Counters that only grow have no mean over samples: see measure/tcp_watch.py.
    """
    found = [one for one in map(read_tcp_info, fds) if one]
    if not found:
        return
    page.add("tcp_samples", len(found))
    page.add("tcp_cwnd", sum(one.cwnd or 0 for one in found))
    for histogram, name, factor in (
        ("rtt", "rtt_us", 1000),
        ("rttvar", "rttvar_us", 1000),
        ("min_rtt", "min_rtt_us", 1000),
        ("delivery_rate", "delivery_rate_bytes", 1),
    ):
        values = [value for one in found if (value := getattr(one, name)) is not None and value != _NO_MIN_RTT]
        if values:
            record(page, histogram, np.array(values, np.int64) * factor)
