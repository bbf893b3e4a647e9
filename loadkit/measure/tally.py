"""A worker's notebook: times are noted one by one in plain lists, and folded into the board in batches.

Noting costs two or three list appends. numpy does the rest (which phase, which counter, the sums) for a few hundred
messages at a time, at 20 to 40 ns each; hdrhistogram's `record_value` takes 1.3 to 2.2 us (`make bench`). A worker that
is killed loses what it noted since the last fold: at most FOLD_EVERY messages or FOLD_NS of time.

A sample belongs to the phase in which its message was *intended*, whenever it was sent or replied to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loadkit.measure.board import SUM_CARRY, Page, Slot
from loadkit.measure.buckets import index_of
from loadkit.measure.cpu import CpuMeter
from loadkit.measure.names import COUNTERS, STATE
from loadkit.units import NS_PER_S

__all__ = ["FOLD_EVERY", "FOLD_NS", "Tally", "record"]

FOLD_EVERY = 2048
FOLD_NS = NS_PER_S // 10

_AT = {name: index for index, name in enumerate(COUNTERS)}
_SEQUENCE = STATE.index("sequence")
_FOREVER = 2**62
_STANDSTILLS = 64  # the number of the latest that are kept, to find the replies that they disturbed

Rows = NDArray[np.int64]


class Folding(Protocol):
    """What counts by itself, and adds its counts to the board from time to time."""

    def fold(self, page: Page) -> None:
        """Adds what came since the last time to the page."""


class Tally:
    """Buffers in front of a slot. The lists are public: the hot path extends them directly.

    due: intended (one number per message). Unused if `due_is_sent`: in a closed loop a message is due when there is
        room for it, so it is sent at the moment at which it is due
    unsent: intended
    sent: intended, taken, sent
    outgoing: sent, bytes, of each message, if messages have several lengths; of one length there is `size`
    openings: sent, of the first message of a connection in an open loop, which is not on the schedule
    replied: intended, taken, sent, replied
    exchanges: sent, replied, in a closed loop whose next message is sent at the moment at which the reply came. Its
        intended and sent are this replied, so it needs no note of its own in `sent`
    connected: intended, established, of connections that take messages from then on
    established: intended, established, of those that have a set-up first
    shaken: intended, established, ready, of those whose set-up is done
    first_bytes: intended start of the connect, established, first byte
    extra: received, bytes of replies that are not whole yet. They are taken off when the reply is noted
    """

    __slots__ = (
        "_cpu",
        "_standstills",
        "_starts",
        "connected",
        "due",
        "due_is_sent",
        "established",
        "exchanges",
        "extra",
        "first_bytes",
        "openings",
        "outgoing",
        "replied",
        "sent",
        "shaken",
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
        self.openings: list[int] = []
        self.outgoing: list[int] = []
        self.replied: list[int] = []
        self.exchanges: list[int] = []
        self.connected: list[int] = []
        self.established: list[int] = []
        self.shaken: list[int] = []
        self.first_bytes: list[int] = []
        self.extra: list[int] = []
        self._starts = [-_FOREVER] + [_FOREVER] * (len(slot.pages) - 1)
        self._standstills: list[tuple[int, int]] = []
        self._cpu = CpuMeter()
        self.wakeups: Folding | None = None

    def begin_phase(self, index: int, at_ns: int) -> None:
        """Says that phase `index` begins at `at_ns`; what is intended from then on belongs to it."""
        if index:  # the first phase has everything before the second, because a worker may start a little early
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

    def standstill(self, begin_ns: int, end_ns: int) -> None:
        """Notes a standstill: replies to what was intended before its end, and read after it began, are disturbed."""
        for phase, part_ns in self.parts(begin_ns, end_ns):
            record(self.slot.pages[phase], "standstill", np.array([part_ns], np.int64))
        self._standstills = [*self._standstills, (begin_ns, end_ns)][-_STANDSTILLS:]

    def parts(self, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
        """Yields the phases that a stretch of time is in, each with its part of the time (ns)."""
        for phase in range(self.phase_of(begin_ns), self.phase_of(end_ns) + 1):
            until = self._starts[phase + 1] if phase + 1 < len(self._starts) else _FOREVER
            part_ns = min(end_ns, until) - max(begin_ns, self._starts[phase])
            if part_ns > 0:
                yield phase, part_ns

    def fold(self) -> None:
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
            self._fold_sent()
        if self.openings:
            for page, rows in self._by_phase(self.openings, 1):
                page.counters[_AT["sent_bytes"]] += len(rows) * self.size
        if self.outgoing:
            for page, rows in self._by_phase(self.outgoing, 2):
                page.counters[_AT["sent_bytes"]] += int(rows[:, 1].sum())
        if self.replied:
            self._fold_replied()
        if self.exchanges:
            self._fold_exchanges()
        if self.connected:
            self._fold_connected()
        if self.established:
            for page, rows in self._by_phase(self.established, 2):
                record(page, "connect", rows[:, 1] - rows[:, 0])
        if self.shaken:
            self._fold_shaken()
        if self.first_bytes:
            for page, rows in self._by_phase(self.first_bytes, 3):
                record(page, "first_byte", rows[:, 2] - rows[:, 1])
        if self.extra:
            for page, rows in self._by_phase(self.extra, 2):
                page.counters[_AT["received_bytes"]] += int(rows[:, 1].sum())
        state[_SEQUENCE] += 1

    def _fold_sent(self) -> None:
        rows = _rows(self.sent, 3)
        for page, part in self._split(rows, 0):
            page.counters[_AT["sent"]] += len(part)
            if self.due_is_sent:
                page.counters[_AT["intended"]] += len(part)
            else:
                record(page, "lateness", part[:, 1] - part[:, 0])
                record(page, "held", part[:, 2] - part[:, 1])
        self._happened(rows, 2, "sent")

    def _fold_replied(self) -> None:
        rows = _rows(self.replied, 4)
        for page, part in self._split(rows, 0):
            latencies = part[:, 3] - part[:, 0]
            page.counters[_AT["replied"]] += len(part)
            record(page, "latency", latencies)
            record(page, "service", part[:, 3] - part[:, 2])
            self._disturb(page, part[:, 0], part[:, 3], 10 * (part[:, 1] - part[:, 0]) > latencies)
        self._happened(rows, 3, "replied")

    def _fold_exchanges(self) -> None:
        """Counts replies, and the messages that follow them: sent at the time of the reply, on time by definition."""
        rows = _rows(self.exchanges, 2)
        for page, part in self._split(rows, 0):
            page.counters[_AT["replied"]] += len(part)
            times = part[:, 1] - part[:, 0]
            for name in ("latency", "service"):
                record(page, name, times)
            if self._standstills:
                self._disturb(page, part[:, 0], part[:, 1], np.zeros(len(part), np.bool_))
        for page, part in self._split(rows, 1):
            page.counters[_AT["intended"]] += len(part)
            page.counters[_AT["sent"]] += len(part)
        for name in ("sent", "replied"):
            self._happened(rows, 1, name)

    def _fold_connected(self) -> None:
        rows = _rows(self.connected, 2)
        for page, part in self._split(rows, 0):
            record(page, "connect", part[:, 1] - part[:, 0])
        self._count_opened(rows, 1)

    def _fold_shaken(self) -> None:
        rows = _rows(self.shaken, 3)
        for page, part in self._split(rows, 0):
            record(page, "handshake", part[:, 2] - part[:, 1])
        self._count_opened(rows, 2)

    def _count_opened(self, rows: Rows, column: int) -> None:
        """Counts connections, with when each was intended and, in that column, when it was open."""
        for page, part in self._split(rows, 0):
            page.counters[_AT["opened"]] += len(part)
        for page, part in self._split(rows, column):
            page.counters[_AT["window_opened"]] += len(part)

    def _happened(self, rows: Rows, column: int, what: str) -> None:
        """Counts messages sent, or replied to, with their bytes, in the phase in which that happened."""
        for page, part in self._split(rows, column):
            page.counters[_AT[f"window_{what}"]] += len(part)
            page.counters[_AT["sent_bytes" if what == "sent" else "received_bytes"]] += len(part) * self.size

    def _disturb(self, page: Page, intended: Rows, replied: Rows, is_late: NDArray[np.bool_]) -> None:
        """Records the latencies that have a standstill, or our own lateness, in them."""
        has_stood = np.zeros(len(intended), np.bool_)
        for begin, end in self._standstills:
            has_stood |= (intended < end) & (replied > begin)
        is_disturbed = is_late | has_stood
        if is_disturbed.any():
            record(page, "disturbed", (replied - intended)[is_disturbed])
            page.counters[_AT["stood"]] += int(has_stood.sum())

    def fold_cpu(self, now_ns: int) -> None:
        """Adds CPU time and wake-ups since the last call to the phase of `now_ns`. Call it at every phase's end too."""
        phase = self.phase_of(now_ns)
        self._cpu.fold(self.slot, phase)
        if self.wakeups:
            self.wakeups.fold(self.slot.pages[phase])

    def _by_phase(self, noted: list[int], width: int) -> Iterator[tuple[Page, Rows]]:
        """Empties a list and yields (page, its rows); rows are `width` numbers, the first is the intended time."""
        yield from self._split(_rows(noted, width), 0)

    def _split(self, rows: Rows, column: int) -> Iterator[tuple[Page, Rows]]:
        """Yields the rows of each phase, which the time in that column belongs to."""
        times = rows[:, column]
        first = self.phase_of(int(times.min()))
        if self.phase_of(int(times.max())) == first:
            yield self.slot.pages[first], rows
            return
        phases = np.searchsorted(self._starts, times, "right") - 1
        for phase in np.unique(phases):
            yield self.slot.pages[phase], rows[phases == phase]


def _rows(noted: list[int], width: int) -> Rows:
    """Empties a list into rows of `width` numbers."""
    rows = np.array(noted, np.int64).reshape(-1, width)
    noted.clear()
    return rows


def record(page: Page, name: str, values: Rows) -> None:
    """Adds values (ns) to a histogram of the page; values outside its range count as dropped."""
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
    """Adds up in Python's integers if 64 bits might not suffice."""
    return int(values.sum()) if most < SUM_CARRY // len(values) else sum(values.tolist())
