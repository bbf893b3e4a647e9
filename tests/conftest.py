"""Options of the whole test suite, and `loadkit serve` as a process for the tests that look at it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from loadkit.engine.compiled import native_missing
from loadkit.run.signals import ENDING
from tests import leftovers

# `make fuzz-records`
settings.register_profile(
    "fuzz-records",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3000")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


# The options that choose each engine.
ENGINES = {
    "native": ("--engine", "native"),
    "native edge-triggered": ("--engine", "native", "--edge-triggered"),
    "uvloop": ("--engine", "uvloop"),
    "asyncio": ("--engine", "asyncio"),
}


def skip_without(engine: str) -> None:
    """Skips the test if the engine could not be compiled here."""
    if engine.startswith("native") and (missing := native_missing()):
        pytest.skip(missing)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options that choose an engine, each in turn."""
    skip_without(request.param)
    return ENGINES[request.param]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files, to be reviewed as text")
    parser.addoption("--signals", type=int, default=20, help="how often test_signals.py sends each signal")


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """No process outlives the test that started it: not where the test fails, or runs out of time, either."""
    with leftovers.none_left():
        yield


def pytest_configure() -> None:
    """Has what is started from here heed signals, even where the tests run behind nohup or a script's `&`."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    leftovers.watch()


@dataclass
class Served:
    """A running serve end."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    @property
    def workers(self) -> list[int]:
        """The pids of its workers."""
        return [worker["pid"] for worker in self.ready["workers"]]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """Waits for the end; returns exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `loadkit serve` at a free port with more options, waits for its ready file, ends what is left."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, wrapper: tuple[str, ...] = (), address: str = "127.0.0.1:0") -> Served:
        ready = tmp_path / f"ready-{len(started)}.json"
        command = [
            *wrapper,
            sys.executable,
            "-m",
            "loadkit",
            "serve",
            address,
            "--ready-file",
            str(ready),
            *options,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        deadline = time.monotonic() + 60
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"serve is not ready: {process.communicate()}")
            time.sleep(0.02)
        return Served(process, json.loads(ready.read_text()))

    yield start
    for process in started:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
