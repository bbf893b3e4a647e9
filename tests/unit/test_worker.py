from __future__ import annotations

from multiprocessing import Pipe

import pytest

from loadkit.run.worker import run_worker


def test_a_bug_is_said_in_one_line_and_its_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = Pipe()
    ours.send((None, "this is no layout of a board"))
    assert run_worker(theirs, -1) == 1
    said, reason = ours.recv()
    assert (said, reason.startswith("AttributeError: "), reason.count("\n")) == ("failed", True, 0)
    assert "measure/board.py:" in reason
    assert "Traceback (most recent call last):" in caplog.text
