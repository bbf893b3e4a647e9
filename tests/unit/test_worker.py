"""What a worker process says when it cannot go on."""

from __future__ import annotations

import errno
import os
from multiprocessing.connection import Pipe

import pytest

from loadkit.errors import PreflightError
from loadkit.limits import limit_of
from loadkit.measure.board import Board, BoardLayout
from loadkit.run import worker


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(
            MemoryError(), f"it could not get the memory that it needs; {limit_of(MemoryError())}", id="no memory"
        ),
        pytest.param(
            OSError(errno.ENOMEM, "Cannot allocate memory"), "it could not get the memory", id="by the kernel"
        ),
        pytest.param(_raised(RuntimeError("closed"), MemoryError()), "it could not get the memory", id="as the cause"),
        pytest.param(PreflightError("it cannot be pinned"), "it cannot be pinned", id="an error of ours"),
        pytest.param(OSError(errno.EADDRINUSE, "in use"), "cannot go on: in use", id="an error of the system"),
        pytest.param(EOFError(), None, id="the parent is gone"),
    ],
)
def test_a_worker_that_fails_says_why_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, says: str | None
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(worker, "_do", fail)
    layout = BoardLayout(1, 1, 1000)
    board = Board(layout)
    ours, theirs = Pipe()
    with ours, theirs:
        ours.send(("its work", layout))
        status = worker.run_worker(theirs, os.dup(board.fd))
        board.close()
        assert status == (0 if says is None else 1)
        assert ours.poll() is (says is not None)
        if says is not None:
            said, text = ours.recv()
            assert said == "failed"
            assert text.startswith(says)
            assert "\n" not in text


def test_a_bug_is_said_in_one_line_and_its_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = Pipe()
    ours.send((None, "this is no layout of a board"))
    assert worker.run_worker(theirs, -1) == 1
    said, reason = ours.recv()
    assert (said, reason.startswith("AttributeError: "), reason.count("\n")) == ("failed", True, 0)
    assert "measure/board.py:" in reason
    assert "Traceback (most recent call last):" in caplog.text
