"""The command as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Loadkit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def loadkit(tmp_path: Path) -> Loadkit:
    """Runs `loadkit …` in an empty directory and returns what it said; `env` is set beside what is there.

    But for GitHub's job summary, which is not the tests' to write to.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}

    def run(
        *arguments: object,
        wrapper: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*wrapper, sys.executable, "-m", "loadkit", *map(str, arguments)],
            cwd=tmp_path,
            env={**inherited, **(env or {})},
            capture_output=True,
            encoding=encoding,
            timeout=60,
            check=False,
        )

    return run
