"""Options as text: what was given kept for a record, and back to the words of a command line."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

from loadkit.profile.blast import Profile
from loadkit.profile.option import options_of
from loadkit.profile.setup import HIDDEN
from loadkit.units import Duration, Pace, decimal

__all__ = ["GivenOptions", "as_given", "option_words"]

# Name of an option -> its value as text; a bool for a switch, several texts for what may be repeated.
GivenOptions = dict[str, str | bool | tuple[str, ...]]


def as_given(options: Mapping[str, object]) -> GivenOptions:
    """Returns the options of a command line or of a library call as text that would be read as the same values.

    Of a secret one it says that it was given, and how often, unless it only names a file.
    """
    secret = {name for name, option in options_of(Profile).items() if option.is_secret}
    return {name: _hidden(_as_given(value)) if name in secret else _as_given(value) for name, value in options.items()}


def option_words(options: Mapping[str, object]) -> list[str]:
    """Returns the words of a command line that give these options, in the order of Profile; unknown ones are left out.

    They are not quoted for a shell.
    """
    words: list[str] = []
    for name, option in options_of(Profile).items():
        value = options.get(name)
        if value is None:
            continue
        on, _, off = option.flags[0].partition("/")
        if isinstance(value, bool):
            words.append(on if value else off)
            continue
        for text in value if isinstance(value, list | tuple) else (value,):
            words += [on, str(text)]
    return words


def _as_given(value: object) -> str | bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, Pace):
        return ":".join(map(_text, value))
    if isinstance(value, list | tuple):
        return tuple(map(_text, value))
    return _text(value)


def _hidden(given: str | bool | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(given, tuple):
        return tuple(map(_hidden_text, given))
    return _hidden_text(str(given))


def _hidden_text(text: str) -> str:
    return text if not text or text.startswith("@") else HIDDEN


def _text(value: object) -> str:
    if isinstance(value, Duration):
        return f"{int(value)}ns"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, float) and math.isinf(value):
        return "max"
    return decimal(value) if isinstance(value, float) else str(value)
