from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadkit.errors import OptionError, ProfileError
from loadkit.plan.build import build_plan
from loadkit.plan.phases import PhaseKind
from loadkit.profile.blast import Close
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile, read_profile_text, shipped_profiles
from loadkit.units import NS_PER_S, Duration
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

_NAMES = ["burst", "c100k", "c10k", "c1m", "churn", "closed-loop", "many-idle", "ramp", "smoke", "steady"]
_MANY = {"c100k": 100_000, "c1m": 1_000_000}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_profiles_are_the_documented_ones_sorted() -> None:
    assert list(shipped_profiles()) == _NAMES


@pytest.mark.parametrize("name", _NAMES)
def test_a_shipped_profile_says_what_it_is_for_and_can_be_planned_on_a_small_machine(name: str) -> None:
    profile, sources = load_profile(name, {})
    plan = build_plan(profile, sources, replace(made_up_host(), file_max=None), None, ENGINE, name=name)
    assert profile.about
    assert "Look at:" in shipped_profiles()[name]
    assert plan.load.connections <= _MANY.get(name, 15_000)
    assert any(phase.kind is PhaseKind.HOLD for phase in plan.load.phases)
    assert max(hz for phase in plan.load.phases for hz in phase.rate_hz or (0,)) <= 20_000
    run_ns = sum(phase.duration_ns for phase in plan.load.phases[:-1])  # the drain is up to a time-out, and mostly none
    assert run_ns <= {"smoke": 4, "c1m": 150}.get(name, 30) * 10**9


def test_without_profile_and_options_everything_is_a_default() -> None:
    profile, sources = load_profile(None, {})
    assert profile.connections == 1000
    assert set(sources.values()) == {"default"}


def test_an_option_goes_before_the_profile_and_the_profile_before_the_default(place: Path) -> None:
    Path("a.toml").write_text('connections = 5\nsize = "1KiB"\n')
    profile, sources = load_profile("a.toml", {"size": "2KiB"})
    assert (profile.connections, str(profile.size), profile.depth) == (5, "2KiB", 1)
    assert (sources["connections"], sources["size"], sources["depth"]) == ("profile", "option", "default")


def test_an_option_s_source_is_its_origin_where_that_is_told(place: Path) -> None:
    Path("a.toml").write_text("connections = 5\n")
    origins = {"size": "environment LOADKIT_BLAST_SIZE", "connections": "environment, but not given"}
    _profile, sources = load_profile("a.toml", {"size": "2KiB", "depth": "2"}, origins)
    assert sources["size"] == "environment LOADKIT_BLAST_SIZE"
    assert (sources["connections"], sources["depth"]) == ("profile", "option")


def test_a_profile_s_text_is_read_into_values_with_units(place: Path) -> None:
    Path("a.toml").write_text(
        'connections = "10k"\nrate = "1k:10k"\ntimeout = "250ms"\nclose = "fin"\nengine = "asyncio"\nworkers = "auto"\n'
        'source = ["10.0.0.0/28"]\nslo = ["errors==0"]\n[[phases]]\nname = "x"\nduration = "3s"\nmeasured = false\n'
    )
    profile, sources = load_profile("a.toml", {})
    assert (profile.connections, profile.rate, profile.timeout) == (10_000, (1_000, 10_000), 250_000_000)
    assert (profile.close, profile.engine, profile.workers) == (Close.FIN, EngineName.ASYNCIO, None)
    assert (profile.source, profile.slo) == (("10.0.0.0/28",), ("errors==0",))
    assert (profile.phases[0].name, profile.phases[0].duration, profile.phases[0].measured) == ("x", 3 * 10**9, False)
    assert sources["workers"] == "profile"


