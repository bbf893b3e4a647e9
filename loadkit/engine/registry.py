"""Engines by name."""

from __future__ import annotations

import functools

from loadkit.engine.base import Engine
from loadkit.engine.compiled import is_installed, native_missing
from loadkit.errors import PreflightError
from loadkit.plan.engine import ChosenEngine
from loadkit.profile.both import EngineName

__all__ = ["choose_engine", "decide_engine", "decide_serve_engine", "get_engine"]

_MEND = "with a C compiler and Python's headers (Debian: gcc python3-dev) install loadkit again"


def choose_engine(name: EngineName, needs_native: bool = False) -> EngineName:
    """Resolves `auto` to the fastest engine that is installed, or to the one that is needed.

    Raises PreflightError for one that is not installed.
    """
    if needs_native and name is EngineName.AUTO:
        name = EngineName.NATIVE
    missing = native_missing() if name in (EngineName.AUTO, EngineName.NATIVE) else None
    has_uvloop = is_installed("uvloop")
    if name is EngineName.AUTO:
        if missing is None:
            return EngineName.NATIVE
        return EngineName.UVLOOP if has_uvloop else EngineName.ASYNCIO
    if name is EngineName.NATIVE and missing:
        raise PreflightError(f"--engine native: {missing}; {_MEND}, or use --engine uvloop")
    if name is EngineName.UVLOOP and not has_uvloop:
        raise PreflightError("--engine uvloop: uvloop is not installed; pip install uvloop, or use --engine asyncio")
    return name


def decide_engine(name: EngineName, needs_native: bool = False) -> ChosenEngine:
    """Decides the engine of a run. Raises PreflightError for one that is not installed."""
    chosen = choose_engine(name, needs_native)
    return ChosenEngine(chosen, _fallback_reason(name, chosen))


def decide_serve_engine(name: EngineName, needs_native: bool = False, has_app: bool = False) -> ChosenEngine:
    """Decides the engine of a serve end; an app runs in a loop of Python's. Raises PreflightError."""
    if has_app and name is EngineName.AUTO:
        return ChosenEngine(EngineName.UVLOOP if is_installed("uvloop") else EngineName.ASYNCIO)
    return decide_engine(name, needs_native)


def _fallback_reason(asked: EngineName, chosen: EngineName) -> str | None:
    """Says why `auto` did not take the native engine, for the report; None if it did, or was not asked to."""
    if asked is not EngineName.AUTO or chosen is EngineName.NATIVE:
        return None
    return f"the native engine is not there: {native_missing() or 'it was built meanwhile'}; {_MEND}"


def get_engine(name: EngineName) -> Engine:
    """Returns the engine of that name. Raises PreflightError for one that is not installed."""
    return _engine(choose_engine(name))


@functools.cache
def _engine(chosen: EngineName) -> Engine:
    if chosen is EngineName.FAKE:
        from loadkit.engine.fake import FakeEngine

        return FakeEngine()
    from loadkit.engine.aio.loop import AsyncioEngine, UvloopEngine

    if chosen is EngineName.NATIVE:
        from loadkit.engine.native.engine import NativeEngine

        around = UvloopEngine() if is_installed("uvloop") else AsyncioEngine()
        return NativeEngine(around.new_loop, around.version)
    return UvloopEngine() if chosen is EngineName.UVLOOP else AsyncioEngine()
