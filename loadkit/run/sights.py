"""What the conditions of a run are judged by, read off the board about once a second; nothing without conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from loadkit.measure.board import Board
from loadkit.measure.so_far import SoFar, read_so_far
from loadkit.run.abort import STEP_NS

__all__ = ["Sights"]


class Sights:
    """Looks at the phases `wanted`, and at those histograms of each."""

    def __init__(self, board: Board, wanted: Mapping[int, Collection[str]]) -> None:
        self._board = board
        self._wanted = wanted
        self._next_ns = 0

    def look(self, now: int) -> Mapping[int, SoFar] | None:
        """Returns what these phases have so far, None where a second has not passed since the last time."""
        if not self._wanted or now < self._next_ns:
            return None
        self._next_ns = now + STEP_NS
        return {phase: read_so_far(self._board, phase, times) for phase, times in self._wanted.items()}
