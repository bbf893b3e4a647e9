"""A worker's notebook: times are noted one by one in plain lists, and folded into the board in batches.

Noting costs two or three list appends; the rest (which phase, which counter, the sums) is done by numpy for a few
hundred messages at a time, 20 to 40 ns each, against 1.3 to 2.2 us of `record_value`. A worker that is killed loses
what it noted since the last fold: at most FOLD_EVERY messages or FOLD_NS of time.

A sample belongs to the phase in which its message was *intended*, whenever it was sent or replied to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.board import COUNTERS, STATE, SUM_CARRY, Page, Slot
from loadkit.measure.cpu import CpuMeter
from loadkit.measure.histogram import index_of
from loadkit.units import NS_PER_S

__all__ = ["FOLD_EVERY", "FOLD_NS", "Tally", "record"]

FOLD_EVERY = 2048
FOLD_NS = NS_PER_S // 10

_AT = {name: index for index, name in enumerate(COUNTERS)}
_SEQUENCE = STATE.index("sequence")
_FOREVER = 2**62

Rows = NDArray[np.int64]


class Folding(Protocol):
    """What counts for itself, and is taken into the board from time to time."""

    def fold(self, page: Page) -> None:
        """Adds what came since the last time to the page."""


class Tally:
    """Buffers in front of a slot. The lists are public: the hot path extends them directly.

    due: intended (one number a message); unused where `due_is_sent`, that is in a closed loop, in which a message is
        due when there is room for it, and so goes out in the moment it is due
    unsent: intended
    sent: intended, sent
    replied: intended, sent, replied
    exchanges: sent, replied of a closed loop's exchange whose next message goes out in the same moment as its reply
        came: one that is intended = sent = replied of the last, so it needs no note of its own in `sent`
    connected: intended, established
    first_bytes: intended start of the connect, established, first byte
    """

    __slots__ = (
        "_cpu",
        "_starts",
        "connected",
        "due",
        "due_is_sent",
        "exchanges",
        "extra_bytes",
        "first_bytes",
        "replied",
        "sent",
        "size",
        "slot",
        "unsent",
        "wakeups",
    )

    def __init__(self, slot: Slot, size_bytes: int, due_is_sent: bool = False) -> None:
        self.slot = slot
        self.size = size_bytes
        self.due_is_sent = due_is_sent
        self.due: list[int] = []
        self.unsent: list[int] = []
        self.sent: list[int] = []
        self.replied: list[int] = []
        self.exchanges: list[int] = []
        self.connected: list[int] = []
        self.first_bytes: list[int] = []
        self.extra_bytes = 0  # received beside whole replies
        self._starts = [-_FOREVER] + [_FOREVER] * (len(slot.pages) - 1)
        self._cpu = CpuMeter()
        self.wakeups: Folding | None = None

    def begin_phase(self, index: int, at_ns: int) -> None:
        """Says that phase `index` begins at `at_ns`; what is intended from then on is its."""
        if index:  # the first phase has everything before the second: a worker may be a little ahead of the start
            self._starts[index] = at_ns

    def phase_of(self, intended_ns: int) -> int:
        """Returns the phase of a message intended at that time."""
        return bisect_right(self._starts, intended_ns) - 1

    def count(self, counter: str, intended_ns: int, amount: int = 1) -> None:
        """Adds to a counter of the phase of `intended_ns`: the rare path, straight into the board."""
        self.slot.pages[self.phase_of(intended_ns)].add(counter, amount)

    def error(self, step: str, number: int, at_ns: int) -> None:
        """Counts an error in the phase it happened in."""
        self.slot.pages[self.phase_of(at_ns)].add_error(step, number)

    def fold(self, now_ns: int) -> None:
        """Takes everything noted so far into the board."""
        state = self.slot.state
        state[_SEQUENCE] += 1
        if self.due:
            for page, rows in self._by_phase(self.due, 1):
                page.counters[_AT["intended"]] += len(rows)
        if self.unsent:
            for page, rows in self._by_phase(self.unsent, 1):
                page.counters[_AT["unsent"]] += len(rows)
        if self.sent:
            for page, rows in self._by_phase(self.sent, 2):
                page.counters[_AT["sent"]] += len(rows)
                if self.due_is_sent:
                    page.counters[_AT["intended"]] += len(rows)
                page.counters[_AT["sent_bytes"]] += len(rows) * self.size
                record(page, "lateness", rows[:, 1] - rows[:, 0])
        if self.replied:
            for page, rows in self._by_phase(self.replied, 3):
                page.counters[_AT["replied"]] += len(rows)
                page.counters[_AT["received_bytes"]] += len(rows) * self.size
                record(page, "latency", rows[:, 2] - rows[:, 0])
                record(page, "service", rows[:, 2] - rows[:, 1])
        if self.exchanges:
            self._fold_exchanges()
        if self.connected:
            for page, rows in self._by_phase(self.connected, 2):
                page.counters[_AT["opened"]] += len(rows)
                record(page, "connect", rows[:, 1] - rows[:, 0])
        if self.first_bytes:
            for page, rows in self._by_phase(self.first_bytes, 3):
                record(page, "first_byte", rows[:, 2] - rows[:, 1])
        if self.extra_bytes:
            self.count("received_bytes", now_ns, self.extra_bytes)
            self.extra_bytes = 0
        state[_SEQUENCE] += 1

    def _fold_exchanges(self) -> None:
        """A reply, and the message it gave rise to: sent at the time of the reply, on time by definition."""
        rows = np.array(self.exchanges, np.int64).reshape(-1, 2)
        self.exchanges.clear()
        for page, part in self._split_by_phase(rows):
            page.counters[_AT["replied"]] += len(part)
            page.counters[_AT["received_bytes"]] += len(part) * self.size
            times = part[:, 1] - part[:, 0]
            for name in ("latency", "service"):
                record(page, name, times)
        for page, part in self._split_by_phase(rows[:, 1:]):
            page.counters[_AT["intended"]] += len(part)
            page.counters[_AT["sent"]] += len(part)
            page.counters[_AT["sent_bytes"]] += len(part) * self.size
            record(page, "lateness", np.zeros(len(part), np.int64))

    def fold_cpu(self, now_ns: int) -> None:
        """Adds CPU time and wake-ups since the last call to the phase of `now_ns`; call it at every phase's end too."""
        phase = self.phase_of(now_ns)
        self._cpu.fold(self.slot, phase)
        if self.wakeups:
            self.wakeups.fold(self.slot.pages[phase])

    def _by_phase(self, noted: list[int], width: int) -> Iterator[tuple[Page, Rows]]:
        """Empties a list and yields (page, its rows); rows are `width` numbers, the first is the intended time."""
        rows = np.array(noted, np.int64).reshape(-1, width)
        noted.clear()
        yield from self._split_by_phase(rows)

    def _split_by_phase(self, rows: Rows) -> Iterator[tuple[Page, Rows]]:
        intended = rows[:, 0]
        first = self.phase_of(int(intended.min()))
        if self.phase_of(int(intended.max())) == first:
            yield self.slot.pages[first], rows
            return
        phases = np.searchsorted(self._starts, intended, "right") - 1
        for phase in np.unique(phases):
            yield self.slot.pages[phase], rows[phases == phase]


def record(page: Page, name: str, values: Rows) -> None:
    """Adds values (ns) to a histogram of the page; what lies outside its range is counted as dropped."""
    head, counts = page.histograms[name]
    least, most = int(values.min()), int(values.max())
    if least < 0 or index_of(np.array([most]))[0] >= len(counts):
        inside = (values >= 0) & (index_of(np.maximum(values, 0)) < len(counts))
        head[4] += len(values) - int(inside.sum())
        values = values[inside]
        if not len(values):
            return
        least, most = int(values.min()), int(values.max())
    if least == most:
        counts[int(index_of(values[:1])[0])] += len(values)
    else:
        index = index_of(values)
        low = int(index.min())
        added = np.bincount(index - low)
        counts[low : low + len(added)] += added
    head[2] = min(int(head[2]), least) if head[0] else least
    head[3] = max(int(head[3]), most)
    carries, head[1] = divmod(int(head[1]) + _exact_sum(values, most), SUM_CARRY)
    head[5] += carries
    head[0] += len(values)


def _exact_sum(values: Rows, most: int) -> int:
    """Adds up in Python's integers where 64 bits might not do."""
    return int(values.sum()) if most < SUM_CARRY // len(values) else sum(values.tolist())
