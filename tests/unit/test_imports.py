"""A module in the place of another one that loadkit needs."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from loadkit.errors import PreflightError
from loadkit.imports import DEPENDENCIES, importing, shadow_of
from loadkit.library.metrics import MetricsAsked, run_metrics
from tests.pages import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder at the head of Python's path; what is imported from there is forgotten afterwards."""
    before = dict(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.update(before)


def _import_anew(name: str) -> ModuleType:
    for known in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[known]
    importlib.invalidate_caches()
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ["queue", "uvloop"])
def test_a_name_that_the_wrong_module_lacks_names_its_file(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text("x = 1\n")
    module = _import_anew(name)
    with pytest.raises(PreflightError, match="rename that file") as caught, importing():
        module.missing  # noqa: B018
    assert str(caught.value).startswith(f"{folder}/{name}.py is imported in the place of {name!r}")


@pytest.mark.parametrize(
    "statement", ["import numpy.typing", "from numpy import int64", "from queue import SimpleQueue"]
)
def test_an_import_that_fails_because_of_the_wrong_module_names_its_file(folder: Path, statement: str) -> None:
    name = "queue" if "queue" in statement else "numpy"
    (folder / f"{name}.py").write_text("x = 1\n")
    _import_anew(name)
    with pytest.raises(PreflightError) as caught, importing():
        exec(statement)
    assert f"{folder}/{name}.py" in str(caught.value)


def test_a_wrong_client_of_prometheus_is_named_by_a_run_that_needs_it(folder: Path) -> None:
    (folder / "prometheus_client.py").write_text("x = 1\n")
    for name in [one for one in sys.modules if one.startswith(("prometheus_client", "loadkit.run.metrics"))]:
        del sys.modules[name]
    importlib.invalidate_caches()
    with pytest.raises(PreflightError) as caught, run_metrics(MetricsAsked("0", 0)):
        pass
    assert str(caught.value).startswith(f"{folder}/prometheus_client.py is imported in the place of")


def test_the_right_module_is_not_blamed() -> None:
    import queue

    import numpy as np

    for failing in (lambda: queue.missing, lambda: np.missing):  # type: ignore[attr-defined]
        with pytest.raises(AttributeError), importing():
            failing()
    with pytest.raises(ImportError), importing():
        exec("from queue import missing")


def test_a_module_of_the_user_s_own_that_fails_is_left_alone(folder: Path) -> None:
    (folder / "mine.py").write_text("import not_there\n")
    with pytest.raises(ModuleNotFoundError, match="not_there"), importing():
        importlib.import_module("mine")
    assert shadow_of(AttributeError("x")) is None
    assert shadow_of(ValueError("x")) is None


def test_a_module_whose_file_cannot_be_opened_is_said_with_the_limit() -> None:
    with (
        pytest.raises(PreflightError, match=r"^cannot go on: Too many open files: late.py; .*`ulimit -n`"),
        importing(),
    ):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "late.py")
    with pytest.raises(FileNotFoundError), importing():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "other")


def test_the_modules_that_loadkit_needs_are_those_that_come_with_its_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["metrics"]]
    names = [re.split(r"[^\w-]", one)[0].replace("-", "_") for one in needed]
    assert sorted(names) == sorted(DEPENDENCIES)
