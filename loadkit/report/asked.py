"""What is read of a record's `host`, whose other values may grow with later versions: names and types.

A record that is loaded is held against these, so that nothing which reads it has to ask whether it is one.
"""

from __future__ import annotations

import msgspec

__all__ = ["HostFacts"]


class HostFacts(msgspec.Struct):
    """The machine."""

    nofile_hard: int | None = None
