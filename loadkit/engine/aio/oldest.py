"""Entries that wait for a time, the oldest first, most of which are over before it comes.

A connect waits for its time-out, a connection for the end of its life. If only entries at the front were dropped, one
slow entry would keep all behind it: at 10,000 connects per second, those of 5 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["OldestFirst"]

Entry = TypeVar("Entry")

_FEW = 1024


class OldestFirst(Generic[Entry]):
    """A queue with few more than twice the entries that are not over, if `tidy` is called regularly."""

    __slots__ = ("_entries", "_is_over", "_left")

    def __init__(self, is_over: Callable[[Entry], bool]) -> None:
        self._entries: deque[Entry] = deque()
        self._is_over = is_over
        self._left = 0  # when it was tidied last

    def __len__(self) -> int:
        """How many there are, including those that are over."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """From the oldest on."""
        return iter(self._entries)

    @property
    def oldest(self) -> Entry:
        """The first of them; there has to be one."""
        return self._entries[0]

    def append(self, entry: Entry) -> None:
        """Adds the latest."""
        self._entries.append(entry)

    def pop(self) -> Entry:
        """Takes out the oldest; there has to be one."""
        return self._entries.popleft()

    def clear(self) -> None:
        """Drops them all."""
        self._entries.clear()

    def tidy(self) -> None:
        """Drops those at the front that are over; all that are over, once they may be half of many."""
        while self._entries and self._is_over(self._entries[0]):
            self._entries.popleft()
        if len(self._entries) > 2 * self._left + _FEW:
            self._entries = deque(entry for entry in self._entries if not self._is_over(entry))
            self._left = len(self._entries)
