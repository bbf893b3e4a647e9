"""What each engine can do: one table, which the choice of an engine, the help, docs/method.md and the errors go by."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["ABILITIES", "ENGINES", "Ability", "EngineName", "Feature", "engines_with", "one_of"]


class EngineName(enum.StrEnum):
    """How bytes are moved. `auto` takes the fastest engine that is installed and can do what is requested."""

    AUTO = "auto"
    NATIVE = "native"
    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"
    FAKE = "fake"


# Those that users choose among, the fastest first.
ENGINES = (EngineName.NATIVE, EngineName.UVLOOP, EngineName.ASYNCIO)


class Feature(enum.Enum):
    """What not every engine can do, or not in the same way. The value is what a user knows it by."""

    EDGE_TRIGGERED = "--edge-triggered"
    APP = "--app"
    STAMPS = "--stamps rx"
    SOCKET_OPTIONS = "options of sockets"
    WAKE_UPS = "wake-ups counted"
    EVENT_FLAGS = "ERR, HUP and RDHUP of wake-ups"


class Ability(NamedTuple):
    """Whether an engine has a feature. `note` says how it has it, or why it lacks it, with the engine as `it`."""

    has: bool
    note: str = ""

    def __str__(self) -> str:
        """Returns it as a cell of a table for readers."""
        return ("yes" if self.has else "no") + (f": {self.note}" if self.note else "")


_YES = Ability(True)
_LEVEL = Ability(False, "its loop is level-triggered")
_NO_SOCKETS = Ability(False, "it has no sockets")

# A new engine is a column here, a new feature a row; a test sees to it that no cell is left out.
ABILITIES: dict[Feature, dict[EngineName, Ability]] = {
    Feature.EDGE_TRIGGERED: {
        EngineName.NATIVE: _YES,
        EngineName.UVLOOP: _LEVEL,
        EngineName.ASYNCIO: _LEVEL,
        EngineName.FAKE: _NO_SOCKETS,
    },
    Feature.APP: {
        EngineName.NATIVE: Ability(False, "it cannot run a Python app"),
        EngineName.UVLOOP: _YES,
        EngineName.ASYNCIO: _YES,
        EngineName.FAKE: _NO_SOCKETS,
    },
    Feature.STAMPS: {
        EngineName.NATIVE: _YES,
        EngineName.UVLOOP: Ability(True, "by a hook, if that is compiled"),
        EngineName.ASYNCIO: Ability(True, "by a hook, if that is compiled"),
        EngineName.FAKE: _NO_SOCKETS,
    },
    Feature.SOCKET_OPTIONS: {
        EngineName.NATIVE: _YES,
        EngineName.UVLOOP: _YES,
        EngineName.ASYNCIO: _YES,
        EngineName.FAKE: _NO_SOCKETS,
    },
    Feature.WAKE_UPS: {
        EngineName.NATIVE: _YES,
        EngineName.UVLOOP: Ability(True, "by a hook; if that is not compiled, approximately, by libuv's metrics"),
        EngineName.ASYNCIO: Ability(True, "by a selector of loadkit's"),
        EngineName.FAKE: _NO_SOCKETS,
    },
    Feature.EVENT_FLAGS: {
        EngineName.NATIVE: _YES,
        EngineName.UVLOOP: Ability(True, "by the hook alone"),
        EngineName.ASYNCIO: Ability(False, "its selector says no more than readable or writable"),
        EngineName.FAKE: _NO_SOCKETS,
    },
}


def engines_with(*features: Feature) -> tuple[EngineName, ...]:
    """Returns the engines that have all of these, the fastest first; none if no engine has them together."""
    return tuple(name for name in ENGINES if all(ABILITIES[feature][name].has for feature in features))


def one_of(names: tuple[EngineName, ...]) -> str:
    """Returns names of engines as a choice: `uvloop or asyncio`."""
    return " or ".join(names)
