"""A terminal that a test looks at: a shell inside tmux."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

__all__ = ["Terminal", "terminal"]

_PATIENCE_S = 60.0


class Terminal:
    """A shell on a screen; what it runs is typed."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        """Runs a command of tmux and returns what it prints."""
        done = subprocess.run(["tmux", "-S", self._socket, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self, *options: str) -> list[str]:
        """Returns the lines that can be seen."""
        return self.tmux("capture-pane", "-p", "-t", "loadkit", *options).splitlines()

    def press(self, *keys: str) -> None:
        """Presses keys, by tmux's names of them."""
        self.tmux("send-keys", "-t", "loadkit", *keys)

    def run(self, line: str) -> None:
        """Types a line and presses Enter."""
        self.tmux("send-keys", "-t", "loadkit", "-l", line)
        self.press("Enter")

    def state(self, *variables: str) -> list[str]:
        """Returns variables of tmux, such as alternate_on."""
        form = " ".join(f"#{{{name}}}" for name in variables)
        return self.tmux("display-message", "-p", "-t", "loadkit", form).split()

    def wait_for(self, what: Callable[[list[str]], bool], *options: str) -> list[str]:
        """Returns the screen once it is so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not what(lines := self.screen(*options)):
            assert time.monotonic() < deadline, "\n".join(lines)
            time.sleep(0.05)
        return lines


@contextlib.contextmanager
def terminal(
    folder: Path, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Yields a terminal of that size, in which `loadkit` is the command; skips the test where tmux is missing."""
    if shutil.which("tmux") is None:
        assert not os.environ.get("LOADKIT_SKIP_NOTHING"), "tmux is missing"
        pytest.skip("tmux is missing")
    # The path of a socket has 108 characters at the most (unix(7)).
    with tempfile.TemporaryDirectory(prefix="loadkit") as socket_folder:
        yield from _terminal(Terminal(f"{socket_folder}/tmux"), folder, columns, rows, environment or {})


def _terminal(
    found: Terminal, folder: Path, columns: int, rows: int, environment: Mapping[str, str]
) -> Iterator[Terminal]:
    words = {"LC_ALL": "C.UTF-8", "PS1": "$ ", "LOADKIT": f"{sys.executable} -m loadkit", **environment}
    shell = ["env", "-u", "NO_COLOR", *(f"{name}={value}" for name, value in words.items()), "sh"]
    found.tmux(
        "-f", "/dev/null", "-u", "new-session", "-d", "-s", "loadkit", "-x", str(columns), "-y", str(rows),
        "-c", str(folder), *shell,
    )  # fmt: skip
    try:
        yield found
    finally:
        found.tmux("kill-server")
