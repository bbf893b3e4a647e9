"""When a board is read, the same for both ends: once a second, and what is left at the end."""

from __future__ import annotations

from typing import Protocol

from loadkit.measure.series import STEP_NS
from loadkit.units import NS_PER_S

__all__ = ["Sampler"]


class Series(Protocol):
    """What happened between two times: run/intervals.py for a run, run/serve_rows.py for a serve end, run/sights.py."""

    def add(self, from_ns: int, t_ns: int) -> None:
        """Adds what was counted since it was last called, which was then."""


class Sampler:
    """Has a series add its rows. Times are those of the caller's clock, in ns; the first row begins at `at_ns`."""

    def __init__(self, series: Series, at_ns: int = 0) -> None:
        self._series = series
        self._at_ns = at_ns

    def look(self, now: int) -> None:
        """Adds a row when a second has passed since the last."""
        if now >= self._at_ns + STEP_NS:
            self.close(now)

    def close(self, now: int) -> None:
        """Adds what is left."""
        if now > self._at_ns:
            self._series.add(self._at_ns, now)
            self._at_ns = now

    def left_s(self, now: int) -> float:
        """Returns how many seconds it is until the next row."""
        return max(0.0, (self._at_ns + STEP_NS - now) / NS_PER_S)
