"""The process that workers are forked from: what it says when it cannot."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import loadkit.sync
from loadkit.errors import Interrupted, PreflightError, WorkerError
from loadkit.run.child import LOST
from loadkit.run.forker import Forker
from loadkit.run.interpreter import Interpreter
from loadkit.run.signals import Interrupts

pytestmark = pytest.mark.slow


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_that_cannot_be_started_says_what_limits_processes_and_keeps_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = open_files()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(
        PreflightError, match=r"^cannot start Python, .*: Resource temporarily unavailable; .*pids\.max"
    ):
        Forker(Interrupts())
    assert open_files() == before


def test_one_that_was_killed_says_so_when_it_is_asked_and_its_children_are_lost() -> None:
    before = open_files()
    with Interrupts() as interrupts, Forker(interrupts) as forker:
        ours, theirs = socket.socketpair()
        board = os.open(os.devnull, os.O_RDONLY)
        child = forker.fork(theirs.fileno(), board)  # it waits for its work, and ends when the pipe does
        theirs.close()
        os.kill(forker.pid, signal.SIGKILL)
        assert select.select([child.sentinel], [], [], 60)[0]  # the forker's end of it is closed
        with pytest.raises(
            WorkerError, match="forked from was killed by SIGKILL: by another process, or by the kernel"
        ):
            forker.fork(board, board)
        child.poll()
        ours.close()
        assert select.select([child.sentinel], [], [], 60)[0]  # its own end
        assert child.poll() == LOST
        child.close()
        os.close(board)
    assert open_files() == before


def test_one_that_is_stopped_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forker, "patience_s", 0.5)
    before = open_files()
    with Interrupts() as interrupts, Forker(interrupts) as forker:
        pipe, theirs = os.pipe()
        forker.fork(theirs, pipe).close()
        os.kill(forker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerError, match=rf"\(pid {forker.pid}\) has not answered for \d s: it was stopped"):
            forker.fork(theirs, pipe)
        for fd in (pipe, theirs):
            os.close(fd)
    assert open_files() == before


def test_a_parent_that_goes_before_it_has_read_the_answer_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Interrupts() as interrupts:
        interpreter = Interpreter(interrupts)
        interpreter.wait_ready()
        pipe, theirs = os.pipe()
        socket.send_fds(interpreter.socket, [b"F"], [theirs, pipe, theirs])
        assert select.select([interpreter.socket], [], [], 20)[0]
        interpreter.close()  # as a signal has it: the worker's pid is there, and not read
        for fd in (pipe, theirs):
            os.close(fd)
    assert interpreter.process.returncode == 0
    assert capfd.readouterr().err == ""


def test_a_signal_that_came_with_an_answer_is_not_waited_with_until_all_workers_are_there() -> None:
    with Interrupts() as interrupts, Forker(interrupts) as forker:
        pipe, theirs = os.pipe()
        forker.fork(theirs, pipe).close()
        interrupts.stop()
        interrupts.wait([])  # as that for the answer does: what wakes it is taken in
        with pytest.raises(Interrupted):
            forker.fork(theirs, pipe)
        for fd in (pipe, theirs):
            os.close(fd)


def test_a_signal_that_the_program_has_a_use_for_does_not_end_the_wait_for_it() -> None:
    former = signal.signal(signal.SIGURG, lambda *_: None)
    try:
        with Interrupts() as interrupts, Forker(interrupts) as forker:
            pipe, theirs = os.pipe()
            signal.raise_signal(signal.SIGURG)  # before the forker can be ready
            forker.fork(theirs, pipe).close()
            signal.raise_signal(signal.SIGURG)
            forker.fork(theirs, pipe).close()
            for fd in (pipe, theirs):
                os.close(fd)
    finally:
        signal.signal(signal.SIGURG, former)


def test_workers_cannot_start_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forker, "is_in_worker", True)
    with pytest.raises(WorkerError, match="belongs under `if __name__"):
        Forker(Interrupts())


@pytest.mark.parametrize("engine", ["auto", "uvloop", "asyncio"])
def test_what_an_app_starts_would_inherit_nothing_of_its_worker(engine: str) -> None:
    with loadkit.sync.serve(workers=1, engine=engine) as server, socket.create_connection((server.host, server.port)):
        [pid] = server.pids
        files = [file for file in Path(f"/proc/{pid}/fd").iterdir() if int(file.name) > 2]
        flags = {str(file.readlink()): flags_of(pid, file.name) for file in files}
        assert any("loadkit-board" in name for name in flags)
        assert [name for name, flag in flags.items() if not flag & os.O_CLOEXEC] == []


def flags_of(pid: int, fd: str) -> int:
    return int(re.findall(r"flags:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text())[0], 8)
