"""The machine around a run: its kernel's counters, its quotas of CPU time, and its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadkit.measure.kernel import KernelLook, KernelSamples, read_kernel
from loadkit.measure.kernel import difference as counted
from loadkit.measure.memory import MemorySamples, Room
from loadkit.measure.throttling import ThrottlingLook, ThrottlingSamples, read_throttling
from loadkit.measure.throttling import difference as throttled
from loadkit.run.footprint import Footprint

__all__ = ["Surroundings"]

_ROOM_NS = 100_000_000  # between two readings of the memory that is left: at 30k connects/s, 8 KB each, 25 MB


class Surroundings:
    """Made before the first process of the run; called when all are ready, and at each edge of the window."""

    def __init__(self, connections: int, read_room: Callable[[], Room | None]) -> None:
        self.memory: MemorySamples | None = None  # what the connections take, once they are open
        self._footprint = Footprint(connections)
        self._read_room = read_room
        self._room_ns = 0
        self._before: KernelLook | None = None
        self._edges: list[tuple[KernelLook | None, ThrottlingLook]] = []

    def ready(self, pids: Sequence[int]) -> None:
        """Reads the memory and the counters before any connection. `pids` are the processes of the run."""
        self._footprint.ready(pids)
        self._before = read_kernel()

    def opened(self, connections: int, blast: Sequence[int], serve: Sequence[int], board_bytes: int) -> None:
        """Measures the memory of the open connections, as Footprint.opened does."""
        self.memory = self._footprint.opened(connections, blast, serve, board_bytes)

    def pass_edge(self) -> None:
        """Reads the counters at one of the two edges of the window."""
        self._edges.append((read_kernel(), read_throttling()))

    def room(self, now: int) -> Room | None:
        """Returns the memory that is left; None if it is too soon to read it again, or if it cannot be read."""
        if now - self._room_ns < _ROOM_NS:
            return None
        self._room_ns = now
        return self._read_room()

    def kernel(self) -> KernelSamples | None:
        """Returns what the kernel counted in the window, None without one."""
        begin, end = self._kernel_at(0), self._kernel_at(1)
        return counted(begin, end) if begin and end else None

    def kernel_of_ramp(self) -> KernelSamples | None:
        """Returns what it counted until the window began."""
        begin = self._kernel_at(0)
        return counted(self._before, begin) if self._before and begin else None

    def throttling(self) -> ThrottlingSamples | None:
        """Returns what quotas did in the window; None without a window, or a quota."""
        return throttled(self._edges[0][1], self._edges[1][1]) if len(self._edges) > 1 else None

    def _kernel_at(self, edge: int) -> KernelLook | None:
        return self._edges[edge][0] if edge < len(self._edges) else None
