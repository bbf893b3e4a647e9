from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest

from loadkit.profile.blast import Close, PhaseSpec, Profile
from loadkit.profile.both import BothEnds, Stamps
from loadkit.profile.engines import EngineName
from loadkit.profile.option import Bounds, Option, options_of
from loadkit.profile.serve import ServeProfile, embedded_profile
from loadkit.units import ConnectRate, Count, Duration, Pace, Size

_ENDS = (Profile, ServeProfile)
_OPTIONS = [
    pytest.param(kind, name, option, id=f"{kind.__name__}.{name}")
    for kind in _ENDS
    for name, option in options_of(kind).items()
]


def test_every_field_of_a_profile_is_an_option_but_its_text_and_its_phases() -> None:
    assert set(Profile.__struct_fields__) - set(options_of(Profile)) == {"about", "phases"}
    assert set(ServeProfile.__struct_fields__) - set(options_of(ServeProfile)) == {"about"}


@pytest.mark.parametrize(("kind", "name", "option"), _OPTIONS)
def test_an_option_has_help_and_a_long_flag_of_its_field_s_name(
    kind: type[msgspec.Struct], name: str, option: Option
) -> None:
    assert option.help
    assert name in kind.__struct_fields__
    assert option.flags[-1].partition("/")[0] == "--" + name.replace("_", "-")


def test_no_two_options_share_a_flag() -> None:
    for kind in _ENDS:
        flags = [flag for option in options_of(kind).values() for flag in option.flags]
        assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    ("bounds", "value", "said"),
    [
        pytest.param(Bounds(1), Count(0), "0 is below the minimum of 1", id="a count below"),
        pytest.param(Bounds(1, 9), Count(10), "10 is above the maximum of 9", id="a count above"),
        pytest.param(Bounds(10**6), Duration(999), "999 ns is below the minimum of 1 ms", id="a duration below"),
        pytest.param(
            Bounds(0, 10**9), Duration(36_000 * 10**9), "36,000 s is above the maximum of 1 s", id="a duration above"
        ),
        pytest.param(Bounds(10**9), Duration(10**9 - 1), "999.999999 ms is below the minimum of 1 s", id="nearly so"),
        pytest.param(Bounds(1, 2**30), Size(2**31), "2 GiB is above the maximum of 1 GiB", id="a size above"),
        pytest.param(Bounds(0.001), ConnectRate(0.0005), "0.0005 is below the minimum of 0.001", id="a rate below"),
        pytest.param(Bounds(0.001, 9), ConnectRate.parse("max"), None, id="as fast as there is room"),
        pytest.param(Bounds(0, 9), Pace((1, 10)), "10 is above the maximum of 9", id="the end of a pace"),
        pytest.param(Bounds(1, 9), Count(9), None, id="the most"),
        pytest.param(Bounds(1), Count(1), None, id="the least"),
    ],
)
def test_what_is_out_of_bounds_is_told_with_the_bound(bounds: Bounds, value: Any, said: str | None) -> None:
    if said is None:
        bounds.check(value)
        return
    with pytest.raises(ValueError, match=f"^{said}"):
        bounds.check(value)


def test_an_embedded_server_has_the_options_of_both_ends_as_the_blast_has_them() -> None:
    profile = Profile(engine=EngineName.ASYNCIO, edge_triggered=True, pin=False, stamps=Stamps.RX)
    serve = embedded_profile(profile)
    assert [getattr(serve, name) for name in BothEnds.__struct_fields__] == [
        getattr(profile, name) for name in BothEnds.__struct_fields__
    ]
    assert serve.backlog == ServeProfile().backlog


@pytest.mark.parametrize(("kind", "name", "option"), _OPTIONS)
def test_a_default_lies_within_the_option_s_own_bounds(kind: type[msgspec.Struct], name: str, option: Option) -> None:
    value = getattr(kind(), name)
    if value is not None and option.bounds:
        option.bounds.check(value)


def test_the_defaults_are_the_documented_ones() -> None:
    profile = Profile()
    assert (profile.connections, str(profile.size), profile.depth, profile.opening) == (1000, "64B", 1, 4096)
    assert (profile.timeout, profile.connect_timeout) == (10 * 10**9, 5 * 10**9)
    assert (profile.close, profile.engine, profile.check, profile.pin) == (Close.RST, EngineName.AUTO, None, True)
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
