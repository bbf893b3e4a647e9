"""A run whose worker, or the process that it is forked from, is killed, or that a signal ends: in each of its stages.

Asserted are the exit status, what is said, the record and that no process is left. `make crashes` has every engine in
each of them; the suite has one.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadkit.measure.names import COUNTERS, STATE
from tests.conftest import ENGINES, skip_without
from tests.truth.conftest import assert_adds_up

from .test_faults import named, started, wait_until_gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_AT_ONCE = 5
_BOARD = "/memfd:loadkit-board"
_SIZE = 64


class Target:
    """An echo of so many messages on each connection: what is sent after them waits for its time-out."""

    def __init__(self, most: int) -> None:
        self._most_bytes = most * _SIZE
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._stop, self._stopped = socket.socketpair()
        self._left: dict[socket.socket, int] = {}
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._listener, self._stopped):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _events in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._stopped:
                        return
                    if sock is self._listener:
                        one, _address = sock.accept()
                        self._left[one] = self._most_bytes
                        selector.register(one, selectors.EVENT_READ)
                        self.accepted += 1
                    elif not self._echo(sock):
                        selector.unregister(sock)
                        sock.close()
                        del self._left[sock]

    def _echo(self, sock: socket.socket) -> bool:
        try:
            chunk = sock.recv(65536)
            sock.sendall(chunk[: self._left[sock]])
            self._left[sock] -= min(len(chunk), self._left[sock])
            return bool(chunk)
        except OSError:  # it was reset
            return False

    def close(self) -> None:
        self._stop.close()
        self._thread.join(60)
        for sock in (self._listener, self._stopped, *self._left):
            sock.close()


class Slot:
    """The worker's slot of the board, which is all of it, as its process has it mapped."""

    def __init__(self, words: NDArray[np.int64], phases: int) -> None:
        self._words = words
        self._page_words = (len(words) - len(STATE)) // phases

    def get(self, name: str) -> int:
        """One of STATE."""
        return int(self._words[STATE.index(name)])

    def replied(self, phase: int) -> int:
        """The replies of a phase that are counted by now."""
        return int(self._words[len(STATE) + phase * self._page_words + COUNTERS.index("replied")])


def slot_of(pid: int, phases: int) -> Slot | None:
    with contextlib.suppress(OSError):  # it has not begun, or is gone
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            if str(fd.readlink()).startswith(_BOARD):
                return Slot(np.memmap(fd, np.int64, "r"), phases)
    return None


@dataclass(frozen=True)
class Stage:
    """A stage of a run: the options that make it last, how it is known to have come, and what the target replies."""

    options: tuple[str, ...]
    has_come: Callable[[Slot, Target], bool]
    replies: int = 10**9  # on each connection
    is_measured: bool = False
    phases: int = 3  # ramp, hold, drain


_LONG = ("-d", "60s", "--warmup", "0s")
_STAGES = {
    # Its first connection is open, and has no reply.
    "first": Stage(_LONG, lambda _slot, target: target.accepted > 0, replies=0),
    "ramp": Stage(("-c", "60", "--connect-rate", "1", *_LONG), lambda slot, _target: slot.get("open") > 1),
    "warm-up": Stage(("-d", "60s", "--warmup", "60s"), lambda slot, _target: slot.replied(1) > 0, phases=4),
    "hold": Stage(_LONG, lambda slot, _target: slot.replied(1) > 10, is_measured=True),
    # What is under way as the hold ends is waited for.
    "drain": Stage(
        ("--warmup", "0s", "-d", "1s"), lambda slot, _target: slot.get("phase") == 2, replies=5, is_measured=True
    ),
}
_WORKER, _FORKER = "loadkit-blast-0", "loadkit-forker"
_ENDS: dict[str, tuple[str, int]] = {
    "worker": (_WORKER, signal.SIGKILL),
    "forker": (_FORKER, signal.SIGKILL),
    "Ctrl-C": ("", signal.SIGINT),
    "SIGTERM": ("", signal.SIGTERM),
}


