"""The board: one shared-memory table of 64-bit numbers that workers write and the parent reads.

Layout, in 8-byte words, whose names are in names.py: one slot per worker. A slot has its own words (STATE), then one
page per phase. A page has COUNTERS, a counter of errors for each step and number, and for each of HISTOGRAMS its count,
sum, min, max, dropped, carry and the array of its counts. In a run with journeys it also has a histogram for each of
STAGES, and TAIL_ROWS rows of a count and the sum of every stage.

Only the owning worker writes a slot. An aligned 64-bit store is atomic on every machine that loadkit runs on, so a
reader sees each number whole at any time. A batch of numbers is not one store: `STATE.sequence` is odd while a batch is
folded in, so that a reader of a dead worker's slot knows whether its last batch is whole.

The memory is a memfd. It has no name, no limit of /dev/shm applies, it goes when its processes end, and pages that were
never written take no memory. What a killed worker wrote is still there. Its size is sealed, because a process that
shrank it would end all others by SIGBUS.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadkit.limits import setting_up
from loadkit.measure.buckets import counts_length
from loadkit.measure.names import COUNTERS, HISTOGRAMS, STAGE, STAGES, STATE, STEPS, OwnError
from loadkit.measure.tokens import Tokens, WorkerTokens, token_words
from loadkit.units import format_size

if TYPE_CHECKING:
    from loadkit.plan.load import Load
    from loadkit.plan.placement import Placement
    from loadkit.plan.serve import ServePlan

__all__ = ["ERRNOS", "HEAD", "SUM_CARRY", "TAIL_ROWS", "Board", "BoardLayout", "Page", "Slot"]

# Rows of journeys by their total, in quarters of an octave, each with the sum of every stage. They say where the time
# of the slowest messages went.
TAIL_ROWS = 160
# With many connections a sum of nanoseconds passes 2^63 within hours, so it is carry x SUM_CARRY + sum.
HEAD = ("count", "sum", "min", "max", "dropped", "carry")
SUM_CARRY = 1 << 62
ERRNOS = 192  # Linux's highest is 133, EHWPOISON; names.py has the rest
# The most that a serve end's histograms count: bytes sent back on a connection, for which the compiled engine has 48
# bits (native/serve.h). It times nothing but its own turns, whose ns end far below that.
_MOST_OF_SERVE = 2**48 - 1


@dataclass(frozen=True, slots=True)
class BoardLayout:
    """How many slots and pages, and how far the histograms reach."""

    workers: int
    phases: int
    highest_ns: int
    has_journeys: bool = False
    limit: int | None = None  # connections that may be open, over all workers: measure/tokens.py

    @classmethod
    def of_blast(cls, load: Load, here: Placement) -> BoardLayout:
        """Returns the layout of a run's workers on a machine."""
        return cls(here.workers, len(load.phases), load.highest_ns, load.journey)

    @classmethod
    def of_serve(cls, plan: ServePlan) -> BoardLayout:
        """Returns the layout of a serve end's workers, which have one phase."""
        return cls(plan.workers, 1, _MOST_OF_SERVE, limit=plan.max_connections)

    @property
    def histograms(self) -> tuple[str, ...]:
        """The histograms of a page, in their order. A stage's name begins with STAGE."""
        return (*HISTOGRAMS, *(f"{STAGE}{name}" for name in STAGES)) if self.has_journeys else HISTOGRAMS

    @property
    def tail_words(self) -> int:
        """Words of the rows of journeys in one page."""
        return TAIL_ROWS * (1 + len(STAGES)) if self.has_journeys else 0

    @property
    def histogram_words(self) -> int:
        """Words of one histogram, head and counts."""
        return len(HEAD) + counts_length(self.highest_ns)

    @property
    def page_words(self) -> int:
        """Words of one phase of one worker."""
        return len(COUNTERS) + len(STEPS) * ERRNOS + len(self.histograms) * self.histogram_words + self.tail_words

    @property
    def slot_words(self) -> int:
        """Words of one worker."""
        return len(STATE) + self.phases * self.page_words

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole region."""
        return 8 * (self.workers * self.slot_words + self.token_words)

    @property
    def token_words(self) -> int:
        """Words behind the slots, for the tokens of a limit; 0 without a limit."""
        return 0 if self.limit is None else token_words(self.workers)


class Page:
    """One phase of one worker, as arrays that are views of the board."""

    __slots__ = ("counters", "errors", "histograms", "tails")

    def __init__(self, words: NDArray[np.int64], layout: BoardLayout) -> None:
        at = len(COUNTERS)
        self.counters = words[:at]
        self.errors = words[at : at + len(STEPS) * ERRNOS].reshape(len(STEPS), ERRNOS)
        at += self.errors.size
        self.histograms: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for name in layout.histograms:
            head, end = at + len(HEAD), at + layout.histogram_words
            self.histograms[name] = (words[at:head], words[head:end])
            at = end
        self.tails = words[at : at + layout.tail_words].reshape(-1, 1 + len(STAGES))

    def add(self, counter: str, amount: int = 1) -> None:
        """Adds to a counter."""
        self.counters[COUNTERS.index(counter)] += amount

    def dropped(self, histogram: str) -> int:
        """Returns how many values no counter of the histogram could take."""
        return int(self.histograms[histogram][0][HEAD.index("dropped")])

    def add_error(self, step: str, number: int, amount: int = 1) -> None:
        """Counts an error of `step` under its errno, or under one of OwnError."""
        known = number if 0 < number < ERRNOS else OwnError.UNKNOWN
        self.errors[STEPS.index(step), known] += amount


class Slot:
    """One worker's part of the board. `words` is all of it, for an engine that writes it in place.

    `tokens` are for opening connections under a limit; None without a limit.
    """

    __slots__ = ("pages", "state", "tokens", "words")

    def __init__(self, words: NDArray[np.int64], layout: BoardLayout, tokens: WorkerTokens | None = None) -> None:
        self.words = words
        self.tokens = tokens
        self.state = words[: len(STATE)]
        size = layout.page_words
        self.pages = [Page(words[at : at + size], layout) for at in range(len(STATE), len(words), size)]

    def set(self, name: str, value: int) -> None:
        """Writes one of STATE."""
        self.state[STATE.index(name)] = value

    def get(self, name: str) -> int:
        """Reads one of STATE."""
        return int(self.state[STATE.index(name)])


class Board:
    """The mapped region. The parent creates it; a worker maps the file descriptor that it was given."""

    def __init__(self, layout: BoardLayout, fd: int | None = None) -> None:
        """Raises PreflightError if the system, or a limit of this process, does not give it the memory."""
        self.layout = layout
        self.fd = -1 if fd is None else fd
        try:
            with setting_up(f"make the board of {format_size(layout.size_bytes)}"):
                if fd is None:
                    self.fd = os.memfd_create("loadkit-board", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
                    os.ftruncate(self.fd, layout.size_bytes)
                    fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
                self._map = mmap.mmap(self.fd, layout.size_bytes)
                self._words = np.frombuffer(self._map, np.int64)
                self._token_words = self._words[len(self._words) - layout.token_words :]
                limit = layout.limit if fd is None else None
                self.tokens = None if limit is None else Tokens(self._token_words, limit)
                if fd is None and layout.has_journeys:
                    for slot in self.slots:
                        slot.set("journeys", 1)
        except BaseException:
            self.close()
            raise

    @functools.cached_property
    def slots(self) -> list[Slot]:
        """All slots, for the parent."""
        return [self.slot(index) for index in range(self.layout.workers)]

    @functools.cached_property
    def states(self) -> NDArray[np.int64]:
        """STATE of all workers, one row per worker, so that a look at a hundred workers costs no more than at one."""
        return self._table[:, : len(STATE)]

    @functools.cached_property
    def counters(self) -> NDArray[np.int64]:
        """COUNTERS of all workers and phases: worker, phase, counter."""
        return self._pages[:, :, : len(COUNTERS)]

    @functools.cached_property
    def errors(self) -> NDArray[np.int64]:
        """The counters of errors of all workers and phases: worker, phase, step, number."""
        layout = self.layout
        errors = self._pages[:, :, len(COUNTERS) : len(COUNTERS) + len(STEPS) * ERRNOS]
        return errors.reshape(layout.workers, layout.phases, len(STEPS), ERRNOS)

    @functools.cached_property
    def _table(self) -> NDArray[np.int64]:
        layout = self.layout
        return self._words[: layout.workers * layout.slot_words].reshape(layout.workers, layout.slot_words)

    @functools.cached_property
    def _pages(self) -> NDArray[np.int64]:
        layout = self.layout
        return self._table[:, len(STATE) :].reshape(layout.workers, layout.phases, layout.page_words)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the pages that are in memory, because they were written or read."""
        return os.fstat(self.fd).st_blocks * 512

    def slot(self, index: int) -> Slot:
        """Returns one worker's slot. Its arrays take 30 KB, so a worker makes only its own."""
        size = self.layout.slot_words
        tokens = WorkerTokens(self._token_words, index) if self.layout.limit is not None else None
        return Slot(self._words[index * size : (index + 1) * size], self.layout, tokens)

    def close(self) -> None:
        """Closes the file descriptor, once. The mapping goes with its last reader."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
