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
        # Beside this, not within it: in a circle of two the board's mapping, and its descriptor, would stay until the
        # garbage collector comes.
        self._sight = _Sight(board, wanted)
        self._sampler = Sampler(self._sight)

    def look(self, now: int) -> Mapping[int, SoFar] | None:
        """Returns what these phases have so far, None if a second has not passed since the last time."""
        if not self._sight.wanted:
            return None
        self._sight.seen = None
        self._sampler.look(now)
        return self._sight.seen


class _Sight:
    """What was seen last."""

    def __init__(self, board: Board, wanted: Mapping[int, Collection[str]]) -> None:
        self._board = board
        self.wanted = wanted
        self.seen: Mapping[int, SoFar] | None = None

    def add(self, from_ns: int, t_ns: int) -> None:
        """Reads the board."""
        self.seen = {phase: read_so_far(self._board, phase, times) for phase, times in self.wanted.items()}
