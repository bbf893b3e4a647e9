"""How the compiled parts are built: what makes an overrun of theirs end the process instead of being used."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import loadkit.engine
from loadkit.engine.compiled import native_missing

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)
if not shutil.which("readelf"):
    pytest.skip("readelf (binutils) is missing", allow_module_level=True)

_PARTS = sorted(Path(loadkit.engine.__path__[0]).rglob("*.abi3.so"))


def read(part: Path, what: str) -> str:
    return subprocess.run(["readelf", "--wide", what, part], capture_output=True, text=True, check=True).stdout


def test_both_parts_are_looked_at() -> None:
    assert [part.name for part in _PARTS] == ["_hook.abi3.so", "_core.abi3.so"]


@pytest.mark.parametrize("part", _PARTS, ids=lambda part: part.name)
def test_imports_are_bound_at_once_and_read_only_then(part: Path) -> None:
    assert "BIND_NOW" in read(part, "--dynamic")
    assert "GNU_RELRO" in read(part, "--program-headers")
    assert re.search(r"GNU_STACK .* RW ", read(part, "--program-headers"))


def test_stacks_are_guarded() -> None:
    # The hook has no function with a buffer on its stack, and so no guard.
    assert "__stack_chk_fail" in read(_PARTS[-1], "--dyn-syms")


@pytest.mark.parametrize("part", _PARTS, ids=lambda part: part.name)
def test_jumps_land_where_they_are_meant_to(part: Path) -> None:
    # The instruction at the beginning of what may be jumped to. The linker notes that the whole library has them only
    # if the C library's own start files do, too.
    landing = {"x86_64": b"\xf3\x0f\x1e\xfa", "aarch64": b"\x3f\x23\x03\xd5"}.get(platform.machine())
    if landing is None:
        pytest.skip("neither x86-64 (endbr64) nor ARM64 (paciasp)")
    assert part.read_bytes().count(landing) >= 10
