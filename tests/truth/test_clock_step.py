"""The system's clock is set while messages are under way: no stage may have the step in it."""

from __future__ import annotations

import contextlib
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadkit.engine.compiled import native_missing

from .conftest import Run

pytestmark = pytest.mark.slow

STEP_S = 10
# Put between a process and its C library: CLOCK_REALTIME is ten seconds ahead every other second. The kernel's stamps
# are not, so in those seconds nothing of a message is in order; and what is under way at a change was stepped over.
_SETS_THE_CLOCK = f"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {{
    struct timespec second;
    int status = syscall(SYS_clock_gettime, clock, now);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &second);
    if (clock == CLOCK_REALTIME && second.tv_sec % 2) now->tv_sec += {STEP_S};
    return status;
}}
"""


class _SlowEcho(socketserver.BaseRequestHandler):
    """Echoes after 10 ms: half of the time a probe's message is under way."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := self.request.recv(65536):
                time.sleep(0.01)
                self.request.sendall(chunk)


@pytest.fixture
def slow_echo() -> Iterator[int]:
    """The port of an echo that is no serve end of loadkit."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _SlowEcho) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc builds what sets the clock")
@pytest.mark.skipif(bool(native_missing()), reason="a journey needs the compiled part")
def test_messages_across_a_step_are_left_out_and_counted(
    slow_echo: int, blast: Callable[..., Run], tmp_path: Path
) -> None:
    library = tmp_path / "sets_the_clock.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=_SETS_THE_CLOCK, text=True, check=True)
    options = ("-c", "4", "-R", "100", "-d", "5s", "--warmup", "0s", "--journey", "-w", "1")
    run = blast(f"127.0.0.1:{slow_echo}", *options, wrapper=("env", f"LD_PRELOAD={library}"))
    run.end()
    journey = run.record["journey"]
    assert journey["stepped"] >= 1
    assert journey["disordered"] >= 10
    assert journey["count"] >= 10
    assert 10_000_000 <= journey["total"]["min"] <= journey["total"]["max"] < STEP_S * 1_000_000_000 / 2
    assert sum(stage["sum"] for stage in journey["stages"].values()) == journey["total"]["sum"]
