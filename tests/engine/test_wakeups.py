"""Who counts the wake-ups, and what happens where it cannot be had."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import uvloop
from uvloop import loop as libuv

import loadkit.engine.aio
from loadkit.engine.aio.wakeups import CountingSelector, Hook, LoopMetrics, count_libuv
from loadkit.measure.board import Board, BoardLayout, Slot
from loadkit.measure.names import WAKEUP_SOURCES
from loadkit.measure.samples import read_worker
from loadkit.measure.wakeups import read_wakeups

from .conftest import Blast, Server, run

_hook = pytest.importorskip("loadkit.engine.aio._hook", reason="the compiled part is not there")

_TURNS = 50


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(BoardLayout(2, 1, 10**9))
    yield board
    board.close()


def turn(loop: asyncio.AbstractEventLoop, times: int = _TURNS) -> None:
    """Has the loop woken by a pipe that is readable, so often."""
    read, write = os.pipe()
    left = [times]

    def take() -> None:
        os.read(read, 1)
        left[0] -= 1
        if left[0]:
            os.write(write, b"!")
        else:
            loop.stop()

    loop.add_reader(read, take)
    os.write(write, b"!")
    loop.run_forever()
    loop.remove_reader(read)
    os.close(read)
    os.close(write)


def source_of(slot: Slot) -> str:
    return WAKEUP_SOURCES[slot.get("wakeup_source")]


def waits_of(board: Board, index: int) -> int:
    return read_worker(board, index).phases[0].counters["waits"]


def test_the_hook_counts_each_call_and_its_events(board: Board) -> None:
    slot, loop = board.slots[0], uvloop.new_event_loop()
    counting = count_libuv(loop, slot)
    assert isinstance(counting, Hook)
    try:
        turn(loop)
    finally:
        loop.close()
        counting.close()
    worker = read_worker(board, 0)
    counted = read_wakeups(worker.state["wakeup_source"], worker.phases[0])
    assert counted is not None
    assert counted.source == "hook"
    assert _TURNS <= counted.wakeups <= counted.waits <= 2 * _TURNS + 10
    assert _TURNS <= counted.events == counted.batch.sum_ns
    assert counted.batch.count == counted.wakeups
    assert counted.flags["IN"] == counted.events
    assert counted.busy.count == counted.waits - 1
    assert counted.busy.sum_ns == counted.busy_ns > 0
    assert counted.blocked_ns > 0


def test_each_thread_counts_its_own_and_the_last_puts_the_table_back(board: Board) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def other() -> None:
        loop = uvloop.new_event_loop()
        counting = count_libuv(loop, board.slots[1])
        assert counting is not None
        begun.set()
        go_on.wait(60)
        turn(loop, 2 * _TURNS)
        loop.close()
        counting.close()

    thread = threading.Thread(target=other)
    loop = uvloop.new_event_loop()
    counting = count_libuv(loop, board.slots[0])
    assert counting is not None
    thread.start()
    begun.wait(60)
    turn(loop)
    counting.close()
    mine = waits_of(board, 0)
    turn(loop)  # passes through, uncounted, while the other one still counts
    go_on.set()
    thread.join(10)
    turn(loop)
    loop.close()
    assert _TURNS <= mine == waits_of(board, 0)
    assert 2 * _TURNS <= waits_of(board, 1) <= 4 * _TURNS + 10


def test_it_can_be_begun_again_but_not_twice(board: Board) -> None:
    words, library = board.slots[0].words, libuv.__file__
    for _ in range(3):
        _hook.begin(words, 1, library)
        with pytest.raises(RuntimeError, match="does that already"):
            _hook.begin(words, 1, library)
        _hook.end()
    _hook.end()  # nothing to end


@pytest.mark.parametrize(
    ("library", "says"),
    [
        ("/no/such/library.so", "is not loaded"),
        (np._core._multiarray_umath.__file__, "imports no epoll_pwait"),
    ],
)
def test_where_there_is_nothing_to_hook_it_says_so_and_changes_nothing(board: Board, library: str, says: str) -> None:
    with pytest.raises(OSError, match=says):
        _hook.begin(board.slots[0].words, 1, library)
    _hook.begin(board.slots[0].words, 1, libuv.__file__)
    _hook.end()


def test_words_that_are_no_slot_are_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        _hook.begin(np.zeros(5, np.int64), 1, libuv.__file__)


def test_a_forked_process_passes_through(board: Board) -> None:
    loop = uvloop.new_event_loop()
    counting = count_libuv(loop, board.slots[0])
    assert counting is not None
    turn(loop)
    pid = os.fork()
    counted = waits_of(board, 0)
    if not pid:
        status = 1
        try:
            again = uvloop.new_event_loop()
            turn(again)
            again.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert waits_of(board, 0) == counted
    turn(loop)
    assert waits_of(board, 0) >= counted + _TURNS
    loop.close()
    counting.close()


@pytest.mark.parametrize("engine", ["hook", "selector"])
def test_a_turn_that_goes_on_into_the_next_phase_is_each_one_s_for_its_part(engine: str) -> None:
    board = Board(BoardLayout(1, 2, 10**9))
    slot = board.slots[0]
    selector = CountingSelector(slot)
    loop = uvloop.new_event_loop() if engine == "hook" else asyncio.SelectorEventLoop(selector)
    counting = count_libuv(loop, slot) if engine == "hook" else selector
    assert counting is not None
    assert source_of(slot) == engine

    def change_phase() -> None:
        time.sleep(0.2)
        counting.fold(slot.pages[0])
        slot.set("phase", 1)
        loop.call_soon(loop.stop)

    loop.call_later(0.001, change_phase)  # after a wait
    loop.run_forever()
    counting.fold(slot.pages[1])
    loop.close()
    counting.close()
    before, after = (phase.counters["busy_ns"] for phase in read_worker(board, 0).phases)
    board.close()
    assert before >= 200_000_000
    assert after < before


@pytest.fixture
def no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not compiled."""
    monkeypatch.setitem(sys.modules, "loadkit.engine.aio._hook", None)
    monkeypatch.delattr(loadkit.engine.aio, "_hook")


