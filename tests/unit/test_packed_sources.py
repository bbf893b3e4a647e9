"""What the compiled parts are built of is packed: a source distribution has what pyproject.toml names, and no more."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_MODULES: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
    "ext-modules"
]
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def _included(path: Path) -> set[Path]:
    """Returns the headers of ours that a file includes, and those that they include."""
    found: set[Path] = set()
    left = [path]
    while left:
        source = left.pop()
        headers = {(source.parent / name).resolve() for name in _INCLUDE.findall(source.read_text())}
        left += headers - found
        found |= headers
    return found


@pytest.mark.parametrize("module", _MODULES, ids=lambda module: str(module["name"]))
def test_each_header_that_a_module_includes_is_named(module: dict[str, Any]) -> None:
    included = {header for source in module["sources"] for header in _included(ROOT / source)}
    assert {str(header.relative_to(ROOT)) for header in included} == set(module["depends"])


def test_each_source_is_built() -> None:
    named = {source for module in _MODULES for source in module["sources"]}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "loadkit").rglob("*.c")} == named
