"""A pytest plugin for `make sanitize`: the tests run against the core in build/sanitize, and leaks fail the run.

A package's __path__ says where its modules are looked for: the build in the source tree is neither touched nor found.

LeakSanitizer's own check at exit is of no use here: the interpreter leaves much behind on purpose. We ask before that,
while all that Python holds can still be reached (with PYTHONMALLOC=malloc, for pymalloc's arenas are not searched), and
look for the core's frames in the answer.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import pytest

import loadkit.engine.native

_BUILD = Path(__file__).parents[2] / "build" / "sanitize"

loadkit.engine.native.__path__.insert(0, str(_BUILD))

from loadkit.engine.native import _core  # noqa: E402 - looked for in the place given above

_LEAKS = pytest.StashKey[list[str]]()


def pytest_configure() -> None:
    core = Path(_core.__file__)
    if core.parent != _BUILD or b"__asan_report" not in core.read_bytes():
        raise pytest.UsageError(f"{core} is not the sanitized build, which `make sanitize` puts into {_BUILD}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    leaks = session.config.stash[_LEAKS] = _find_leaks()
    if leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    leaks = config.stash.get(_LEAKS, [])
    terminalreporter.section("leaks of the sanitized core")
    terminalreporter.write_line("\n\n".join(leaks) or f"none; the core was {_core.__file__}")


def _find_leaks() -> list[str]:
    gc.collect()
    sanitizer = ctypes.CDLL(None)
    path = _BUILD / "leaks"
    sanitizer.__sanitizer_set_report_path(str(path).encode())
    sanitizer.__lsan_do_recoverable_leak_check()
    # The process id is appended to the path; without a leak there is no file.
    blocks = [block for report in _BUILD.glob("leaks.*") for block in report.read_text().split("\n\n")]
    return [block for block in blocks if " leak of " in block and _core.__file__ in block]
