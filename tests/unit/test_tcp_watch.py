"""Differences of TCP_INFO's counters over the measured time, from made-up answers of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from loadkit.measure.board import Board, BoardLayout, Page
from loadkit.measure.samples import read_worker
from loadkit.measure.tcp_info import TcpInfo
from loadkit.measure.tcp_watch import LOOKS, MOST_WATCHED, TcpWatch


@dataclass
class Kernel:
    """What it has counted on each connection, a file descriptor here: retransmissions, busy, and held back by each."""

    counts: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)

    def read(self, fd: int) -> TcpInfo | None:
        if fd not in self.counts:
            return None
        retransmits, busy, rwnd, sndbuf = self.counts[fd]
        return TcpInfo(
            timeouts_in_a_row=0,
            last_sent_ms=1,
            last_received_ms=1,
            rtt_us=1,
            rttvar_us=1,
            cwnd=10,
            retransmits=retransmits,
            bytes_acked=1,
            min_rtt_us=1,
            delivery_rate_bytes=1,
            busy_us=busy,
            rwnd_limited_us=rwnd,
            sndbuf_limited_us=sndbuf,
        )


@dataclass
class Bench:
    board: Board
    kernel: Kernel
    watch: TcpWatch[int]

    @property
    def page(self) -> Page:
        return self.board.slots[0].pages[0]

    def noted(self) -> tuple[int, int, int, int, int]:
        """Returns the connections, and what came on them."""
        counters = read_worker(self.board, 0).phases[0].counters
        names = ("watched", "retransmits", "busy_us", "rwnd_limited_us", "sndbuf_limited_us")
        one, two, three, four, five = (counters[f"tcp_{name}"] for name in names)
        return one, two, three, four, five


@pytest.fixture
def bench() -> Iterator[Bench]:
    kernel = Kernel()
    board = Board(BoardLayout(1, 1, 10**9))
    yield Bench(board, kernel, TcpWatch(lambda fd: fd, kernel.read))
    board.close()


def test_what_was_there_before_the_measured_time_does_not_count(bench: Bench) -> None:
    bench.kernel.counts = {1: (100, 1_000, 10, 1), 2: (0, 0, 0, 0)}
    bench.watch.begin(bench.page, [1, 2])
    bench.kernel.counts = {1: (103, 1_500, 30, 2), 2: (1, 20, 0, 0)}
    bench.watch.end()
    # 3 + 1, 500 + 20, 20, 1
    assert bench.noted() == (2, 4, 520, 20, 1)
    bench.kernel.counts[1] = (200, 9_000, 900, 900)
    bench.watch.end()
    assert bench.noted() == (2, 4, 520, 20, 1)


def test_looking_more_often_changes_nothing(bench: Bench) -> None:
    bench.kernel.counts[1] = (0, 0, 0, 0)
    for retransmits in range(10):
        bench.watch.begin(bench.page, [1])
        bench.kernel.counts[1] = (retransmits + 1, 0, 0, 0)
    bench.watch.end()
    assert bench.noted()[:2] == (1, 10)


def test_ten_looks_read_each_of_them_once_while_the_phase_goes_on(bench: Bench) -> None:
    fds = range(25)
    bench.kernel.counts = dict.fromkeys(fds, (0, 0, 0, 0))
    bench.watch.look()  # none is watched yet
    bench.watch.begin(bench.page, fds)
    bench.kernel.counts = {fd: (1 << fd, 0, 0, 0) for fd in fds}
    seen = []
    for _ in range(LOOKS):
        bench.watch.look()
        seen.append(bench.noted()[:2])
    assert seen[0] == (3, 0b111)
    assert seen[-1] == (25, (1 << 25) - 1)
    bench.watch.end()
    assert bench.noted()[:2] == (25, (1 << 25) - 1)


def test_a_phase_that_is_not_measured_is_left_out_and_its_connections_count_once(bench: Bench) -> None:
    bench.kernel.counts[1] = (0, 0, 0, 0)
    bench.watch.begin(bench.page, [1])
    bench.kernel.counts[1] = (2, 0, 0, 0)
    bench.watch.end()
    bench.kernel.counts[1] = (50, 0, 0, 0)
    bench.watch.begin(bench.page, [1])
    bench.kernel.counts[1] = (53, 0, 0, 0)
    bench.watch.end()
    assert bench.noted()[:2] == (1, 5)


def test_one_that_closes_is_read_then(bench: Bench) -> None:
    bench.kernel.counts = {1: (7, 0, 0, 0), 2: (7, 0, 0, 0)}
    bench.watch.begin(bench.page, [1, 2])
    bench.kernel.counts[1] = (9, 0, 0, 0)
    bench.watch.closing(1)
    del bench.kernel.counts[1]
    bench.watch.closing(3)  # which is not watched
    assert bench.noted()[:2] == (1, 2)
    bench.watch.end()
    assert bench.noted()[:2] == (2, 2)
    bench.watch.closing(2)
    assert bench.noted()[:2] == (2, 2), "closed after the measured time"


def test_one_that_opens_counts_from_its_beginning_if_it_is_wanted(bench: Bench) -> None:
    bench.watch.want(1)
    bench.watch.opened(1)  # before the measured time
    bench.watch.begin(bench.page, [])
    bench.watch.opened(2)
    bench.watch.want(1)
    bench.watch.opened(3)
    bench.watch.opened(4)
    bench.kernel.counts = {fd: (fd, 0, 0, 0) for fd in range(1, 5)}
    bench.watch.end()
    assert bench.noted()[:2] == (1, 3)


def test_of_many_an_evenly_spaced_part_is_watched(bench: Bench) -> None:
    count = 10 * MOST_WATCHED
    bench.kernel.counts = dict.fromkeys(range(count), (0, 0, 0, 0))
    bench.watch.begin(bench.page, range(count))
    bench.watch.want(4)
    bench.watch.opened(count)  # there is no place
    bench.kernel.counts = {fd: (fd % 10 == 0, fd, 0, 0) for fd in range(count + 1)}
    bench.watch.end()
    # number 0, 10, 20 and so on
    assert bench.noted()[:3] == (MOST_WATCHED, MOST_WATCHED, sum(range(0, count, 10)))


def test_one_of_which_the_kernel_tells_nothing_does_not_count(bench: Bench) -> None:
    bench.kernel.counts[1] = (5, 0, 0, 0)
    bench.watch.begin(bench.page, [1, 2, -1])
    bench.kernel.counts = {2: (1, 0, 0, 0)}
    bench.watch.closing(1)
    bench.watch.end()
    assert bench.noted() == (0, 0, 0, 0, 0)
