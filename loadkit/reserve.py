"""Memory that a worker keeps to end with, so that it can say why where it gets no more."""

from __future__ import annotations

import mmap

__all__ = ["Reserve"]

_BYTES = 4 << 20  # Python takes memory from the system by the MiB


class Reserve:
    """Address space of 4 MiB that counts towards RLIMIT_AS and RLIMIT_DATA (setrlimit(2)), until it is given back.

    It takes no memory itself, for nothing writes to it: not an array of Python's, which writes zeros to each byte.
    Raises OSError (ENOMEM) where the limits leave no room.
    """

    def __init__(self) -> None:
        self._mapped = mmap.mmap(-1, _BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self) -> None:
        """Returns it to the system; again, it does nothing."""
        self._mapped.close()
