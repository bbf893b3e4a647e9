"""`--stamps rx` in a loop that is not ours: the hook reads for it now and then, with the kernel's stamp.

libuv reads by read(), asyncio through socket.recv, which CPython's _socket makes with recv().
"""

from __future__ import annotations

from loadkit.engine.stamps import choose_stamps
from loadkit.measure.board import Slot
from loadkit.measure.names import STAMP_SOURCES
from loadkit.profile.both import Stamps

__all__ = ["Stamping"]


class Stamping:
    """What reads for this thread, until it is closed. `is_on`: sockets are to be stamped."""

    def __init__(self, asked: Stamps, slot: Slot, library: str | None, by_recv: bool) -> None:
        self.is_on = choose_stamps(asked, slot)
        if not self.is_on:
            return
        try:
            from loadkit.engine.aio import _hook

            if library is None:
                raise OSError("it is built into the interpreter")
            _hook.begin_stamps(slot.words, len(slot.pages), library, by_recv)
        except (ImportError, OSError):
            self.is_on = False
            slot.set("stamp_source", STAMP_SOURCES.index("no_hook"))

    def close(self) -> None:
        """Puts the import table back, when this is the last one."""
        if self.is_on:
            from loadkit.engine.aio import _hook

            _hook.end_stamps()
