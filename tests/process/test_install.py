"""Installing without a compiler: loadkit works, takes uvloop, and says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOURCES = ("loadkit", "profiles", "pyproject.toml", "setup.py", "README.md")


@pytest.fixture(scope="module")
def without_native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs a copy of the sources with a compiler that always fails; returns the folder it went to."""
    folder = tmp_path_factory.mktemp("without-compiler")
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, sources / name)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(folder / "installed"), str(sources)]
    done = subprocess.run(command, env={**os.environ, "CC": "/bin/false"}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder / "installed"


def loadkit(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Elsewhere than in the checkout, whose own package would come first.
    return subprocess.run(
        [sys.executable, "-m", "loadkit", *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_compiled_part_is_left_out(without_native: Path) -> None:
    assert (without_native / "loadkit/engine/native/engine.py").is_file()
    assert not list(without_native.rglob("*.so"))


def test_auto_takes_uvloop_and_the_report_says_why(without_native: Path) -> None:
    done = loadkit(without_native, "blast", "-c", "5", "-n", "50", "--no-progress")
    assert done.returncode in (0, 4), done.stderr
    report = " ".join(done.stdout.split())
    assert "50 replied" in report
    assert "engine uvloop" in report
    assert "the native engine is not there: it was not compiled when loadkit was installed" in report


def test_native_says_why_it_is_not_there_and_what_to_do(without_native: Path) -> None:
    for arguments in (("--engine", "native"), ("--edge-triggered",)):
        done = loadkit(without_native, "blast", "-c", "5", "-n", "50", *arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        assert "--engine native: it was not compiled when loadkit was installed; with a C compiler" in line
