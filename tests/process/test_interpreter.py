"""The Python that workers come from: started as the parent was, silent, and nothing else in its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from loadkit.errors import PreflightError
from loadkit.limits import open_descriptors
from loadkit.run import interpreter
from loadkit.run.forker import Forker
from loadkit.run.signals import Interrupts

pytestmark = pytest.mark.slow

_LOADKIT = (sys.executable, "-m", "loadkit")
_BLAST = ("blast", "-c", "20", "-w", "1", "-d", "300ms", "--warmup", "0s", "--no-progress")
# It ran. Where other work keeps a run of 300 ms from the cores, that may be invalid, which is another test's affair.
_RAN = (0, 4)

Executable = Callable[[str], str]


def run(*command: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- what is no Python


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executable:
    """Makes a shell script sys.executable."""

    def make(script: str) -> str:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return str(path)

    return make


def _refused() -> str:
    """Starts a worker, which has to be refused with nothing left open and no process left."""
    before = open_descriptors()
    read, write = os.pipe()
    try:
        with pytest.raises(PreflightError) as caught, Interrupts() as interrupts, Forker(interrupts) as forker:
            forker.fork(read, write)
    finally:
        os.close(read)
        os.close(write)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    said = str(caught.value)
    assert said.startswith("workers are started from the Python in sys.executable, ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("", "'': it is empty, as in a program that has Python built in"),
        (None, "None: it is empty"),
        ("/no/such/python", "'/no/such/python': No such file or directory"),
        ("/etc/passwd", "'/etc/passwd': Permission denied"),
    ],
)
def test_a_python_that_is_not_there_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, named: str | None, why: str
) -> None:
    monkeypatch.setattr(sys, "executable", named)
    assert why in _refused()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 0", "what was started ended with exit status 0; run this program with an installed Python"),
        ("echo one >&2; echo cannot do that >&2; exit 3", "ended with exit status 3 (cannot do that)"),
        ("kill -KILL $$", "was killed by SIGKILL: by another process, or by the kernel because memory ran out"),
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("head -c 1000000 /dev/zero >&2; exit 1", "ended with exit status 1 ("),
    ],
)
def test_a_program_that_is_no_python_is_quoted_in_one_line(executable: Executable, script: str, why: str) -> None:
    executable(script)
    assert why in _refused()


def test_a_program_that_stays_is_ended(executable: Executable, monkeypatch: pytest.MonkeyPatch) -> None:
    executable("exec sleep 600")
    monkeypatch.setattr(interpreter, "_READY_S", 0.5)
    assert "what was started is not ready after 0 s" in _refused()


def test_a_frozen_program_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "this program is frozen (sys.frozen), and is no Python" in _refused()


def test_another_python_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sys.version.split()[0]
    monkeypatch.setattr(sys, "version", "3.99.1 (main)")
    assert f"(it is Python {own}, and this program runs in Python 3.99.1)" in _refused()


_SELF = """\
#!{python}
import os, sys
with open({count!r}, "a") as count:
    count.write("started\\n")
sys.executable = os.path.abspath(__file__)
import loadkit
try:
    loadkit.sync.blast(connections=4, duration="50ms", warmup="0s")
except loadkit.LoadkitError as error:
    sys.exit(str(error))
"""


def test_a_program_that_is_started_in_the_place_of_python_starts_itself_once(tmp_path: Path) -> None:
    program, count = tmp_path / "program.py", tmp_path / "count"
    program.write_text(_SELF.format(python=sys.executable, count=str(count)))
    program.chmod(0o755)
    done = run(str(program))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"sys.executable, {str(program)!r}: what was started ended with exit status 1" in done.stderr
    assert count.read_text() == "started\n" * 2


# -- what Python's own settings print


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(
            {"PYTHONWARNINGS": "default", "PYTHONDEVMODE": "1", "PYTHONWARNDEFAULTENCODING": "1"}, id="all warnings"
        ),
        pytest.param({"PYTHONWARNINGS": "error", "PYTHONASYNCIODEBUG": "1"}, id="warnings are errors"),
        pytest.param({"PYTHONHOME": "/nowhere"}, id="an environment that the parent ignores"),
    ],
)
def test_a_run_prints_nothing_of_python_s(environment: Mapping[str, str]) -> None:
    flags = ("-E",) if "PYTHONHOME" in environment else ()
    done = run(_LOADKIT[0], *flags, *_LOADKIT[1:], *_BLAST, **environment)
    assert done.stderr == ""
    assert done.returncode in _RAN


def test_what_python_prints_on_request_is_printed_by_the_parent_alone() -> None:
    noisy = {"PYTHONVERBOSE": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONMALLOCSTATS": "1", "PYTHONINSPECT": "1"}
    done = run(*_LOADKIT, *_BLAST, **noisy, PYTHONWARNINGS="nonsense")
    assert done.stderr.count("Invalid -W option ignored") == 1
    assert done.stderr.count("import 'loadkit.errors' #") == 1
    assert done.stderr.count("| loadkit.errors\n") == 1
    assert "loadkit.run.worker" in done.stderr


def test_the_forker_gets_its_parent_s_environment_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    monkeypatch.setenv("OTHER", "\udcff")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    environment, changed = interpreter._environment()
    assert "PYTHONVERBOSE" not in environment
    assert (environment["OPENBLAS_NUM_THREADS"], environment["OTHER"]) == ("1", "\udcff")
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    interpreter.restore(changed)
    assert dict(os.environ) == before


# -- other modules in the place of those that are needed

# What `python -m` itself has imported before it runs loadkit is not among them.
_SHADOWING = (
    *("array", "asyncio", "bisect", "click", "concurrent", "copy", "dataclasses", "datetime", "email", "heapq"),
    *("json", "logging", "mmap", "msgspec", "multiprocessing", "numpy", "platform", "queue", "random", "resource"),
    *("rich", "select", "selectors", "signal", "socket", "string", "struct", "subprocess", "tempfile", "token"),
    *("traceback", "typing", "uvloop"),
)


def test_files_of_the_folder_that_a_run_is_called_in_are_not_taken_for_modules(tmp_path: Path) -> None:
    for name in _SHADOWING:
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    done = run(*_LOADKIT, *_BLAST, cwd=tmp_path)
    assert done.stderr == ""
    assert done.returncode in _RAN


@pytest.mark.parametrize("name", ["click", "numpy", "uvloop", "selectors"])
def test_a_module_on_python_s_path_that_is_another_one_is_named_with_its_file(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    done = run(*_LOADKIT, *_BLAST, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("loadkit: ")
    assert f"{tmp_path}/{name}.py is imported in the place of {name!r}" in line


def test_an_app_of_the_folder_is_still_found_first(tmp_path: Path) -> None:
    (tmp_path / "sched.py").write_text("import asyncio\nclass Mine(asyncio.Protocol):\n    pass\n")
    ready = tmp_path / "ready.json"
    serving = subprocess.Popen(
        [*_LOADKIT, "serve", "127.0.0.1:0", "-w", "1", "--app", "sched:Mine", "--ready-file", str(ready)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    assert "ready on" in serving.stderr.readline()
    assert json.loads(ready.read_text())["port"]
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=60)
    assert serving.returncode == 0
