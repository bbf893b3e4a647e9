"""A profile file and the options of a command line, to one checked profile, of either end."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from loadkit.errors import LoadkitError, OptionError, ProfileError
from loadkit.printable import shell_word
from loadkit.profile.blast import PhaseSpec, Profile
from loadkit.profile.both import BothEnds
from loadkit.profile.option import Option, names_of, options_of
from loadkit.profile.serve import ServeProfile
from loadkit.units import format_size, with_unit

__all__ = ["Sources", "load_profile", "load_serve_profile", "phased", "read_profile_text", "shipped_profiles"]

_Profile = TypeVar("_Profile", bound=BothEnds)

Sources = dict[str, str]  # key -> "default" | "profile" | "option" | "environment LOADKIT_BLAST_…"

# What a phase says for itself cannot be overruled by one option for the whole run.
_PHASED = ("rate", "connections", "duration", "warmup")
_SHIPPED = "shipped"
_MOST_BYTES = 2**20


def shipped_profiles() -> dict[str, str]:
    """Returns name -> text of the profiles that come with loadkit, sorted by name."""
    packaged = resources.files("loadkit") / _SHIPPED
    # In a source tree the folder stands beside the package; a wheel carries it inside (pyproject.toml).
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "profiles"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in files}


def read_profile_text(name: str) -> tuple[str, str]:
    """Returns (place, text) of a profile: a shipped one by its name, else a file of at most 1 MiB.

    Raises ProfileError if there is no such profile, or the file cannot be read.
    """
    if not name.endswith(".toml") and "/" not in name:
        shipped = shipped_profiles()
        if name in shipped:
            return name, shipped[name]
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ProfileError(f"no profile named {name!r}: {hint}`loadkit profiles` lists them; a file ends in .toml")
    try:
        with Path(name).open("rb") as file:
            read = file.read(_MOST_BYTES + 1)
        text = read.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProfileError(f"{name}: cannot read the profile: {reason}") from None
    if len(read) > _MOST_BYTES:
        raise ProfileError(f"{name}: not a profile: it has more than {format_size(_MOST_BYTES)}")
    if text.startswith("\ufeff"):
        raise ProfileError(f"{name}: begins with a byte order mark; save it as UTF-8 without one")
    return name, text.replace("\r\n", "\n")


def load_profile(
    name: str | None, options: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> tuple[Profile, Sources]:
    """Reads the profile `name` (None: defaults alone), replaces its values by `options`, and checks the result.

    `options` maps field names of Profile to values as given; text with units is fine. `origins` says where those of
    them came from that are not options of the command line. Raises ProfileError or OptionError, which name the file,
    the key and what was expected.
    """
    return _load(Profile, name, options, origins)


def load_serve_profile(
    name: str | None, options: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> tuple[ServeProfile, Sources]:
    """Does the same for the options of a serve end, ServeProfile; a serve end has no shipped profiles."""
    return _load(ServeProfile, name, options, origins)


def _load(
    kind: type[_Profile], name: str | None, options: Mapping[str, Any], origins: Mapping[str, str] | None
) -> tuple[_Profile, Sources]:
    place, table = "", {}
    if name is not None:
        place, text = read_profile_text(name)
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"{place}: not TOML: {error}") from None
        except ValueError:  # of int(), whose words are for programmers
            raise ProfileError(f"{place}: not TOML: it has a number of too many digits") from None
        except RecursionError:
            raise ProfileError(f"{place}: not TOML: it has lists in lists, too deep") from None
        _convert(kind, table, f"{place}: ", ProfileError)
    _refuse_overruled(table, options, place)
    _convert(kind, options, "", OptionError)
    profile = _convert(kind, {**table, **options}, f"{place}: " if place else "", ProfileError)
    sources = {
        key: (origins or {}).get(key, "option") if key in options else "profile" if key in table else "default"
        for key in kind.__struct_fields__
    }
    return profile, sources


def phased(phases: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the options that these tables of a profile, `[[phases]]`, set for themselves."""
    if not phases:
        return ()
    return tuple(key for key in _PHASED if key in ("duration", "warmup") or any(key in phase for phase in phases))


