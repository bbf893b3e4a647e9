"""The connections of the ramp, as the parent sees them open: how fast, and whether there is room for more of them."""

from __future__ import annotations

from collections.abc import Callable

from loadkit.measure.board import COUNTERS, Board
from loadkit.measure.memory import Room
from loadkit.measure.samples import TENTHS, tenth_of
from loadkit.units import format_size

__all__ = ["Ramp"]

_FAILED, _ASKED = COUNTERS.index("failed_connects"), COUNTERS.index("asked")
_CHECK_NS = 100_000_000  # at 30k connects/s, 8 KB each, 25 MB
_HEARD_NS = 200_000_000
# What is left to the machine, or to the control group: a twentieth, within these; of little memory a quarter is enough,
# for else a small container would open nothing.
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN, _OF_LITTLE = 20, 64 << 20, 1 << 30, 4


class Ramp:
    """Watches the board from `start_ns` on, when the first of the `connections` is open already.

    `tenths` are the times (ns from the start) by which each tenth of them was open. The workers count a connection as
    settled when it happens, and note when the last one was, so that a look gives a time and a number that belong
    together, whenever it comes; between two of them the connections opened evenly, for all we know.
    """

    def __init__(self, board: Board, connections: int, start_ns: int, read_room: Callable[[], Room | None]) -> None:
        self.tenths: list[int] = []
        self.stopped: str | None = None
        self.start_ns = start_ns
        self._pages = [slot.pages[0] for slot in board.slots]
        self._slots = board.slots
        self._connections = connections
        self._read_room = read_room
        self._seen = (start_ns, 1)
        self._settled = 0  # at the last look
        self._checked_ns = 0
        self._stopped_ns = 0

    def look(self, now: int) -> None:
        """Notes which tenths are full, and looks whether there is room; `stopped` says why there is not."""
        before, was = self._seen
        self._settled = sum(slot.get("settled") for slot in self._slots)
        opened = self._settled - self._sum(_FAILED)
        if opened <= was:
            self._seen = (max(before, now), was)
        else:
            # One that settled after we had counted makes this a little late, never the number wrong.
            at = max(before, min(now, max(slot.get("settled_ns") for slot in self._slots) or now))
            self._note_tenths(before, was, at, opened)
            self._seen = (at, opened)
        if self.stopped is None and now - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now
            self._check_room(now)

    def _note_tenths(self, before: int, was: int, at: int, opened: int) -> None:
        while len(self.tenths) < TENTHS:
            full = tenth_of(self._connections, len(self.tenths))
            if opened < full:
                break
            self.tenths.append(max(0, before + (at - before) * (full - was) // (opened - was) - self.start_ns))

    def _sum(self, counter: int) -> int:
        return sum(int(page.counters[counter]) for page in self._pages)

    def _check_room(self, now: int) -> None:
        room = self._read_room()
        if room is None:
            return
        least = min(_LEAST_MARGIN, room.total_bytes // _OF_LITTLE)
        margin = min(max(room.total_bytes // _MARGIN, least), _MOST_MARGIN)
        if room.free_bytes < margin:
            self._stopped_ns = now
            self.stopped = (
                f"memory: {format_size(room.free_bytes)} of {format_size(room.total_bytes)} were left, and "
                f"{format_size(margin)} are kept free"
            )

    def is_over(self, now: int) -> bool:
        """Whether each connection had opened or failed at the last look; of those begun, where no more are wanted.

        Not by a look of its own: it might see the last connection, whose tenth would then never be noted.
        """
        if self.stopped is None:
            return self._settled >= self._connections
        return now - self._stopped_ns > _HEARD_NS and self._settled >= self._sum(_ASKED)
