"""How many connections a process may take before it runs out of file descriptors."""

from __future__ import annotations

import resource

from loadkit.limits import open_descriptors

__all__ = ["free_descriptors"]

# Kept free of connections: the accept in flight, and what the interpreter opens late.
_RESERVE = 16


def free_descriptors() -> int:
    """Returns how many file descriptors the soft limit leaves for connections now, at least 1."""
    return max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - open_descriptors() - _RESERVE)
