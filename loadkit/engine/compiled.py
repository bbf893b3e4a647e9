"""Whether the compiled engine is there, and is the one of these sources."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping

from loadkit.measure.board import ERRNOS, HEAD, SUM_CARRY, TAIL_ROWS
from loadkit.measure.buckets import SUB_BUCKETS
from loadkit.measure.names import (
    COUNTERS,
    HISTOGRAMS,
    LAST_OWN,
    MOST_SETTINGS,
    PEER_KINDS,
    PROOFS,
    SETTING_WORDS,
    STAGES,
    STATE,
    STEPS,
    WRONG_WORDS,
    OwnError,
)
from loadkit.measure.tokens import HEAD_WORDS, NOTE_WORDS
from loadkit.plan.load import LEAST_PROBED_BYTES, MOST_PROBED_BYTES
from loadkit.profile.serve import ProbePeers
from loadkit.profile.setup import MOST_STEPS
from loadkit.wire.check import JUDGES
from loadkit.wire.protocol import REPLY_ERRORS
from loadkit.wire.script import FRESH, PATCH_DIGITS_SHIFT, PATCH_SHIFT
from loadkit.wire.wires import RULES

__all__ = ["SHARED", "is_installed", "matches_board", "matches_options", "native_missing"]

# What the two sides write for each other to read, by the core's names: lists, whose order counts, and numbers.
SHARED: Mapping[str, object] = {
    "STATE": STATE,
    "COUNTERS": COUNTERS,
    "HISTOGRAMS": HISTOGRAMS,
    "STAGES": STAGES,
    "HEAD": HEAD,
    "STEPS": STEPS,
    "PROOFS": PROOFS,
    "PROBE_PEERS": tuple(ProbePeers),
    "PEER_KINDS": PEER_KINDS,
    "WIRES": tuple(RULES),
    "REPLY_ERRORS": REPLY_ERRORS,
    "FRESH": FRESH,
    "PATCH_SHIFT": PATCH_SHIFT,
    "PATCH_DIGITS_SHIFT": PATCH_DIGITS_SHIFT,
    "ERRNOS": ERRNOS,
    "LAST_OWN": LAST_OWN,
    "MOST_STEPS": MOST_STEPS,
    "SUM_CARRY": SUM_CARRY,
    "SUB_BUCKETS": SUB_BUCKETS,
    "TAIL_ROWS": TAIL_ROWS,
    "MOST_SETTINGS": MOST_SETTINGS,
    "SETTING_WORDS": SETTING_WORDS,
    "WRONG_WORDS": WRONG_WORDS,
    "JUDGES": JUDGES,
    "TOKENS_HEAD_WORDS": HEAD_WORDS,
    "TOKENS_NOTE_WORDS": NOTE_WORDS,
    "LEAST_PROBED_BYTES": LEAST_PROBED_BYTES,
    "MOST_PROBED_BYTES": MOST_PROBED_BYTES,
    **{name: value for name, value in vars(OwnError).items() if name.isupper()},
}

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
    """Whether the core was built for this board: the same words in the same places, with the same meaning."""
    from loadkit.engine.native import _core

    return all(getattr(_core, name, None) == value for name, value in SHARED.items())


def matches_options() -> bool:
    """Whether the core was built for these options: the same names."""
    from loadkit.engine.native.rows import TABLES

    return all({*_core_names(table)} == names for table, names in TABLES.items())


def _core_names(table: str) -> tuple[str, ...]:
    from loadkit.engine.native import _core

    names: tuple[str, ...] = getattr(_core, table, ())
    return names
