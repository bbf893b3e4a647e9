"""What is written down of the options beside their definitions: the library's keywords, and docs/options.md."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
import msgspec

from loadkit.cli.blast import blast
from loadkit.cli.serve import serve
from loadkit.distribution import Durations, Sizes
from loadkit.profile.blast import Profile
from loadkit.profile.both import Place
from loadkit.profile.engines import EngineName
from loadkit.profile.option import Option, options_of
from loadkit.profile.serve import ServeProfile
from loadkit.units import ConnectRate, Count, Duration, Mode, Pace, Rate, Size, exact_duration, exact_size
from loadkit.wire.check import Check
from loadkit.wire.expect import Expect

ROOT = Path(__file__).parents[2]

_KEYWORDS = '''"""The keyword arguments of library calls and their types, for editors and type checkers (PEP 692).

Written from the options of profile/ by `pytest tests/golden --update-golden`. None is an option that is not given. Text
has its unit ("10k", "250ms", "64KiB"); a number is a count, a rate per second, a size in bytes, or seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypedDict

__all__ = ["BlastOptions", "ServeOptions"]

App = (
    str | Callable[[], asyncio.BaseProtocol] | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
)


class BlastOptions(TypedDict, total=False):
    """What `loadkit.blast` takes beside target and profile: the long options of the command."""

{blast}


class ServeOptions(TypedDict, total=False):
    """What `loadkit.serve` takes beside the address: the long options of the command, and `app` as an object too."""

{serve}
'''
_WRITTEN = {
    Count: "str | int",
    Size: "str | int",
    Sizes: "str | int",
    Rate: "str | float",
    ConnectRate: "str | float",
    Pace: "str | float",
    Place: "str | int",
    Expect: "str",
    Check: "str | bool",
    Mode: "str",
    Durations: "str | Literal[0]",
}
_DOCS = """# Options

Each option is written the same way everywhere: as a flag, as a key of a profile (`--profile FILE`, TOML), as a variable
of the environment, and as a keyword of the library. A flag wins over a variable, a variable over a profile.

## loadkit blast

{blast}

## loadkit serve

{serve}
"""


def keywords() -> str:
    """Returns the text of loadkit/library/keywords.py."""
    return _KEYWORDS.format(blast=_fields(Profile), serve=_fields(ServeProfile))


def options_page() -> str:
    """Returns the text of docs/options.md."""
    return _DOCS.format(blast=_table(Profile, blast, "BLAST"), serve=_table(ServeProfile, serve, "SERVE"))


FILES: dict[Path, Callable[[], str]] = {
    ROOT / "loadkit/library/keywords.py": keywords,
    ROOT / "docs/options.md": options_page,
}


def _fields(kind: type[msgspec.Struct]) -> str:
    hints = get_type_hints(kind)
    return "\n".join(
        f"    {name}: {_type(name, option, hints[name])} | None" for name, option in options_of(kind).items()
    )


def _type(name: str, option: Option, hint: Any) -> str:
    if name == "app":
        return "App"
    if get_origin(hint) is tuple:
        return "str | Sequence[str]"
    kind = _kind(hint)
    if issubclass(kind, enum.StrEnum):
        return "Literal[" + ", ".join(f'"{one}"' for one in _choices(kind)) + "]"
    if kind is Duration:
        # 0 needs no unit; other numbers need one, but where the option says which they have.
        zero = "str | Literal[0]" if option.bounds and option.bounds.at_least == 0 else "str"
        return "str | float" if option.bare_unit else zero
    return _WRITTEN.get(kind, kind.__name__)


def _kind(hint: Any) -> type:
    """Returns the type of a field without its None."""
    if isinstance(hint, type):
        return hint
    [kind] = [one for one in get_args(hint) if one is not type(None)]
    return _kind(kind)


def _choices(kind: type[enum.StrEnum]) -> list[str]:
    return [choice.value for choice in kind if choice is not EngineName.FAKE]


def _table(kind: type[msgspec.Struct], command: click.Command, prefix: str) -> str:
    return "\n".join(
        [
            "| flag | key, keyword | variable | from, to | what it is |",
            "|---|---|---|---|---|",
            *_rows(kind, command, prefix),
        ]
    )


def _rows(kind: type[msgspec.Struct], command: click.Command, prefix: str) -> Iterator[str]:
    helps = {
        parameter.name: parameter.help or "" for parameter in command.params if isinstance(parameter, click.Option)
    }
    for name, option in options_of(kind).items():
        flags = ", ".join(f"`{flag}`" for flag in option.flags)
        bounds = _bounds(option, _unit(get_type_hints(kind)[name]))
        cells = (flags, f"`{name}`", f"`LOADKIT_{prefix}_{name.upper()}`", bounds, helps[name])
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _unit(hint: Any) -> type:
    return str if get_origin(hint) is tuple else _kind(hint)


def _bounds(option: Option, unit: type) -> str:
    """Returns what an option may be: `1 to 65,536`, `1 ms or more`, `0.001 to 1,000,000,000, or max`."""
    if option.bounds is None:
        return ""
    least = _quantity(option.bounds.at_least, unit)
    most = None if option.bounds.at_most is None else _quantity(option.bounds.at_most, unit)
    word = option.metavar.partition("|")[2]  # of RATE|max
    return (f"{least} or more" if most is None else f"{least} to {most}") + (f", or {word}" if word else "")


def _quantity(number: float, unit: type) -> str:
    if unit in (Duration, Durations):
        return exact_duration(number)
    return exact_size(int(number)) if unit in (Size, Sizes) else f"{number:,}"
