"""Click options: of quantities, and of the fields of Profile, whose flags, help and defaults stand there alone."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, get_origin, get_type_hints

import click

from loadkit.profile.model import EngineName, Group, Option, Profile, options_of
from loadkit.units import Count, Duration, Rate, Size, format_count, format_duration, format_size

__all__ = ["GroupedOption", "given", "profile_options", "quantity"]

_METAVARS = {Duration: "DURATION", Size: "SIZE", Rate: "RATE"}


class GroupedOption(click.Option):
    """An option that stands in a group of the help."""

    def __init__(self, *words: Any, group: Group | None = None, **more: Any) -> None:
        super().__init__(*words, **more)
        self.group = group


def profile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each field of Profile. They hand on the text as given; profile/load.py reads it."""
    for name, option in reversed(list(options_of(Profile).items())):
        command = _click_option(name, option)(command)
    return command


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Returns those of the options that were given, on the command line or by the environment."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def quantity(kind: type[Count | Duration | Size], least: int, most: int | None = None) -> dict[str, Any]:
    """Returns what makes an option's text be read as `kind`; `auto` is None: decided by the plan."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
        if value is None or value == "auto":
            return None
        try:
            number = int(kind.parse(value))
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None
        if number < least:
            raise click.BadParameter(f"{value} is below the least, {least}", context, parameter)
        if most is not None and number > most:
            raise click.BadParameter(f"{value} is above the most, {most}", context, parameter)
        return number

    return {"callback": read, "metavar": _METAVARS.get(kind, "N")}


def _click_option(name: str, option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    hint = get_type_hints(Profile)[name]
    default = Profile.__struct_defaults__[_offset(name)]
    # A count of 1 equals True, so identity is what is asked.
    is_plain = default is None or default is True or default == ()
    help_text = option.help if is_plain else f"{option.help} [{_shown(default)}]"
    more: dict[str, Any] = {"cls": GroupedOption, "group": option.group, "help": help_text, "default": None}
    if hint is bool:
        more["is_flag"] = True
    elif get_origin(hint) is tuple:
        more |= {"multiple": True, "default": (), "metavar": option.metavar}
    elif isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        more["type"] = click.Choice([choice.value for choice in hint if choice is not EngineName.FAKE])
    else:
        more["metavar"] = option.metavar or _metavar(hint)
    return click.option(*option.flags, name, **more)


def _offset(name: str) -> int:
    """Returns where the field's default is: `__struct_defaults__` holds those of the last fields."""
    return Profile.__struct_fields__.index(name) - len(Profile.__struct_fields__)


def _metavar(hint: Any) -> str:
    for kind, metavar in _METAVARS.items():
        if kind in (hint, *getattr(hint, "__args__", ())):
            return metavar
    return "RATE"


def _shown(default: object) -> str:
    if isinstance(default, Duration):
        return format_duration(default).replace(" ", "")
    if isinstance(default, Size):
        return format_size(default).replace(" ", "")
    if isinstance(default, Count | Rate):
        return format_count(default)
    return str(default)
