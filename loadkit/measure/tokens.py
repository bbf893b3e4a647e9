"""The connections that a serve end may have open over all its workers: tokens from one counter.

The counter is a POSIX semaphore in shared memory (sem_overview(7)): any process takes a token, or gives one back, in
one atomic step, in C and from Python without a compiler. A worker turns a connection away only if there is no token
left. So as many connections get in as there are tokens, whichever worker the kernel gives them to.

Each worker notes how many tokens it holds, so that the parent can give them back if it is killed. It may be killed
between its step and its note. So the parent takes what the living workers hold from what the counter has given out: the
rest is free. That needs a moment in which no worker is between its step and its note. `turns` shows it, because it is
odd in between.

native/tokens.h is the same in C.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEAD_WORDS", "MOST_TOKENS", "NOTE_WORDS", "Tokens", "WorkerTokens", "token_words"]

HEAD_WORDS = 8  # the counter's own cache line; a sem_t has 32 bytes (glibc and musl, 64-bit)
MOST_TOKENS = 2**31 - 1  # SEM_VALUE_MAX
_NOTE = ("turns", "held")
NOTE_WORDS = len(_NOTE)
_TURNS, _HELD = range(NOTE_WORDS)
# Attempts to find a moment in which no worker takes or gives: an attempt takes a few microseconds, as a worker's turn
# does.
_LOOKS = 1000


def token_words(workers: int) -> int:
    """Returns the number of 64-bit words that the tokens of this number of workers take."""
    return HEAD_WORDS + NOTE_WORDS * workers


class WorkerTokens:
    """One worker's side. `words` is all of the shared memory, for an engine that takes tokens by itself."""

    __slots__ = ("_note", "_semaphore", "index", "words")

    def __init__(self, words: NDArray[np.int64], index: int) -> None:
        self.words = words
        self.index = index
        self._semaphore = _Semaphore(words)
        self._note = _notes(words)[index]

    @property
    def held(self) -> int:
        """The number of tokens that this worker holds."""
        return int(self._note[_HELD])

    def take(self) -> bool:
        """Takes a token; False if there is no token left."""
        self._note[_TURNS] += 1
        has_one = self._semaphore.take()
        self._note[_HELD] += has_one
        self._note[_TURNS] += 1
        return has_one

    def give(self) -> None:
        """Gives a token back."""
        self._note[_TURNS] += 1
        self._semaphore.give()
        self._note[_HELD] -= 1
        self._note[_TURNS] += 1


class Tokens:
    """The parent's side: makes `limit` tokens, and gives back the tokens of workers that died."""

    def __init__(self, words: NDArray[np.int64], limit: int) -> None:
        self._limit = min(limit, MOST_TOKENS)
        self._notes = _notes(words)
        self._semaphore = _Semaphore(words)
        self._semaphore.make(self._limit)
        self._has_dead = False

    def note_death(self, index: int) -> None:
        """Notes that a worker is dead and holds no token. To be called before another process takes its place."""
        self._notes[index] = 0
        self._has_dead = True

    def give_back(self) -> bool:
        """Gives back what dead workers held; False if a worker is in the middle of a turn, so ask again."""
        if not self._has_dead:
            return True
        for _ in range(_LOOKS):
            before, left = self._notes.copy(), self._semaphore.left()
            if not (before[:, _TURNS] % 2).any() and np.array_equal(before, self._notes):
                for _ in range(self._limit - left - int(before[:, _HELD].sum())):
                    self._semaphore.give()
                self._has_dead = False
                return True
        return False


def _notes(words: NDArray[np.int64]) -> NDArray[np.int64]:
    return words[HEAD_WORDS:].reshape(-1, NOTE_WORDS)


class _Semaphore:
    """sem_init(3), sem_trywait(3), sem_post(3) and sem_getvalue(3) on the first words."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: NDArray[np.int64]) -> None:
        self._words = words  # keeps them mapped
        self._at = ctypes.c_void_p(words.ctypes.data)

    def make(self, value: int) -> None:
        _check(_libc().sem_init(self._at, 1, ctypes.c_uint(value)))

    def take(self) -> bool:
        return bool(_libc().sem_trywait(self._at) == 0)  # else EAGAIN

    def give(self) -> None:
        _check(_libc().sem_post(self._at))

    def left(self) -> int:
        value = ctypes.c_int()
        _check(_libc().sem_getvalue(self._at, ctypes.byref(value)))
        return value.value


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(failed: int) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"the counter of connections: {number}")
