"""How fast the connections of the ramp open, as looks show it, and whether there is room for more of them."""

from __future__ import annotations

from loadkit.measure.memory import Room
from loadkit.measure.run_samples import TENTHS, tenth_of
from loadkit.plan.memory import kept_free
from loadkit.run.crew import Look
from loadkit.units import format_size

__all__ = ["Ramp"]

_HEARD_NS = 200_000_000


class Ramp:
    """The ramp from `start_ns` on, when the first of the `connections` is open already.

    `tenths` are the times (ns from the start) by which each tenth of them was open. Workers count a connection when it
    settles, and note the time of the last one. So the time and the number of a look belong together, whenever it comes.
    Between two looks the connections are assumed to open evenly.
    """

    def __init__(self, connections: int, start_ns: int) -> None:
        self.tenths: list[int] = []
        self.stopped: str | None = None
        self.start_ns = start_ns
        self._connections = connections
        self._seen = (start_ns, 1)
        self._stopped_ns = 0

    def note(self, look: Look, now: int) -> None:
        """Notes which tenths are full, and whether there is room. `stopped` says why there is no room."""
        before, was = self._seen
        opened = look.settled - look.failed
        if opened <= was:
            self._seen = (max(before, now), was)
        else:
            at = max(before, min(now, look.settled_ns or now))
            self._note_tenths(before, was, at, opened)
            self._seen = (at, opened)
        if self.stopped is None and look.room:
            self._check_room(look.room, now)

    def _note_tenths(self, before: int, was: int, at: int, opened: int) -> None:
        while len(self.tenths) < TENTHS:
            full = tenth_of(self._connections, len(self.tenths))
            if opened < full:
                break
            self.tenths.append(max(0, before + (at - before) * (full - was) // (opened - was) - self.start_ns))

    def _check_room(self, room: Room, now: int) -> None:
        margin = kept_free(room.total_bytes)
        if room.free_bytes < margin:
            self._stopped_ns = now
            self.stopped = (
                f"memory: {format_size(room.free_bytes)} of {format_size(room.total_bytes)} were left, and "
                f"{format_size(margin)} are kept free"
            )

    def is_over(self, look: Look, now: int) -> bool:
        """Whether each connection has opened or failed; if it has stopped, each one that was begun."""
        if self.stopped is None:
            return look.settled >= self._connections
        return now - self._stopped_ns > _HEARD_NS and look.settled >= look.asked
