"""What made a record: the versions of loadkit and of what it runs on."""

from __future__ import annotations

import platform

from loadkit.report.record import Tool
from loadkit.version import __version__

__all__ = ["tool_record"]


def tool_record(engine: str) -> Tool:
    """Returns what made a record with this engine, such as `native` or `uvloop 0.22.1`."""
    _, _, uvloop = engine.partition("uvloop ")
    return Tool(__version__, platform.python_version(), uvloop or None, engine)
