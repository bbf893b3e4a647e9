"""Engines by name."""

from __future__ import annotations

import functools
from collections.abc import Collection

from loadkit.engine.base import Engine
from loadkit.engine.compiled import is_installed, native_missing
from loadkit.errors import PreflightError
from loadkit.plan.engine import ChosenEngine, check_engine
from loadkit.profile.engines import EngineName, Feature, engines_with

__all__ = ["choose_engine", "get_engine"]

_MEND = "with a C compiler and Python's headers (Debian: gcc python3-dev) install loadkit again"


def choose_engine(name: EngineName, needs: Collection[Feature] = ()) -> ChosenEngine:
    """Decides the engine of an end: the one that is named, or, of `auto`, the fastest that has what is needed.

    Raises OptionError for one that has it not, and PreflightError for one that is not installed.
    """
    check_engine(name, needs)
    able = engines_with(*needs)
    asked = able if name is EngineName.AUTO else (name,)
    missing = {one: _missing(one) for one in asked}
    first, why = next(iter(missing.items()))
    chosen = next((one for one in asked if missing[one] is None), None)
    if chosen is None:
        raise PreflightError(f"--engine {first}: {why}, or {_way_out(able, first, needs)}")
    return ChosenEngine(chosen, why and f"the {first} engine is not there: {why}")


def _missing(name: EngineName) -> str | None:
    """Returns why an engine is not there, and how to get it; None if it is there."""
    if name is EngineName.NATIVE:
        why = native_missing()
        return why and f"{why}; {_MEND}"
    if name is EngineName.UVLOOP and not is_installed("uvloop"):
        return "uvloop is not installed; pip install uvloop"
    return None


def _way_out(able: tuple[EngineName, ...], missing: EngineName, needs: Collection[Feature]) -> str:
    others = [one for one in able if one is not missing and _missing(one) is None]
    if others:
        return f"use --engine {others[0]}"
    return f"leave {' and '.join(need.value for need in needs if engines_with(need) == (missing,))} out"


@functools.cache
def get_engine(name: EngineName) -> Engine:
    """Returns the engine of that name. Raises PreflightError for one that is not installed.

    An engine that was there once is not looked for again: a forked worker would write to 200 KB more of the memory that
    it shares with the others.
    """
    chosen = choose_engine(name).name
    if chosen is EngineName.FAKE:
        from loadkit.engine.fake import FakeEngine

        return FakeEngine()
    from loadkit.engine.aio.loop import AsyncioEngine, UvloopEngine

    if chosen is EngineName.NATIVE:
        from loadkit.engine.native.engine import NativeEngine

        around = UvloopEngine() if is_installed("uvloop") else AsyncioEngine()
        return NativeEngine(around.new_loop, around.version)
    return UvloopEngine() if chosen is EngineName.UVLOOP else AsyncioEngine()
