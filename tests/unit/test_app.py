"""How an app is named, for processes that have to import it themselves, and what a plan makes of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadkit.errors import OptionError
from loadkit.plan.app import AppSpec, app_of, parse_app
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_serve_profile
from loadkit.profile.serve import ServeProfile
from loadkit.units import Count
from tests import apps
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

_HOST = made_up_host()
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "module", "name"),
    [
        pytest.param("server:Orders", "server", "Orders", id="a module of its own"),
        pytest.param("shop.server:Orders", "shop.server", "Orders", id="in a package"),
        pytest.param("shop.server:Orders.make", "shop.server", "Orders.make", id="a method of a class"),
    ],
)
def test_an_app_is_read_as_module_and_name(text: str, module: str, name: str) -> None:
    spec = parse_app(text, "/srv")
    assert spec == AppSpec(module, name, "/srv")
    assert str(spec) == text


@pytest.mark.parametrize(
    "text", ["", "server", "server:", ":Orders", "shop/server.py:Orders", "a:b:c", "a..b:c", "a b:c"]
)
def test_what_names_no_app_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match=r"give package\.module:factory, such as shop.server:Orders") as refused:
        parse_app(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("factory", "name"),
    [
        pytest.param(apps.Upper, "Upper", id="class"),
        pytest.param(apps.upper, "upper", id="function"),
        pytest.param(apps.lengths, "lengths", id="async function"),
        pytest.param(apps.Nested.Inner, "Nested.Inner", id="class in a class"),
        pytest.param(apps.Nested.make, "Nested.make", id="class method"),
    ],
)
def test_an_object_is_named_by_its_module_and_file(factory: Any, name: str) -> None:
    assert app_of(factory) == AppSpec("tests.apps", name, str(_ROOT), str(_ROOT / "tests/apps.py"))


def test_what_is_in_a_package_itself_is_found_above_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("class Orders: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import shop  # type: ignore[import-not-found]

    assert app_of(shop.Orders) == AppSpec("shop", "Orders", str(tmp_path), str(tmp_path / "shop/__init__.py"))


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        pytest.param(apps.nameless, "<lambda> is made while", id="lambda"),
        pytest.param(apps.closure(), "closure.<locals>.Local is made while", id="class of a function"),
        pytest.param(apps.made_by_partial, "has no name", id="partial"),
        pytest.param(apps.Upper(), "has no name", id="object"),
        pytest.param(3, "has no name", id="number"),
    ],
)
def test_what_workers_cannot_import_is_refused_with_the_way_out(factory: Any, why: str) -> None:
    with pytest.raises(OptionError, match="give a function or a class at the top of a module") as refused:
        app_of(factory)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_means_something_else_by_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    former = apps.Upper
    monkeypatch.setattr(apps, "Upper", apps.Echo)
    with pytest.raises(OptionError, match=r"tests\.apps:Upper is something else than the factory given"):
        app_of(former)


_SAY = "from loadkit.plan.app import app_of\nclass Orders: pass\nspec = app_of(Orders)\n"
_SAY += "print(spec, spec.folder, spec.file)\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(["shop/run-it.py"], "run-it:Orders {0}/shop {0}/shop/run-it.py", id="script"),
        pytest.param(["-m", "shop.main"], "shop.main:Orders {0} {0}/shop/main.py", id="python -m"),
        pytest.param(["-c", _SAY], "app: Orders stands in no file", id="python -c"),
    ],
)
def test_a_program_s_own_classes_are_found_by_its_file(tmp_path: Path, command: list[str], said: str) -> None:
    (tmp_path / "shop").mkdir()
    for name in ("run-it.py", "main.py"):
        (tmp_path / "shop" / name).write_text(_SAY)
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert said.format(tmp_path) in done.stdout + done.stderr


_APP = AppSpec("shop.server", "Orders", "/srv")


def test_a_serve_end_has_the_app_that_was_asked_for() -> None:
    plan = build_serve_plan(_HOST, ("0.0.0.0",), 0, ServeProfile(max_connections=Count(9)), app=_APP, engine=ENGINE)
    assert (plan.app, plan.max_connections, plan.workers) == (_APP, 9, 2)
    assert build_serve_plan(_HOST, ("0.0.0.0",), 0, engine=ENGINE).app is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"engine": "native"}, "--engine native", id="native"),
        pytest.param({"edge_triggered": True}, "--edge-triggered", id="edge-triggered"),
        pytest.param({"idle_timeout": "1s"}, "--idle-timeout", id="idle time-out"),
        pytest.param({"probes": True}, "--probes", id="probes"),
    ],
)
def test_what_an_app_has_not_is_refused_by_the_name_of_the_option(options: dict[str, Any], named: str) -> None:
    profile, _ = load_serve_profile(None, options)
    engine = ENGINE if profile.engine is EngineName.AUTO else ChosenEngine(profile.engine)
    with pytest.raises(OptionError, match=f"^{named}: "):
        build_serve_plan(_HOST, ("0.0.0.0",), 0, profile, app=_APP, engine=engine)
