"""An app imported by its name, and refused in one line where there is none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadkit.engine.aio.importing import import_app, make_protocol, protocol_factory
from loadkit.errors import AppError
from loadkit.plan.app import AppSpec, app_of
from tests import apps


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """Forgets what a test has imported, and where from."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def spec_of(name: str) -> AppSpec:
    return AppSpec("tests.apps", name)


def test_an_app_named_by_its_object_is_that_object() -> None:
    for factory in (apps.Upper, apps.upper, apps.lengths, apps.Nested.Inner):
        assert import_app(app_of(factory)) is factory


def test_the_folder_is_where_a_module_is_looked_for_first(tmp_path: Path) -> None:
    (tmp_path / "apps_here.py").write_text("class Orders: pass\n")
    spec = AppSpec("apps_here", "Orders", str(tmp_path))
    assert import_app(spec).__module__ == "apps_here"


def test_a_module_that_its_name_does_not_lead_to_is_loaded_from_its_file(tmp_path: Path) -> None:
    # As pytest's importmode=importlib has them: the name is made up. `json` is somebody else's.
    for name in ("suite.test_orders", "json"):
        file = tmp_path / f"{name.rpartition('.')[2]}.py"
        file.write_text("import dataclasses\n@dataclasses.dataclass\nclass Orders:\n    number: 'int' = 0\n")
        found = import_app(AppSpec(name, "Orders", str(tmp_path / "nowhere"), str(file)))
        assert found.__module__ == name
        assert found().number == 0
        del sys.modules[name]
    import json

    assert json.dumps(1) == "1"


_SOURCES = {
    "syntax": "def (\n",
    "fails": "import asyncio\n1 / 0\n",
    "lacks": "import not_installed_anywhere\n",
    "leaves": "raise SystemExit(3)\n",
}


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        pytest.param("not_there", "Orders", "there is no module not_there in {0} or on Python's path", id="no module"),
        pytest.param("tests.not_there", "Orders", "there is no module tests.not_there in {0}", id="none in a package"),
        pytest.param("tests.apps", "Nope", "tests.apps has no Nope", id="no attribute"),
        pytest.param("tests.apps", "Upper.nope", "tests.apps has no Upper.nope", id="no attribute of a class"),
        pytest.param("tests.apps", "LIMIT", "it is of type int, which cannot be called", id="not callable"),
        pytest.param("tests.apps", "with_argument", "cannot be called without arguments", id="wants an argument"),
        pytest.param("tests.apps", "one_argument", "has to take two arguments: (reader, writer)", id="async, of one"),
        pytest.param(
            "syntax", "Orders", "importing it failed: SyntaxError: invalid syntax (syntax.py, line 1)", id="syntax"
        ),
        pytest.param("fails", "Orders", "ZeroDivisionError: division by zero ({0}/fails.py:2)", id="fails"),
        pytest.param(
            "lacks", "Orders", "No module named 'not_installed_anywhere' ({0}/lacks.py:1)", id="lacks a module"
        ),
        pytest.param("leaves", "Orders", "importing it failed: SystemExit: 3 ({0}/leaves.py:1)", id="leaves"),
    ],
)
def test_what_is_no_app_is_refused_in_one_line(tmp_path: Path, module: str, name: str, said: str) -> None:
    for file, source in _SOURCES.items():
        (tmp_path / f"{file}.py").write_text(source)
    with pytest.raises(AppError) as refused:
        import_app(AppSpec(module, name, str(tmp_path)))
    assert str(refused.value).startswith(f"app {module}:{name}: ")
    assert said.format(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("failing", "calling it failed: LookupError: no database", id="raises"),
        pytest.param("nothing", "what it made is None, which is not an asyncio.Protocol", id="none"),
        pytest.param("closure", "what it made is of type type, which is not an asyncio.Protocol", id="a class"),
    ],
)
def test_a_factory_that_makes_no_protocol_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(AppError, match=f"^app tests.apps:{name}: ") as refused:
        make_protocol(spec_of(name), protocol_factory(import_app(spec_of(name))))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_async_function_becomes_a_protocol_of_streams() -> None:
    async def make() -> asyncio.BaseProtocol:
        return make_protocol(spec_of("lengths"), protocol_factory(import_app(spec_of("lengths"))))

    assert isinstance(asyncio.run(make()), asyncio.StreamReaderProtocol)
