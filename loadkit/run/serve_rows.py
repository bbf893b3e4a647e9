"""The series of a serve end: what its workers did in each second, read off their board as it goes on."""

from __future__ import annotations

import time
from collections import deque

from loadkit.measure.board import Board
from loadkit.measure.samples import read_totals
from loadkit.measure.series import ServeInterval

__all__ = ["ServeRows"]

_MOST_ROWS = 3600  # the last hour


class ServeRows:
    """Its rows, each with the time of day at its end. `counts_bytes`: an app's bytes are not counted."""

    def __init__(self, board: Board, counts_bytes: bool) -> None:
        self.rows: deque[ServeInterval] = deque(maxlen=_MOST_ROWS)
        self._board = board
        self._counts_bytes = counts_bytes
        self._seen = read_totals(board)

    def add(self, from_ns: int, t_ns: int) -> None:
        """Adds what came since the last row."""
        now = read_totals(self._board)
        came = {name: count - self._seen[name] for name, count in now.items()}
        self.rows.append(
            ServeInterval(
                t_s=time.time(),
                accepted=came["opened"],
                received_bytes=came["received_bytes"] if self._counts_bytes else None,
                sent_bytes=came["sent_bytes"] if self._counts_bytes else None,
                cpu_user_ns=came["cpu_user_ns"],
                cpu_system_ns=came["cpu_system_ns"],
                wakeups=came["wakeups"],
                events=came["events"],
            )
        )
        self._seen = now