_PHASE = '[[phases]]\nname = "x"\nduration = "1s"\n'
_WRONG = [
    pytest.param("conections = 5", "conections: unknown key; did you mean 'connections'?", id="a typo"),
    pytest.param("zzz = 5", "zzz: unknown key; known keys: about, connections", id="nothing like a key"),
    pytest.param('connections = "many"', "connections: expected a whole number", id="a word for a count"),
    pytest.param("connections = true", "connections: expected a whole number", id="a truth value for a count"),
    pytest.param("connections = 0", "connections: 0 is below the minimum of 1", id="a count below its bound"),
    pytest.param("depth = 70000", "depth: 70,000 is above the maximum of 65,536", id="a count above its bound"),
    pytest.param("timeout = 10", "timeout: expected a duration with its unit", id="a duration without unit"),
    pytest.param('timeout = "1us"', "timeout: 1 us is below the minimum of 1 ms", id="a duration below its bound"),
    pytest.param('size = "2GiB"', "size: 2 GiB is above the maximum of 1 GiB", id="a size above its bound"),
    pytest.param('rate = "1k:"', "rate: expected a rate such as 10k, or a ramp such as 1k:10k", id="half a ramp"),
    pytest.param('rate = "2000m"', "rate: 2,000,000,000 is above the maximum of 1,000,000,000", id="a rate too high"),
    pytest.param('connect_rate = "2000m"', "connect_rate: 2,000,000,000 is above", id="a connect rate above its bound"),
    pytest.param('close = "slam"', "close: expected rst or fin, got 'slam'", id="an unknown choice"),
    pytest.param("edge_triggered = 1", "edge_triggered: Expected `bool`, got `int`", id="a number for a truth value"),
    pytest.param('slo = "errors==0"', "slo: Expected `array`, got `str`", id="text for a list"),
    pytest.param("source = [5]", "source[0]: Expected `str`, got `int`", id="a number in a list of texts"),
    pytest.param(_PHASE + 'rate = "x"', "phases[0].rate: expected a rate", id="a wrong rate in a phase"),
    pytest.param(
        _PHASE + 'rate = "1:2000m"', "phases[0].rate: 2,000,000,000 is above", id="a phase's rate above its bound"
    ),
    pytest.param(_PHASE + "rat = 5", "phases[0].rat: unknown key; did you mean 'rate'?", id="a typo in a phase"),
    pytest.param(
        _PHASE + _PHASE + "connections = 0", "phases[1].connections: 0 is below the minimum of 1", id="the second phase"
    ),
    pytest.param('[[phases]]\nname = "x"', "phases[0]: Object missing required field `duration`", id="a key missing"),
    pytest.param("metrics = 65536", "metrics: port 65536 of '65536' is not between 0 and 65535", id="no port"),
    pytest.param("connections 5", "not TOML:", id="no TOML"),
    pytest.param("connections = " + "9" * 5000, "not TOML: it has a number of too many digits", id="a long number"),
    pytest.param("slo = " + "[" * 5000, "not TOML: it has lists in lists, too deep", id="lists in lists"),
]


@pytest.mark.parametrize(("text", "message"), _WRONG)
def test_a_wrong_profile_names_file_key_path_and_what_was_expected(place: Path, text: str, message: str) -> None:
    Path("wrong.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile("wrong.toml", {})
    assert str(caught.value).startswith(f"wrong.toml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"connections": "0"}, "--connections: 0 is below the minimum of 1", id="below its bound"),
        pytest.param({"connect_rate": "x"}, "--connect-rate: expected a rate per second", id="not a rate"),
        pytest.param({"timeout": "10"}, "--timeout: expected a duration with its unit", id="no unit"),
        pytest.param({"engine": "warp"}, "--engine: expected auto or native or uvloop or", id="an unknown engine"),
        pytest.param({"edge_triggered": 3}, "--edge-triggered: Expected `bool`", id="a flag with two names"),
        pytest.param({"workers": "few"}, "--workers: expected a whole number", id="neither a number nor auto"),
    ],
)
def test_a_wrong_option_names_its_flag_and_what_was_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_profile(None, options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", ["rate", "duration", "warmup"])
def test_one_option_cannot_overrule_what_a_profile_says_phase_by_phase(key: str) -> None:
    with pytest.raises(OptionError, match=rf"^--{key}: profile burst sets {key} phase by phase; .*profiles show burst"):
        load_profile("burst", {key: "5s" if key != "rate" else "5"})


@pytest.mark.parametrize("ten", ["10", " 10 ", 10, 10.0, "10s", Duration.parse("10s")])
def test_a_number_alone_is_seconds_of_the_duration_and_of_the_warm_up(ten: object) -> None:
    profile, _sources = load_profile(None, {"duration": ten, "warmup": ten})
    assert profile.duration == profile.warmup == 10 * NS_PER_S


def test_a_number_that_python_writes_with_an_exponent_is_seconds_too() -> None:
    assert load_profile(None, {"warmup": 1e-5})[0].warmup == 10_000
    with pytest.raises(OptionError, match=r"^--warmup: expected a duration"):
        load_profile(None, {"warmup": 1e300})


def test_a_number_alone_is_seconds_of_a_phase_too(place: Path) -> None:
    Path("a.toml").write_text('[[phases]]\nname = "x"\nduration = 2.5\n[[phases]]\nname = "y"\nduration = "2"\n')
    assert [phase.duration for phase in load_profile("a.toml", {})[0].phases] == [2_500_000_000, 2 * NS_PER_S]


def test_an_option_that_no_phase_sets_goes_into_a_profile_with_phases() -> None:
    profile, sources = load_profile("steady", {"rate": "5k", "connections": "10"})
    assert (profile.rate, profile.connections, sources["rate"]) == ((5_000, 5_000), 10, "option")


def test_a_profile_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ProfileError, match=r"^no profile named 'stedy': did you mean 'steady'\?"):
        read_profile_text("stedy")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(place: Path) -> None:
    with pytest.raises(ProfileError, match=r"^gone\.toml: cannot read the profile: No such file or directory$"):
        load_profile("gone.toml", {})
    Path("latin.toml").write_bytes(b'about = "\xe9"')
    with pytest.raises(ProfileError, match=r"^latin\.toml: cannot read the profile: it is not UTF-8 text$"):
        load_profile("latin.toml", {})


def test_a_path_is_a_file_even_without_its_ending(place: Path) -> None:
    Path("mine").write_text("connections = 7")
    assert load_profile("./mine", {})[0].connections == 7
