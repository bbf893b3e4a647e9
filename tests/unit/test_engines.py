"""Which engine can do what, and which one is taken."""

from __future__ import annotations

from typing import Any

import pytest

from loadkit.engine import registry
from loadkit.engine.registry import choose_engine
from loadkit.errors import OptionError, PreflightError
from loadkit.plan.engine import ChosenEngine, check_engine, needs_of
from loadkit.profile.both import Stamps
from loadkit.profile.engines import ABILITIES, ENGINES, EngineName, Feature, engines_with
from loadkit.profile.serve import ServeProfile
from loadkit.units import Size
from tests.pages import chapter

AUTO, NATIVE, UVLOOP, ASYNCIO, FAKE = EngineName
EDGE, APP = Feature.EDGE_TRIGGERED, Feature.APP


@pytest.fixture
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has these engines alone be installed; the loop of the standard library always is."""
    there = request.param
    monkeypatch.setattr(registry, "native_missing", lambda: None if NATIVE in there else "it was not compiled")
    monkeypatch.setattr(registry, "is_installed", lambda module: UVLOOP in there)


def test_every_engine_has_a_cell_for_every_feature() -> None:
    assert set(ABILITIES) == set(Feature)
    for feature, row in ABILITIES.items():
        assert set(row) == set(EngineName) - {AUTO}, feature
        assert all(one.note for one in row.values() if not one.has), "why not"
        assert engines_with(feature), "what none can do is no feature"


def test_the_page_has_the_table() -> None:
    rows = []
    for feature in Feature:
        called = f"`{feature.value}`" if feature.value.startswith("--") else feature.value
        rows.append(f"| {called} | {' | '.join(str(ABILITIES[feature][name]) for name in ENGINES)} |")
    head = f"| | {' | '.join(f'`{name}`' for name in ENGINES)} |\n|---|---|---|---|\n"
    assert f"\n{head}" + "\n".join(rows) + "\n\n" in chapter("method", "Engines")


@pytest.mark.parametrize(
    ("asked", "has_app", "needs"),
    [
        pytest.param({}, False, (), id="nothing"),
        pytest.param({"edge_triggered": True}, False, (EDGE,), id="edge-triggered"),
        pytest.param({"stamps": Stamps.RX}, True, (APP, Feature.STAMPS), id="an app with stamps"),
        pytest.param({"sndbuf": Size(4096)}, False, (Feature.SOCKET_OPTIONS,), id="a socket option"),
        pytest.param({"nodelay": False}, False, (Feature.SOCKET_OPTIONS,), id="a socket option that is off"),
    ],
)
def test_what_is_asked_of_an_end_is_what_its_engine_needs(
    asked: dict[str, Any], has_app: bool, needs: tuple[Feature, ...]
) -> None:
    assert needs_of(ServeProfile(**asked), has_app) == needs


_ALL = {NATIVE, UVLOOP}
_COMPILE = "with a C compiler and Python's headers (Debian: gcc python3-dev) install loadkit again"
_NOT_COMPILED = f"the native engine is not there: it was not compiled; {_COMPILE}"


@pytest.mark.parametrize(
    ("name", "needs", "installed", "chosen"),
    [
        pytest.param(AUTO, (), _ALL, ChosenEngine(NATIVE), id="the fastest"),
        pytest.param(AUTO, (EDGE,), _ALL, ChosenEngine(NATIVE), id="edge-triggered"),
        pytest.param(AUTO, (APP,), _ALL, ChosenEngine(UVLOOP), id="an app"),
        pytest.param(AUTO, (APP,), {UVLOOP}, ChosenEngine(UVLOOP), id="an app misses no native engine"),
        pytest.param(AUTO, (), {UVLOOP}, ChosenEngine(UVLOOP, _NOT_COMPILED), id="not compiled"),
        pytest.param(AUTO, (), (), ChosenEngine(ASYNCIO, _NOT_COMPILED), id="neither"),
        pytest.param(
            AUTO,
            (APP,),
            {NATIVE},
            ChosenEngine(ASYNCIO, "the uvloop engine is not there: uvloop is not installed; pip install uvloop"),
            id="an app without uvloop",
        ),
        pytest.param(UVLOOP, (APP,), _ALL, ChosenEngine(UVLOOP), id="a named one"),
        pytest.param(ASYNCIO, (APP,), _ALL, ChosenEngine(ASYNCIO), id="a named one that is slower"),
        pytest.param(FAKE, (), (), ChosenEngine(FAKE), id="the one for tests"),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_the_fastest_that_can_do_it_is_taken(
    name: EngineName, needs: tuple[Feature, ...], chosen: ChosenEngine
) -> None:
    assert choose_engine(name, needs) == chosen


@pytest.mark.parametrize(
    ("name", "needs", "installed", "said"),
    [
        pytest.param(
            NATIVE,
            (),
            {UVLOOP},
            f"--engine native: it was not compiled; {_COMPILE}, or use --engine uvloop",
            id="native",
        ),
        pytest.param(
            NATIVE, (), (), f"--engine native: it was not compiled; {_COMPILE}, or use --engine asyncio", id="neither"
        ),
        pytest.param(
            AUTO,
            (EDGE,),
            {UVLOOP},
            f"--engine native: it was not compiled; {_COMPILE}, or leave --edge-triggered out",
            id="what only the native engine can do",
        ),
        pytest.param(
            UVLOOP,
            (APP,),
            {NATIVE},
            "--engine uvloop: uvloop is not installed; pip install uvloop, or use --engine asyncio",
            id="uvloop",
        ),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_one_that_is_not_there_is_refused_with_the_way_out(
    name: EngineName, needs: tuple[Feature, ...], said: str
) -> None:
    with pytest.raises(PreflightError) as refused:
        choose_engine(name, needs)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("name", "needs", "said"),
    [
        pytest.param(
            UVLOOP,
            (EDGE,),
            "--engine uvloop: its loop is level-triggered; use --engine native, or leave --edge-triggered out",
            id="edge-triggered",
        ),
        pytest.param(
            NATIVE,
            (APP,),
            "--engine native: it cannot run a Python app; use --engine uvloop or asyncio, or leave --app out",
            id="an app",
        ),
        pytest.param(
            AUTO,
            (EDGE, APP, Feature.STAMPS),
            "--edge-triggered: no engine has it together with --app; leave one of them out",
            id="what goes with nothing",
        ),
        pytest.param(
            ASYNCIO,
            (EDGE, APP),
            "--edge-triggered: no engine has it together with --app; leave one of them out",
            id="what goes with nothing, by name",
        ),
        pytest.param(
            FAKE,
            (Feature.SOCKET_OPTIONS,),
            "--engine fake: it has no sockets; use --engine native or uvloop or asyncio, or leave options of sockets "
            "out",
            id="sockets",
        ),
    ],
)
def test_what_an_engine_cannot_do_is_refused_with_the_way_out(
    name: EngineName, needs: tuple[Feature, ...], said: str
) -> None:
    for refuses in (check_engine, choose_engine):
        with pytest.raises(OptionError) as refused:
            refuses(name, needs)
        assert str(refused.value) == said
