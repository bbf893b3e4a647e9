"""What the conditions of a run are judged by, read off the board once a second; nothing without conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from loadkit.measure.board import Board
from loadkit.measure.so_far import SoFar, read_so_far
from loadkit.run.sampler import Sampler

__all__ = ["Sights"]


class Sights:
    """Looks at the phases `wanted`, and at those histograms of each."""

    def __init__(self, board: Board, wanted: Mapping[int, Collection[str]]) -> None:
        self._board = board
        self._wanted = wanted
        self._sampler = Sampler(self)
        self._seen: Mapping[int, SoFar] | None = None

    def look(self, now: int) -> Mapping[int, SoFar] | None:
        """Returns what these phases have so far, None if a second has not passed since the last time."""
        if not self._wanted:
            return None
        self._seen = None
        self._sampler.look(now)
        return self._seen

    def add(self, from_ns: int, t_ns: int) -> None:
        """Reads the board."""
        self._seen = {phase: read_so_far(self._board, phase, times) for phase, times in self._wanted.items()}
