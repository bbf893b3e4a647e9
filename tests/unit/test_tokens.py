"""Tokens from one counter: never more than there are, none refused while there is one, and none lost with a worker."""

from __future__ import annotations

import mmap
import os
import signal
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from loadkit.engine.compiled import native_missing
from loadkit.measure.tokens import HEAD_WORDS, MOST_TOKENS, Tokens, WorkerTokens, token_words

_TURNS, _HELD = 0, 1


def shared(workers: int) -> NDArray[np.int64]:
    """Memory that forked processes have in common."""
    return np.frombuffer(mmap.mmap(-1, 8 * token_words(workers)), np.int64)


def note(words: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    return words[HEAD_WORDS + 2 * index : HEAD_WORDS + 2 * index + 2]


def left(words: NDArray[np.int64]) -> int:
    """Takes all that are left, and puts them back."""
    probe = WorkerTokens(words, 0)
    count = 0
    while probe.take():
        count += 1
    for _ in range(count):
        probe.give()
    return count


def test_as_many_are_taken_as_there_are_whoever_takes_them() -> None:
    words = shared(2)
    tokens = Tokens(words, 3)
    one, other = WorkerTokens(words, 0), WorkerTokens(words, 1)
    assert [one.take(), other.take(), one.take(), other.take(), one.take()] == [True, True, True, False, False]
    assert (one.held, other.held) == (2, 1)
    other.give()
    assert one.take()
    assert not other.take()
    assert (one.held, other.held) == (3, 0)
    assert tokens.give_back()  # nobody is dead


def test_a_limit_above_what_the_counter_can_hold_is_no_limit_that_is_met() -> None:
    words = shared(1)
    Tokens(words, 10 * MOST_TOKENS)
    assert WorkerTokens(words, 0).take()


def test_what_a_dead_worker_held_is_given_back_and_what_a_living_one_holds_is_not() -> None:
    words = shared(2)
    tokens = Tokens(words, 5)
    dead, living = WorkerTokens(words, 0), WorkerTokens(words, 1)
    assert all(one.take() for one in (dead, dead, dead, living, living))
    tokens.note_death(0)
    assert tokens.give_back()
    assert left(words) == 3
    assert living.held == 2
    assert tokens.give_back()  # once
    assert left(words) == 3


@pytest.mark.parametrize(
    ("turns", "held", "taken"),
    [
        pytest.param(7, 2, 3, id="taken and not noted"),
        pytest.param(7, 2, 2, id="noted, or not taken yet"),
        pytest.param(7, 2, 1, id="given back and not noted"),
    ],
)
def test_a_worker_killed_between_the_counter_and_its_note_loses_none_and_makes_none(
    turns: int, held: int, taken: int
) -> None:
    words = shared(2)
    tokens = Tokens(words, 5)
    for _ in range(taken):
        WorkerTokens(words, 0).take()
    assert WorkerTokens(words, 1).take()
    note(words, 0)[:] = turns, held
    tokens.note_death(0)
    assert tokens.give_back()
    assert left(words) == 4


def test_while_a_living_worker_is_between_the_two_nothing_is_given_back_and_then_all_is() -> None:
    words = shared(2)
    tokens = Tokens(words, 5)
    assert WorkerTokens(words, 0).take()
    assert WorkerTokens(words, 1).take()
    note(words, 1)[:] = 3, 0  # it has taken one and not noted it
    tokens.note_death(0)
    assert not tokens.give_back()
    note(words, 1)[:] = 4, 1
    assert tokens.give_back()
    assert left(words) == 4


def test_processes_that_are_killed_at_any_moment_leave_the_counter_right() -> None:
    words = shared(3)
    tokens = Tokens(words, 4)
    # They rest, as workers do: what is given back waits for a moment in which neither of them is in a turn.
    living = [_start(words, index, rest_s=0.001) for index in (1, 2)]
    try:
        for _ in range(8):
            victim = _start(words, 0)
            while note(words, 0)[_TURNS] < 200:
                time.sleep(0.001)  # and not a busy wait, which would take their cores
            _kill(victim)
            tokens.note_death(0)
            while not tokens.give_back():
                time.sleep(0.001)
    finally:
        for pid in living:
            _kill(pid)
    for index in (1, 2):
        tokens.note_death(index)
    assert tokens.give_back()
    assert left(words) == 4


def _start(words: NDArray[np.int64], index: int, rest_s: float = 0.0) -> int:
    """Forks a process that takes two and gives them back, for ever, with a rest in between."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the test's time-out is its parent's
            signal.alarm(120)
            _take_and_give(WorkerTokens(words, index), rest_s)
        finally:
            os._exit(1)
    return pid


def _take_and_give(mine: WorkerTokens, rest_s: float) -> None:
    while True:
        for has_one in (mine.take(), mine.take()):
            if has_one:
                mine.give()
        if rest_s:
            time.sleep(rest_s)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.skipif(native_missing() is not None, reason="the compiled engine is not there")
def test_the_compiled_engine_refuses_notes_that_are_not_there() -> None:
    import socket

    from loadkit.engine.native import _core
    from loadkit.measure.board import BoardLayout
    from tests.engine.conftest import serve_options

    words = shared(2)
    board = np.zeros(BoardLayout(1, 1, 10**9).slot_words, np.int64)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        for index in (-1, 2):
            with pytest.raises(ValueError, match="index"):
                _core.Serve(
                    words=board,
                    control_fd=mine.fileno(),
                    options=serve_options(index=index, most_slots=10),
                    listeners=(),
                    settings=(),
                    tokens=words,
                    machine=bytes(16),
                )
