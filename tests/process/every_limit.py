"""Commands under every small limit: it runs, or one line names the limit; never a traceback, and no process is left.

`make limits` runs all of it, which takes minutes; the suite a sample: test_limits.py.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .test_faults import group_of

pytestmark = pytest.mark.slow

_LOADKIT = (sys.executable, "-m", "loadkit")
_MIB = 2**20
_QUICK = ("-d", "100ms", "--warmup", "0s", "--no-progress")

BLAST = ("blast", "-c", "20", "-w", "2", *_QUICK)
MANY = ("blast", "-c", "3000", "-R", "10", *_QUICK)
TO_NOTHING = ("blast", "127.0.0.1:1", "-c", "20", *_QUICK)
SERVE = ("serve", "127.0.0.1:0", "-w", "2")
SERVE_MANY = ("serve", "127.0.0.1:0", "-w", "40")
PING = ("ping", "127.0.0.1:1")
DOCTOR = ("doctor", "-c", "3000")

# What the line says of a limit that is in the way. Others are in nobody's way.
_NAMES = {
    "NOFILE": ("ulimit -Hn", "`ulimit -n`"),
    "AS": ("`ulimit -v`",),
    "DATA": ("`ulimit -d`",),
    "FSIZE": ("`ulimit -f`",),
    "NPROC": ("ulimit -u",),
}
# The line of a command that does all that it could.
_NO_TARGET = "Connection refused"

_COMMANDS = {"blast": BLAST, "many": MANY, "nothing": TO_NOTHING, "serve": SERVE, "serve many": SERVE_MANY}
_COMMANDS |= {"ping": PING, "doctor": DOCTOR}
# Limit -> its values, and the commands that are run under it. Python itself starts with 5 files and a stack of 128 KiB.
_TABLE = {
    "NOFILE": ((*range(5, 16), *range(20, 70, 4), 100, 150, 200, 230, 300, 400), tuple(_COMMANDS)),
    "AS": (
        tuple(size * _MIB for size in (40, 60, 100, 150, 199, *range(200, 440, 24))),
        ("blast", "serve", "serve many", "doctor"),
    ),
    "DATA": (tuple(size * _MIB for size in (20, 40, 60, 100, 127, *range(128, 228, 20))), ("blast", "serve", "doctor")),
    "FSIZE": ((0, 1, 4096, 10**6, 3 * 10**6, 6 * 10**6, 2 * 10**7), ("blast", "nothing", "serve", "ping")),
    "NPROC": (tuple(range(1, 14)), ("blast", "nothing", "serve")),
    "STACK": (tuple(size * 1024 for size in (128, 256, 1024)), ("blast", "serve", "ping")),
    "MEMLOCK": ((0,), ("blast", "serve")),
    "SIGPENDING": ((0,), ("blast", "serve")),
    "MSGQUEUE": ((0,), ("blast", "serve")),
    "RTPRIO": ((0,), ("blast", "serve")),
    "CORE": ((0,), tuple(_COMMANDS)),
}


@dataclass(frozen=True)
class Ended:
    """How a command ended. `left` are the processes of its that were alive then."""

    status: int
    err: str
    left: Mapping[int, object] = field(default_factory=dict)


def wrapper_of(limit: str, proc: bool) -> tuple[str, ...]:
    """Returns what a command is put behind to have no /proc, and to be a user whom NPROC limits."""
    wrapper: tuple[str, ...] = ()
    if not proc:
        wrapper = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if limit == "NPROC" and os.geteuid() == 0:
        kept = "+dac_override,+dac_read_search"  # what is installed may be root's alone
        user = str(100_000 + os.getpid())  # whose processes are this test's alone
        wrapper += ("setpriv", f"--reuid={user}", "--clear-groups", f"--inh-caps={kept}", f"--ambient-caps={kept}")
    for program in {"unshare", "setpriv"} & set(wrapper):
        if shutil.which(program) is None or os.geteuid():
            skip(f"{program} is missing, or this is not root")
    return wrapper


def skip(reason: str) -> None:
    assert "LOADKIT_SKIP_NOTHING" not in os.environ, reason
    pytest.skip(reason)


def run_limited(command: tuple[str, ...], limit: str, value: int, proc: bool = True) -> Ended:
    """Runs `loadkit …` under a limit, soft and hard; what serves is asked to end once it is ready."""
    number = getattr(resource, f"RLIMIT_{limit}")
    process = subprocess.Popen(
        [*wrapper_of(limit, proc), *_LOADKIT, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(number, (value, value)),
    )
    assert process.stderr is not None
    killer = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
    killer.start()
    said = []
    try:
        for line in process.stderr:
            if line.startswith("loadkit: ready on "):
                process.terminate()
            else:
                said.append(line)
        process.wait()
        left = {pid: what for pid, what in group_of(process).items() if what[1] != "Z"}
        return Ended(process.returncode, "".join(said), left)
    finally:
        killer.cancel()
        process.stderr.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def check(command: tuple[str, ...], limit: str, value: int, proc: bool = True) -> Ended:
    """Runs it so, and asserts that it went well, or said in one line what was in the way."""
    ended = run_limited(command, limit, value, proc)
    assert not ended.left, ended
    lines = [line for line in ended.err.splitlines() if not line.startswith("loadkit: warning: ")]
    if ended.status in (0, 4):  # 4: it ran, and a machine that is busy with more than that may make it invalid
        assert lines == []
    elif command[0] == "doctor" and (limit not in ("AS", "DATA") or not lines):
        assert (ended.status, lines) == (1, [])
    else:
        assert ended.status == 1, ended
        [line] = lines
        assert line.startswith("loadkit: ")
        names = _NAMES.get(limit, ())
        assert any(name in line for name in (*names, *([_NO_TARGET] if "127.0.0.1:1" in command else []))), ended
    return ended


def _cases() -> list[object]:
    return [
        pytest.param(_COMMANDS[name], limit, value, proc, id=f"{name}-{limit}-{value}{'' if proc else '-no proc'}")
        for limit, (values, names) in _TABLE.items()
        for name in names
        for proc in (True, False)
        for value in (values if proc else values[::3])
    ]


@pytest.mark.parametrize(("command", "limit", "value", "proc"), _cases())
def test_a_limit(command: tuple[str, ...], limit: str, value: int, proc: bool) -> None:
    check(command, limit, value, proc)


def test_the_folder_of_processes_is_there_again() -> None:
    """What hides /proc hides it from itself alone."""
    assert Path("/proc/self").exists()
