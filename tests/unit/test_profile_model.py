from __future__ import annotations

from typing import get_type_hints

import msgspec
import pytest

from loadkit.profile.model import Close, EngineName, Option, PhaseSpec, Profile, options_of

_OPTIONS = [pytest.param(name, option, id=name) for name, option in options_of(Profile).items()]


def test_every_field_of_a_profile_is_an_option_but_its_text_and_its_phases() -> None:
    assert set(Profile.__struct_fields__) - set(options_of(Profile)) == {"about", "phases"}


@pytest.mark.parametrize(("name", "option"), _OPTIONS)
def test_an_option_has_help_and_a_long_flag_of_its_field_s_name(name: str, option: Option) -> None:
    assert option.help
    assert option.flags[-1].partition("/")[0] == "--" + name.replace("_", "-")


def test_no_two_options_share_a_flag() -> None:
    flags = [flag for option in options_of(Profile).values() for flag in option.flags]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(("name", "option"), _OPTIONS)
def test_a_default_lies_within_the_option_s_own_bounds(name: str, option: Option) -> None:
    value = getattr(Profile(), name)
    if isinstance(value, int | float) and option.at_least is not None:
        assert option.at_least <= value
        assert option.at_most is None or value <= option.at_most


def test_the_defaults_are_the_documented_ones() -> None:
    profile = Profile()
    assert (profile.connections, profile.size, profile.depth, profile.opening) == (1000, 64, 1, 4096)
    assert (profile.timeout, profile.connect_timeout) == (10 * 10**9, 5 * 10**9)
    assert (profile.close, profile.engine, profile.check, profile.pin) == (Close.RST, EngineName.AUTO, True, True)
    # None: the plan decides
    assert (profile.duration, profile.messages, profile.rate, profile.workers, profile.warmup) == (None,) * 5
    assert (profile.connect_rate, profile.keepalive) == (None, None)


def test_a_phase_s_keys_but_its_own_are_keys_of_the_profile() -> None:
    own = {"name", "measured"}
    assert set(PhaseSpec.__struct_fields__) - own <= set(Profile.__struct_fields__)
    profile, phase = get_type_hints(Profile), get_type_hints(PhaseSpec)
    assert all(phase[key] in (profile[key], profile[key] | None) or key == "duration" for key in phase.keys() - own)


def test_profiles_are_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Profile().connections = 5  # type: ignore[misc,assignment]


def test_options_of_a_struct_without_any_are_none() -> None:
    class Bare(msgspec.Struct):
        name: str = ""

    assert options_of(Bare) == {}
