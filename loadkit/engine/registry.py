"""Engines by name."""

from __future__ import annotations

import importlib.util

from loadkit.engine.base import Engine
from loadkit.errors import PreflightError
from loadkit.profile.model import EngineName

__all__ = ["choose_engine", "get_engine"]


def choose_engine(name: EngineName) -> EngineName:
    """Resolves `auto` to the fastest engine that is installed. Raises PreflightError for one that is not."""
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    if name is EngineName.AUTO:
        return EngineName.UVLOOP if has_uvloop else EngineName.ASYNCIO
    if name is EngineName.UVLOOP and not has_uvloop:
        raise PreflightError("--engine uvloop: uvloop is not installed; pip install uvloop, or use --engine asyncio")
    return name


def get_engine(name: EngineName) -> Engine:
    """Returns the engine of that name. Raises PreflightError for one that is not installed."""
    chosen = choose_engine(name)
    if chosen is EngineName.FAKE:
        from loadkit.engine.fake import FakeEngine

        return FakeEngine()
    from loadkit.engine.aio.loop import AsyncioEngine, UvloopEngine

    return UvloopEngine() if chosen is EngineName.UVLOOP else AsyncioEngine()
