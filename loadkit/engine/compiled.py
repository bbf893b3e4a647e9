"""Whether the compiled engine is there, and is the one of these sources."""

from __future__ import annotations

import functools
import importlib.util

from loadkit.measure.board import TAIL_ROWS
from loadkit.measure.names import COUNTERS, HISTOGRAMS, PROOFS, STAGES, STATE, STEPS, OwnError
from loadkit.measure.tokens import HEAD_WORDS

__all__ = ["is_installed", "matches_board", "matches_options", "native_missing"]

_NOT_BUILT = "it was not compiled when loadkit was installed"
_OTHER_VERSION = "it was compiled from other sources than these"


@functools.cache
def is_installed(module: str) -> bool:
    """Whether Python finds a module of that name, compiled or not."""
    return importlib.util.find_spec(module) is not None


def native_missing() -> str | None:
    """Returns why the compiled engine cannot be used; None when it can."""
    if not is_installed("loadkit.engine.native._core"):
        return _NOT_BUILT
    return None if matches_board() and matches_options() else _OTHER_VERSION


def matches_board() -> bool:
    """Whether the core was built for this board: the same words in the same places."""
    from loadkit.engine.native import _core

    own = {name: value for name, value in vars(OwnError).items() if name.isupper()}
    names = (_core.STATE, _core.COUNTERS, _core.HISTOGRAMS, _core.STAGES, _core.STEPS, _core.PROOFS)
    numbers = (_core.TAIL_ROWS, _core.TOKENS_HEAD_WORDS)
    return (names, numbers) == (
        (STATE, COUNTERS, HISTOGRAMS, STAGES, STEPS, PROOFS),
        (TAIL_ROWS, HEAD_WORDS),
    ) and all(getattr(_core, name, None) == value for name, value in own.items())


def matches_options() -> bool:
    """Whether the core was built for these options: the same names."""
    from loadkit.engine.native.rows import TABLES

    return all({*_core_names(table)} == names for table, names in TABLES.items())


def _core_names(table: str) -> tuple[str, ...]:
    from loadkit.engine.native import _core

    names: tuple[str, ...] = getattr(_core, table, ())
    return names
