"""The engine of a worker, decided: which one, and why not the fastest."""

from __future__ import annotations

import msgspec

from loadkit.profile.both import EngineName

__all__ = ["ChosenEngine"]


class ChosenEngine(msgspec.Struct, frozen=True):
    """An engine that is installed. `fallback` says why `--engine auto` did not take the native one; None if it did.

    engine/registry.py chooses, because it knows what is installed. Raises ValueError for `auto`, which is no decision.
    """

    name: EngineName
    fallback: str | None = None

    def __post_init__(self) -> None:
        if self.name is EngineName.AUTO:
            raise ValueError("auto is not an engine that was chosen")
