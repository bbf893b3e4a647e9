"""An option exists once; what lists the options beside that is written from there, or held against it here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import msgspec
import pytest
from click.testing import CliRunner

from loadkit.cli.blast import blast
from loadkit.cli.serve import serve
from loadkit.errors import OptionError
from loadkit.library.keywords import BlastOptions, ServeOptions
from loadkit.profile.blast import Profile
from loadkit.profile.option import options_of
from loadkit.profile.read import load_profile, load_serve_profile
from loadkit.profile.serve import ServeProfile
from loadkit.profile.spell import as_given
from loadkit.units import Mode
from loadkit.wire.check import Check
from loadkit.wire.expect import Expect

from .options import FILES, ROOT

_ENDS: dict[type[msgspec.Struct], tuple[click.Command, Any, Any]] = {
    Profile: (blast, BlastOptions, load_profile),
    ServeProfile: (serve, ServeOptions, load_serve_profile),
}
_EACH = [pytest.param(kind, name, id=f"{kind.__name__}.{name}") for kind in _ENDS for name in options_of(kind)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_written_from_the_options_is_as_it_would_be_written_now(
    path: Path, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        path.write_text(FILES[path]())
    assert path.read_text() == FILES[path](), "`pytest tests/golden --update-golden` writes it"


@pytest.mark.parametrize(("kind", "name"), _EACH)
def test_an_option_is_in_help_keywords_docs_and_environment(kind: type[msgspec.Struct], name: str) -> None:
    command, keywords, _load = _ENDS[kind]
    option = options_of(kind)[name]
    [parameter] = [one for one in command.params if one.name == name]
    help_text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
    for flag in option.flags:
        assert all(part in help_text for part in flag.split("/"))
    assert option.help.split()[0] in help_text
    assert name in keywords.__annotations__
    assert f"| `{name}` |" in (ROOT / "docs/options.md").read_text()
    # click reads LOADKIT_BLAST_NAME and LOADKIT_SERVE_NAME for it.
    assert isinstance(parameter, click.Option)
    assert parameter.allow_from_autoenv


@pytest.mark.parametrize(("kind", "name"), _EACH)
def test_an_option_is_a_key_of_a_profile_with_the_same_value(
    kind: type[msgspec.Struct], name: str, tmp_path: Path
) -> None:
    load = _ENDS[kind][2]
    value = _other(kind, name)
    file = tmp_path / "profile.toml"
    file.write_text(f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n")
    assert tomllib.loads(file.read_text())
    by_file, sources = load(str(file), {})
    by_option, _ = load(None, {name: tuple(value) if isinstance(value, list) else value})
    assert getattr(by_file, name) == getattr(by_option, name) != getattr(kind(), name)
    assert sources[name] == "profile"
    again, _ = load(None, as_given({name: getattr(by_option, name)}))
    assert getattr(again, name) == getattr(by_option, name)


@pytest.mark.parametrize(("kind", "name"), _EACH)
def test_a_keyword_takes_the_numbers_that_its_type_has_and_the_command_takes(
    kind: type[msgspec.Struct], name: str
) -> None:
    _command, keywords, load = _ENDS[kind]

    def is_read(value: object) -> bool:
        try:
            load(None, {name: value})
        except OptionError:
            return False
        return True

    types = get_args(get_type_hints(keywords)[name])
    assert is_read(2) == bool({int, float} & set(types))
    assert is_read(2.5) == (float in types)
    if any(get_origin(one) is Literal and get_args(one) == (0,) for one in types):
        assert is_read(0)
    if get_type_hints(kind)[name] not in (str | None, Mode | None):  # which take any text, and text alone
        assert is_read("2") == is_read(2)
        assert is_read("0") == is_read(0)


def _other(kind: type[msgspec.Struct], name: str) -> Any:
    """Returns a value that the option may have and that is not its default."""
    hint, default = get_type_hints(kind)[name], getattr(kind(), name)
    written = str(hint).partition(" | ")[0]
    if isinstance(default, bool):
        return not default
    if "tuple" in written:
        values = {
            "slo": ["errors==0"],
            "tag": ["build=1"],
            "first": ["", "@login"],
            "first_expect": ["line"],
            "first_check": ["starts:OK"],
        }
        return values.get(name, ["10.0.0.0/30"])
    if hint == bool | None:
        return True
    if hint is Expect:
        return "line"
    if hint == Check | None:
        return "starts:OK"
    if isinstance(hint, type) and issubclass(hint, str) and hint is not str:
        return next(one.value for one in hint if one is not default)  # type: ignore[attr-defined]
    if hint == str | None:
        return "shop.server:Orders"
    if hint == Mode | None:
        return "0660"
    return "3s" if "Duration" in str(hint) else 200
