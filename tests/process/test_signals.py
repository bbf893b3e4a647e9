"""Signals at any time: 128 + n, at most one line, and nothing left. `make signals` sends more of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadkit.run.signals import ENDING
from tests.conftest import Serve

from .test_faults import named, started, wait_until_gone
from .test_serve import connect, echoes, refuses_soon

pytestmark = pytest.mark.slow

# As the console script has it, and as `python -m loadkit`. Both say when loadkit's own first line is about to run; an
# audit event is raised then (sys.addaudithook).
_SAY = (
    "import os, re, runpy, sys; sys.addaudithook(lambda event, of: event == 'exec' and "
    "of[0].co_filename.endswith('loadkit/__init__.py') and os.write({fd}, b'!')); "
)
_STARTS = (
    _SAY + "from loadkit.__main__ import main; main()",
    _SAY + "runpy.run_module('loadkit', run_name='__main__', alter_sys=True)",
)
_BLAST = ("blast", "-c", "10", "-R", "100", "-d", "60s", "--warmup", "0s", "-w", "1", "--no-progress", "-o", "run.json")
_SERVE = ("serve", "127.0.0.1:0", "-w", "1")
_AT_ONCE = 8


@dataclass
class Ended:
    """How a command ended that a signal was sent to."""

    at_ms: float
    status: int  # as a shell has it: 128 + n, too, for one that the kernel ended
    out: str
    err: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.at_ms:.0f} ms: {self.status}, {self.out[:80]!r}, {self.err[-300:]!r}"


def send(command: Sequence[str], number: int, at: int, delay_s: float, folder: Path) -> Ended:
    """Starts the command, and sends the signal so long after its first line: to it, or as a terminal to its group."""
    folder.mkdir()
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTS[at % 2].format(fd=write), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=[write],
        cwd=folder,
    )
    os.close(write)
    try:
        assert os.read(read, 1) == b"!"
        time.sleep(delay_s)  # which is what is tried
        (os.killpg if at // 2 % 2 else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=60)
        wait_until_gone(process)
    finally:
        os.close(read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    status = process.returncode
    return Ended(delay_s * 1000, status if status >= 0 else 128 - status, out, err, folder)


def complaint(ended: Ended, command: str, number: signal.Signals) -> str | None:
    """Says what is wrong with an end."""
    lines, files = ended.err.splitlines(), {path.name for path in ended.folder.iterdir()}
    if command == "serve" and lines and "ready on" in lines[0]:
        return None if (ended.status, len(lines)) == (0, 1) and "served 0" in ended.out else "it served"
    if ended.err.endswith("\nKeyboardInterrupt\n") and "loadkit" not in ended.err:
        return None  # Python's own: loadkit's first line had not run yet
    if ended.status != 128 + number:
        return "status"
    if len(lines) > 1:
        return "lines"
    if not ended.out:
        return "files" if files else None
    record = json.loads((ended.folder / "run.json").read_text())
    is_right = record["partial"] and record["interrupted"] == number.name and files == {"run.json"} and not lines
    return None if is_right else "record"


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_a_signal_in_the_first_second_ends_it_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    count = pytestconfig.getoption("--signals")

    def one(at: int) -> str | None:
        command = (_BLAST, _SERVE)[at % 2]
        ended = send(command, number, at // 2, (at + 0.5) / count, tmp_path / str(at))
        wrong = complaint(ended, command[0], number)
        return f"{command[0]}: {wrong}: {ended}" if wrong else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        assert [said for said in pool.map(one, range(count)) if said] == []


def test_a_ctrl_c_while_the_handlers_are_set_ends_it_without_a_traceback() -> None:
    program = (
        "import _signal, os; set_it = _signal.signal; "
        "_signal.signal = lambda number, to: (number == 2 and os.kill(os.getpid(), 2), set_it(number, to)); "
        "from loadkit.__main__ import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program, "serve"], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


# -- what the caller has set


def set_up(*, ignored: Sequence[int] = (), blocked: Sequence[int] = ()) -> Callable[[], None]:
    """Returns what a command is started with, as by nohup, a script's `&`, or a program that waits for signals."""

    def apply() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

    return apply


def wait_for_line(process: subprocess.Popen[str], *said: str) -> None:
    """Waits until it has said a line on stderr that has all of these in it."""
    assert process.stderr
    for line in process.stderr:
        if all(word in line for word in said):
            return
    raise AssertionError(f"it did not say {said}")


def test_a_signal_that_is_ignored_at_the_start_stays_so_in_every_process() -> None:
    with started("serve", "127.0.0.1:0", "-w", "1", set_up=set_up(ignored=(signal.SIGHUP, signal.SIGINT))) as process:
        wait_for_line(process, "ready on")
        pids = [process.pid, *named(process, "loadkit-forker"), *named(process, "loadkit-serve-0")]
        for pid in pids:
            status = Path(f"/proc/{pid}/status").read_text()
            ignored = int(re.findall(r"^SigIgn:\s*(\w+)", status, re.MULTILINE)[0], 16)
            for number in (signal.SIGHUP, signal.SIGINT):
                assert ignored >> (number - 1) & 1, status
        for number in (signal.SIGHUP, signal.SIGINT):
            os.killpg(process.pid, number)
        os.killpg(process.pid, signal.SIGUSR1)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("served 0 connections")


