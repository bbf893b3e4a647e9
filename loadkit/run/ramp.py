"""The first connections opening, as the parent sees them: how fast, and whether there is room for more of them."""

from __future__ import annotations

from collections.abc import Callable

from loadkit.measure.board import COUNTERS, Board
from loadkit.measure.memory import Room
from loadkit.units import format_size

__all__ = ["Ramp"]

_OPENED, _ASKED = COUNTERS.index("opened"), COUNTERS.index("asked")
_TENTHS = 10
_CHECK_NS = 100_000_000  # at 30k connects/s, 8 KB each, 25 MB
_HEARD_NS = 200_000_000
# What is left to the machine, or to the control group: a twentieth, within these; of little memory a quarter is enough,
# for else a small container would open nothing.
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN, _OF_LITTLE = 20, 64 << 20, 1 << 30, 4


class Ramp:
    """Watches the board. `tenths` are the times (ns from the start) by which each tenth of `connections` was open."""

    def __init__(self, board: Board, connections: int, start_ns: int, read_room: Callable[[], Room | None]) -> None:
        self.tenths: list[int] = []
        self.stopped: str | None = None
        self._pages = [slot.pages[0] for slot in board.slots]
        self._slots = board.slots
        self._connections = connections
        self._start_ns = start_ns
        self._read_room = read_room
        self._seen = (start_ns, 0)
        self._checked_ns = 0
        self._stopped_ns = 0

    def look(self, now: int) -> None:
        """Notes which tenths are full, and looks whether there is room; `stopped` says why there is not."""
        before, was = self._seen
        opened = sum(int(page.counters[_OPENED]) for page in self._pages)
        if opened >= self._connections:  # when the last did, the workers know better than when we looked
            now = min(now, max(slot.get("settled_ns") for slot in self._slots) or now)
        while len(self.tenths) < _TENTHS:
            full = -(-self._connections * (len(self.tenths) + 1) // _TENTHS)
            if opened < full or opened == was:
                break
            self.tenths.append(before + (now - before) * (full - was) // (opened - was) - self._start_ns)
        self._seen = (now, opened)
        if self.stopped is None and now - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now
            self._check_room(now)

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
        """Whether each connection has opened or failed; of those begun, where no more of them are wanted."""
        settled = sum(slot.get("settled") for slot in self._slots)
        if self.stopped is None:
            return settled >= self._connections
        begun = sum(int(page.counters[_ASKED]) for page in self._pages)
        return now - self._stopped_ns > _HEARD_NS and settled >= begun