def crash(engine: str, stage: Stage, end: tuple[str, int], path: Path) -> dict[str, Any]:
    """Has a run come into a stage, ends it there, and returns its record."""
    with contextlib.closing(Target(stage.replies)) as target:
        load = ("-c", "10", "-R", "100", "-w", "1", "-s", f"{_SIZE}B", "--timeout", "60s")
        command = ("blast", f"127.0.0.1:{target.port}", *load, *ENGINES[engine], *stage.options)
        with started(*command, "--no-progress", "-o", str(path)) as run:
            [worker] = named(run, _WORKER)
            deadline = time.monotonic() + 60
            while not ((slot := slot_of(worker, stage.phases)) and stage.has_come(slot, target)):
                assert run.poll() is None, run.communicate()
                assert time.monotonic() < deadline, "the stage does not come"
                time.sleep(0.01)
            send(run, end)
            _out, err = run.communicate(timeout=60)
            wait_until_gone(run)
    assert (run.returncode, err) == (status_of(end), "")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def send(run: subprocess.Popen[str], end: tuple[str, int]) -> None:
    """Sends the signal to the process of this name; without a name to the command, Ctrl-C as from a terminal to all."""
    name, number = end
    if number == signal.SIGINT:
        os.killpg(run.pid, number)
    else:
        os.kill(named(run, name)[0] if name else run.pid, number)


def status_of(end: tuple[str, int]) -> int:
    name, number = end
    return 4 if name else 128 + number


def complaint(record: dict[str, Any], end: tuple[str, int], is_measured: bool) -> str | None:
    """Says what is wrong with a record; None if nothing is."""
    assert_adds_up(record)
    name, number = end
    died = {
        _WORKER: "killed by SIGKILL",
        _FORKER: "lost: the process that it was forked from was killed, or hangs",
    }.get(name)
    interrupted = None if name else signal.Signals(number).name
    reasons = [reason["code"] for reason in record["verdict"]["reasons"]]
    found = (record["partial"], record["interrupted"], [worker["died"] for worker in record["workers"]])
    if found != (True, interrupted, [died]):
        return f"it ended by {found}"
    if died and (record["verdict"]["state"], reasons[:1]) != ("invalid", ["worker-died"]):
        return f"the verdict is {record['verdict']}"
    if (record["window"] is not None) != is_measured:
        return f"the window is {record['window']}"
    if is_measured and not record["messages"]["replied"]:
        return "nothing was measured"
    return None


def check_all(cases: list[tuple[str, str, str]], folder: Path) -> None:
    """Runs each case, an engine, a stage and an end, and asserts that none of them has anything wrong with it."""

    def one(case: tuple[str, str, str]) -> str | None:
        engine, stage, end = case
        try:
            record = crash(engine, _STAGES[stage], _ENDS[end], folder / f"{'-'.join(case)}.json")
            wrong = complaint(record, _ENDS[end], _STAGES[stage].is_measured)
        except Exception as error:
            wrong = repr(error)
        return f"{engine}, {stage}, {end}: {wrong}" if wrong else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        assert [said for said in pool.map(one, cases) if said] == []
    assert len(list(folder.iterdir())) == len(cases)


_ALL = [(stage, end) for stage in _STAGES for end in _ENDS]


def test_a_run_that_ends_in_any_stage_says_how_and_keeps_its_record(tmp_path: Path) -> None:
    engines = list(ENGINES)
    for engine in engines:
        skip_without(engine)
    # Each engine in each stage, and with each end.
    check_all([(engines[(at + at // 4) % 4], *case) for at, case in enumerate(_ALL)], tmp_path)


@pytest.mark.lengthy
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_ends_in_any_stage_says_how_and_keeps_its_record(engine: str, tmp_path: Path) -> None:
    skip_without(engine)
    check_all([(engine, *case) for case in _ALL], tmp_path)


@pytest.mark.parametrize("end", _ENDS)
def test_a_run_that_ends_before_its_workers_are_ready_says_so_in_one_line(end: str, tmp_path: Path) -> None:
    name, number = _ENDS[end]
    path = tmp_path / "run.json"
    with started("blast", "-c", "10", "-d", "60s", "--no-progress", "-o", str(path)) as run:
        if name != _WORKER:
            os.kill(named(run, _FORKER)[0], signal.SIGSTOP)  # then none of them ever is
        send(run, _ENDS[end])
        _out, err = run.communicate(timeout=60)
        wait_until_gone(run)
    if name == _WORKER and run.returncode == 4:  # it was ready by then
        assert json.loads(path.read_text())["workers"][0]["died"] == "killed by SIGKILL"
        return
    assert run.returncode == (1 if name else 128 + number), err
    [line] = err.splitlines()
    assert line.startswith("loadkit: ")
    assert ("killed by SIGKILL" if name else "before it had begun") in line
    assert not path.exists()