def _refuse_overruled(table: Mapping[str, Any], options: Mapping[str, Any], place: str) -> None:
    for key in phased(table.get("phases", ())):
        if key in options:
            raise OptionError(
                f"{_flag(Profile, key)}: profile {place} sets {key} phase by phase; save it with "
                f"`loadkit profiles show {shell_word(place)} > my.toml`, edit it there, and run with --profile my.toml"
            )


def _convert(kind: type[_Profile], values: Mapping[str, Any], place: str, error: type[LoadkitError]) -> _Profile:
    # `auto` asks for what an absent key gives: the plan decides.
    values = {key: value for key, value in values.items() if (key, value) != ("workers", "auto")}
    values = _with_units(kind, values)
    if isinstance(values.get("phases"), list):
        values["phases"] = [
            _with_units(PhaseSpec, phase) if isinstance(phase, dict) else phase for phase in values["phases"]
        ]
    try:
        profile = msgspec.convert(values, kind, dec_hook=_parse, strict=True)
    except msgspec.ValidationError as failure:
        raise error(_explain(kind, str(failure), values, place, error)) from None
    _check(profile, options_of(kind), place, "", error)
    for index, phase in enumerate(getattr(profile, "phases", ())):
        _check(phase, options_of(PhaseSpec), place, f"phases[{index}].", error)
    return profile


def _with_units(kind: type[msgspec.Struct], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values, those of options that have a unit for a number alone as text with that unit."""
    units = {key: option.bare_unit for key, option in options_of(kind).items() if option.bare_unit}
    return {key: with_unit(value, units[key]) if key in units else value for key, value in values.items()}


def _parse(kind: type, value: object) -> object:
    """Reads a value as one of our own types, all of which have `parse`."""
    parse = getattr(kind, "parse", None)
    if parse is None:
        raise NotImplementedError(kind)
    found: object = parse(value)
    return found


def _explain(
    kind: type[BothEnds], failure: str, values: Mapping[str, Any], place: str, error: type[LoadkitError]
) -> str:
    """Turns msgspec's `expected … - at `$.phases[0].rate`` into `burst.toml: phases[0].rate: expected …`."""
    text, at, path = failure.rpartition(" - at `$")  # what was given stands before it, and may look like it
    text, path = (text, path) if at else (failure, "")
    key = path.rstrip("`").removeprefix(".")
    unknown = re.search(r"unknown field `(.+)`", text, re.DOTALL)
    if unknown:
        struct: type[msgspec.Struct] = PhaseSpec if key.startswith("phases[") else kind
        near = difflib.get_close_matches(unknown[1], struct.__struct_fields__, n=1)
        known = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(names_of(struct))
        where = f"{key}.{unknown[1]}" if key else unknown[1]
        return f"{place}{where}: unknown key; {known}"
    where = _flag(kind, key.partition("[")[0]) if error is OptionError else key
    if text.startswith("Invalid enum value"):
        text = f"expected {' or '.join(get_type_hints(kind)[key])}, got {values[key]!r}"
    return f"{place}{where}: {text}" if where else f"{place}{text}"


def _check(
    struct: msgspec.Struct, options: Mapping[str, Option], place: str, prefix: str, error: type[LoadkitError]
) -> None:
    for name, option in options.items():
        value = getattr(struct, name)
        if option.bounds is None or value is None:
            continue
        try:
            option.bounds.check(value)
        except ValueError as outside:
            where = _flag(type(struct), name) if error is OptionError else prefix + name
            raise error(f"{place}{where}: {outside}") from None


def _flag(kind: type[msgspec.Struct], key: str) -> str:
    option = options_of(kind).get(key)
    return option.flag if option and option.flags else key
