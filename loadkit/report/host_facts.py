"""The names and types that are read of a record's `host`, whose other values may grow with later versions.

A record that is loaded is compared with these, so that its readers need not check them.
"""

from __future__ import annotations

import msgspec

__all__ = ["HostFacts"]


class HostFacts(msgspec.Struct):
    """The machine."""

    nofile_hard: int | None = None
