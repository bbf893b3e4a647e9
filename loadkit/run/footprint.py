"""What the connections of a run take of the machine's memory: measured before, and when all of them are open."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.measure.memory import MemorySamples, ProcessMemory, kernel_bytes, process_memory

__all__ = ["ENOUGH_CONNECTIONS", "Footprint"]

# Fewer take less than what comes and goes on any machine.
ENOUGH_CONNECTIONS = 10_000


class Footprint:
    """Made before the first process of the run is; then told when all are ready, and when the connections are open."""

    def __init__(self, connections: int) -> None:
        self._is_worth_it = connections >= ENOUGH_CONNECTIONS
        self._before = kernel_bytes() if self._is_worth_it else None
        self._ready: int | None = None
        self._processes: dict[int, ProcessMemory | None] = {}

    def ready(self, pids: Sequence[int]) -> None:
        """Takes in what the processes are before there is any connection."""
        if self._is_worth_it:
            self._ready = kernel_bytes()
            self._processes = {pid: process_memory(pid) for pid in pids}

    def opened(
        self, connections: int, blast: Sequence[int], serve: Sequence[int], board_bytes: int
    ) -> MemorySamples | None:
        """Returns what they take; None where it cannot be told: a process ended, or the machine does not say.

        `blast` and `serve` are the process ids of both ends' workers, `board_bytes` is what their boards take.
        """
        now = kernel_bytes()
        if self._before is None or self._ready is None or now is None or not connections:
            return None
        ready = [memory.pss_bytes for memory in self._processes.values() if memory]
        ends = [self._growth(pids) for pids in (blast, serve)]
        if ends[0] is None or ends[1] is None or len(ready) < len(self._processes):
            return None
        return MemorySamples(
            connections=connections,
            kernel_bytes=max(0, now - self._ready),
            blast_bytes=ends[0],
            serve_bytes=ends[1] if serve else None,
            processes_bytes=sum(ready) + max(0, self._ready - self._before) + board_bytes,
        )

    def _growth(self, pids: Sequence[int]) -> int | None:
        """Returns the anonymous memory that came since they were ready: the board's is counted by itself."""
        total = 0
        for pid in pids:
            before, now = self._processes.get(pid), process_memory(pid)
            if before is None or now is None:
                return None
            total += now.anonymous_bytes - before.anonymous_bytes
        return max(0, total)
