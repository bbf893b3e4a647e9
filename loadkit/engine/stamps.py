"""`--stamps rx`: the kernel stamps what comes in on ordinary connections; one read in sixteen looks at the stamp."""

from __future__ import annotations

import socket

from loadkit.engine.compiled import native_missing
from loadkit.measure.board import Slot
from loadkit.measure.names import STAMP_SOURCES
from loadkit.profile.both import Stamps

__all__ = ["RX_SOFTWARE", "SOFTWARE", "SO_TIMESTAMPING", "choose_stamps", "stamp_received"]

SO_TIMESTAMPING = 37  # asm-generic/socket.h; Python has no name for it before 3.14
RX_SOFTWARE, SOFTWARE = 1 << 3, 1 << 4  # Documentation/networking/timestamping.rst


def stamp_received(sock: socket.socket) -> None:
    """Has the kernel stamp what comes in on a socket, or on those that a listening one will accept. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)


def choose_stamps(asked: Stamps, slot: Slot) -> bool:
    """Whether a worker is to read stamps. Where it was asked to and cannot, its slot says why."""
    source = "none"
    if asked is Stamps.RX:
        source = "no_hook" if native_missing() else "rx" if _does_stamp() else "refused"
    slot.set("stamp_source", STAMP_SOURCES.index(source))
    return source == "rx"


def _does_stamp() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            stamp_received(sock)
        except OSError:
            return False
    return True
