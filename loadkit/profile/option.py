"""What an option is: a field of a profile, annotated with its help, flags and bounds.

The command line makes its flags from these fields, a profile file its keys, the library its keywords (written out in
library/keywords.py for type checkers), docs/options.md its tables, and read.py checks them all the same way.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

import msgspec

from loadkit.distribution import Distribution
from loadkit.units import Duration, Size, exact_duration, exact_size

__all__ = ["Bounds", "Group", "Option", "default_of", "names_of", "option", "options_of", "repeatable"]


class Bounds(msgspec.Struct, frozen=True):
    """The least and the most that a quantity may be, both included."""

    at_least: float
    at_most: float | None = None

    def check(self, value: float | tuple[float, ...] | Distribution) -> None:
        """Raises ValueError, in words that stand behind the name of an option, for a value outside the bounds.

        A distribution has to be within them with all its values.
        """
        for number in (value.least, value.most) if isinstance(value, Distribution) else _numbers(value):
            if number < self.at_least:
                raise ValueError(f"{_shown(value, number)} is below the minimum of {_shown(value, self.at_least)}")
            if self.at_most is not None and self.at_most < number < math.inf:  # `max` is infinite, and no number
                raise ValueError(f"{_shown(value, number)} is above the maximum of {_shown(value, self.at_most)}")


class Group(enum.StrEnum):
    """What an option is about: --help lists them in this order."""

    LOAD = "load"
    CONNECTIONS = "connections"
    SOCKETS = "sockets"
    WORKERS = "workers"
    MEASURING = "measuring"
    OUTPUT = "output"


class Option(msgspec.Struct, frozen=True):
    """What is known of an option beside its type and default."""

    help: str
    flags: tuple[str, ...]
    metavar: str = ""
    bounds: Bounds | None = None
    group: Group | None = None
    bare_unit: str = ""  # what a number without a unit is counted in; "": it needs one
    # What stands between several values in an environment variable: a pattern. Any other blanks are one blank by then.
    # The end of a line: each line is a value, as it is. "": such a variable has one value, as it is.
    between: str = " "
    is_secret: bool = False  # its values are in no record, and in no printed command

    @property
    def flag(self) -> str:
        """Its long flag, the one that switches it on."""
        return self.flags[-1].partition("/")[0]


def option(
    help: str,
    *flags: str,
    metavar: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    group: Group | None = None,
    bare_unit: str = "",
    between: str = " ",
    is_secret: bool = False,
) -> Any:
    """Returns what a field is annotated with to be an option."""
    bounds = None if at_least is None else Bounds(at_least, at_most)
    return msgspec.Meta(extra={"option": Option(help, flags, metavar, bounds, group, bare_unit, between, is_secret)})


def options_of(struct: type[msgspec.Struct]) -> Mapping[str, Option]:
    """Returns the options of a profile in their order: its own, then those that it shares with the other end."""
    hints = get_type_hints(struct, include_extras=True)
    found = {}
    for name in names_of(struct):
        for meta in getattr(hints[name], "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra and "option" in meta.extra:
                found[name] = meta.extra["option"]
    return found


def names_of(struct: type[msgspec.Struct]) -> list[str]:
    """Returns the fields of a profile in the order of options_of."""
    return [name for one in struct.__mro__ for name in vars(one).get("__annotations__", ()) if not name.startswith("_")]


def repeatable(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Returns the options that may be given several times: their value is a tuple."""
    hints = get_type_hints(struct)
    return frozenset(name for name in options_of(struct) if get_origin(hints[name]) is tuple)


def default_of(struct: type[msgspec.Struct], name: str) -> Any:
    """Returns the default of a field: `__struct_defaults__` has those of the last fields."""
    fields = struct.__struct_fields__
    return struct.__struct_defaults__[fields.index(name) - len(fields)]


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _shown(value: object, number: float) -> str:
    """Prints a number in the unit of the value that it is or is compared with, with all its digits."""
    if isinstance(value, Distribution):
        value = value.unit(0)
    if isinstance(value, Duration):
        return exact_duration(number)
    if isinstance(value, Size):
        return exact_size(int(number))
    return f"{number:,.15g}" if isinstance(number, float) else f"{number:,}"