@pytest.mark.usefixtures("no_hook")
def test_without_the_hook_libuv_s_own_metrics_are_taken(board: Board) -> None:
    slot, loop = board.slots[0], uvloop.new_event_loop()
    counting = count_libuv(loop, slot)
    assert isinstance(counting, LoopMetrics)
    turn(loop)
    counting.fold(slot.pages[0])
    loop.close()
    counters = read_worker(board, 0).phases[0].counters
    assert source_of(slot) == "uv_metrics"
    assert _TURNS <= counters["waits"] <= 2 * _TURNS + 10
    assert _TURNS <= counters["events"] <= 2 * _TURNS + 10
    assert (counters["wakeups"], counters["blocked_ns"]) == (0, 0)


@pytest.mark.usefixtures("no_hook")
def test_without_either_nobody_counts_and_the_engine_works(
    board: Board, monkeypatch: pytest.MonkeyPatch, server: Server, blast: Blast
) -> None:
    monkeypatch.delattr(libuv, "libuv_get_loop_t_ptr")
    loop = uvloop.new_event_loop()
    assert count_libuv(loop, board.slots[0]) is None
    loop.close()
    assert source_of(board.slots[0]) == "none"
    port, _board, _control = server()
    whole = run(blast(port, connections="5", messages="100"))
    assert whole.counters["replied"] == 105
    assert whole.errors == {}


def test_every_engine_s_wake_ups_add_up(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="20", messages="2000")
    run(blasting)
    slot = blasting.board.slots[0]
    if not slot.get("wakeup_source"):
        pytest.skip("this engine has no epoll")
    waits = wakeups = busy_ns = turns_ns = 0
    for phase in read_worker(blasting.board, 0).phases:
        counters, batch, busy = phase.counters, phase.histograms["batch"], phase.histograms["busy"]
        assert batch.count == counters["wakeups"]
        assert batch.sum_ns == counters["events"]
        assert counters["wakeups"] <= counters["waits"]
        # A turn is in the histogram of the phase it ended in, its time is every phase's own; the last has not ended.
        busy_ns += counters["busy_ns"]
        # What we stood still in a turn was no work: it is in the turn's length, and not in the busy time.
        turns_ns += busy.sum_ns - phase.histograms["standstill"].sum_ns
        waits += counters["waits"]
        wakeups += counters["wakeups"]
    assert 100 < wakeups <= waits
    assert turns_ns <= busy_ns