def test_with_signals_blocked_by_the_caller_a_run_ends_and_a_server_replaces_its_workers_and_ends() -> None:
    quick = ("-c", "10", "-d", "100ms", "--warmup", "0s", "--connect-rate", "10k", "-w", "1", "-q")
    blocked, no_child = set_up(blocked=(signal.SIGCHLD, *ENDING)), set_up(ignored=[signal.SIGCHLD])
    with (
        started("serve", "127.0.0.1:0", "-w", "1", set_up=blocked) as server,
        started("blast", *quick, set_up=blocked) as run,
        started("blast", *quick, set_up=no_child) as other,
    ):
        wait_for_line(server, "ready on")
        os.kill(named(server, "loadkit-serve-0")[0], signal.SIGKILL)
        wait_for_line(server, "killed by SIGKILL", "another one has taken its place")
        server.send_signal(signal.SIGTERM)
        for process in (server, run, other):
            process.communicate(timeout=60)
        assert server.returncode == 0
        assert run.returncode in (0, 4)
        assert other.returncode in (0, 4)


# -- what keeps a command waiting


def test_ctrl_c_does_not_wait_for_workers_that_start(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    with started("serve", "127.0.0.1:0", "-w", "1", "--app", "slow:App", cwd=tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "importing\n"
        os.killpg(process.pid, signal.SIGINT)
        _out, err = process.communicate(timeout=60)  # a tenth of what the import takes
        assert (process.returncode, err) == (130, "loadkit: SIGINT ended the command before it had begun\n")
        wait_until_gone(process)


def test_a_signal_does_not_wait_for_name_servers() -> None:
    # libc's sleep is what a name server that does not answer is to it: nothing of Python's, and begun again.
    program = (
        "import ctypes, socket, sys; from loadkit.__main__ import main; "
        "socket.getaddrinfo = lambda *_, **__: (print('asked', flush=True), ctypes.CDLL(None).sleep(600)); main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "ping", "nowhere:7000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"asked\n"
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (143, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_second_signal_ends_serve_with_its_number(serve: Serve, number: signal.Signals) -> None:
    served = serve("-w", "1", "--grace", "1h")
    with connect(served) as sock:
        assert echoes(sock)
        served.signal(signal.SIGHUP)
        assert refuses_soon(served)
        served.signal(number)
        assert served.end()[0] == 128 + number


# -- a program that calls the library


_PROGRAM = """
import faulthandler, os, signal, sys, threading, time
import loadkit.sync

def when_running():
    while not any("loadkit-blast" in open(f"/proc/{pid}/comm").read() for pid in descendants()):
        time.sleep(0.02)
    time.sleep(0.3)
    BODY

def descendants():
    found, left = [], [os.getpid()]
    while left:
        pid = left.pop()
        for task in os.listdir(f"/proc/{pid}/task"):
            children = open(f"/proc/{pid}/task/{task}/children").read().split()
            found += children
            left += children
    return found

def run(duration):
    return loadkit.sync.blast(connections=5, rate=100, duration=duration, warmup="0s", workers=1)

if __name__ == "__main__":
    threading.Thread(target=when_running, daemon=True).start()
    MAIN
"""


# What happens beside the run once that is under way, and what the program does.
_PROGRAMS = {
    "default": ("os.kill(os.getpid(), signal.SIGUSR1)", "run('60s')"),
    "in use": (
        "[os.kill(os.getpid(), number) for number in (signal.SIGHUP, signal.SIGUSR1)]",
        "signal.signal(signal.SIGHUP, lambda *_: print('reload'))\n"
        "faulthandler.register(signal.SIGUSR1, all_threads=False)\n"
        "print(run('3s').partial)\n"
        "os.kill(os.getpid(), signal.SIGUSR1)",
    ),
    "handler": (
        "os.kill(os.getpid(), signal.SIGTERM)",
        "signal.signal(signal.SIGTERM, lambda *_: print('stop'))\nrecord = run('60s')\n"
        "print(record.partial, record.interrupted)",
    ),
    "blocked": (
        "pass",
        "blocked = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, blocked)\nprint(run('100ms').partial)\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked)",
    ),
}


@pytest.fixture(scope="module")
def programs() -> dict[str, subprocess.CompletedProcess[str]]:
    """Has run each of them, all at once."""

    def run(body: str, main: str) -> subprocess.CompletedProcess[str]:
        text = _PROGRAM.replace("BODY", body).replace("MAIN", main.replace("\n", "\n    "))
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)

    with ThreadPoolExecutor() as pool:
        return dict(zip(_PROGRAMS, pool.map(run, *zip(*_PROGRAMS.values(), strict=True)), strict=True))


Programs = dict[str, subprocess.CompletedProcess[str]]


def test_a_signal_that_would_end_a_program_ends_its_run_first(programs: Programs) -> None:
    done = programs["default"]
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGUSR1, "", "")


def test_a_signal_that_a_program_has_a_use_for_does_not_end_its_run(programs: Programs) -> None:
    done = programs["in use"]
    assert (done.returncode, done.stdout) == (0, "reload\nFalse\n")
    assert done.stderr.count("most recent call first") == 2


def test_a_program_s_own_handler_of_sigterm_has_the_partial_record(programs: Programs) -> None:
    done = programs["handler"]
    assert (done.returncode, done.stdout, done.stderr) == (0, "stop\nTrue SIGTERM\n", "")


def test_a_program_keeps_the_signals_that_it_blocks(programs: Programs) -> None:
    done = programs["blocked"]
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\nTrue\n", "")
