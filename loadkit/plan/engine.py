"""The engine of a worker, decided: which one, why not the fastest, and whether it can do what is asked of it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from loadkit.errors import OptionError
from loadkit.plan.sockets import sockets_of
from loadkit.profile.both import BothEnds, Stamps
from loadkit.profile.engines import ABILITIES, ENGINES, EngineName, Feature, engines_with, one_of

__all__ = ["ChosenEngine", "check_engine", "needs_of"]


class ChosenEngine(msgspec.Struct, frozen=True):
    """An engine that is installed. `fallback` says why `--engine auto` did not take a faster one; None if it did.

    engine/registry.py chooses, because it knows what is installed. Raises ValueError for `auto`, which is no decision.
    """

    name: EngineName
    fallback: str | None = None

    def __post_init__(self) -> None:
        if self.name is EngineName.AUTO:
            raise ValueError("auto is not an engine that was chosen")


def needs_of(profile: BothEnds, has_app: bool = False) -> tuple[Feature, ...]:
    """Returns the features that an engine needs for the options of an end."""
    asked = {
        Feature.EDGE_TRIGGERED: profile.edge_triggered,
        Feature.APP: has_app,
        Feature.STAMPS: profile.stamps is not Stamps.OFF,
        Feature.SOCKET_OPTIONS: bool(sockets_of(profile)),
    }
    return tuple(feature for feature, is_asked in asked.items() if is_asked)


def check_engine(name: EngineName, needs: Collection[Feature]) -> None:
    """Raises OptionError if the engine lacks a feature that is needed; of `auto`, if no engine has all of them."""
    able = engines_with(*needs)
    if not able:
        first, *others = (need.value for need in needs if engines_with(need) != ENGINES)
        raise OptionError(f"{first}: no engine has it together with {' and '.join(others)}; leave one of them out")
    for need in needs if name is not EngineName.AUTO else ():
        ability = ABILITIES[need][name]
        if not ability.has:
            raise OptionError(
                f"--engine {name}: {ability.note}; use --engine {one_of(able)}, or leave {need.value} out"
            )
