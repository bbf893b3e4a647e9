"""The command as a shell runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Loadkit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def loadkit(tmp_path: Path) -> Loadkit:
    """Runs `loadkit …` in an empty directory and returns what it said."""

    def run(*arguments: object, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*wrapper, sys.executable, "-m", "loadkit", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
