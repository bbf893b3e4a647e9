"""The options of the kernel's sockets, which both ends have.

A new one is a row here, and one in measure/settings.py with the kernel's name for it. None keeps what the kernel, or
the engine, has by default.
"""

from __future__ import annotations

import msgspec

__all__ = ["SocketOptions"]


class SocketOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the kernel is asked to treat the connections of an end."""
