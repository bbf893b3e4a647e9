"""Where each value of a plan came from. The option that sets a value stands on the value's own field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_type_hints

import msgspec

__all__ = ["DEFAULT", "DERIVED", "Sources", "asked_by", "options_behind", "origins_of", "worked_out"]

DEFAULT, DERIVED = "default", "derived"

# Name of an option -> default, profile, option or `environment LOADKIT_…`.
Sources = Mapping[str, str]

# From the strongest to the weakest: the first of these that is behind a value is its origin.
_RANKS = ("option", "environment", "profile", DEFAULT)


class _Behind(msgspec.Struct, frozen=True):
    """The options that shape a value, and its origin if none of them was given."""

    options: tuple[str, ...]
    otherwise: str


def asked_by(*options: str, otherwise: str = DEFAULT) -> msgspec.Meta:
    """Marks a field as set by these options of Profile.

    If none of them is given, the value is the option's default; with `otherwise=DERIVED` the plan decided it.
    """
    return msgspec.Meta(extra={"behind": _Behind(options, otherwise)})


def worked_out() -> msgspec.Meta:
    """Marks a field that no option sets by itself."""
    return msgspec.Meta(extra={"behind": _Behind((), DERIVED)})


def options_behind(struct: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Returns the options behind each field. Raises TypeError for a field that is not marked."""
    return {name: behind.options for name, behind in _behind(struct).items()}


def origins_of(struct: type[msgspec.Struct], sources: Sources) -> dict[str, str]:
    """Returns where each field's value came from: default, profile, option, `environment LOADKIT_…` or derived."""
    return {name: _origin(behind, sources) for name, behind in _behind(struct).items()}


def _origin(behind: _Behind, sources: Sources) -> str:
    said = [sources.get(option, DEFAULT) for option in behind.options]
    strongest = min(said, key=lambda source: _RANKS.index(source.partition(" ")[0]), default=DEFAULT)
    return behind.otherwise if strongest == DEFAULT else strongest


def _behind(struct: type[msgspec.Struct]) -> dict[str, _Behind]:
    found = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        marks = [meta.extra["behind"] for meta in getattr(hint, "__metadata__", ()) if "behind" in (meta.extra or {})]
        if not marks:
            raise TypeError(f"{struct.__name__}.{name} does not say which options are behind it")
        found[name] = marks[0]
    return found
