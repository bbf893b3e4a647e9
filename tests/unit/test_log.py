from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from loadkit.log import log


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """What a program's handler writes of loadkit's log."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    log.addHandler(handler)
    yield written
    log.removeHandler(handler)


def test_a_message_is_one_line_whatever_it_quotes(heard: io.StringIO) -> None:
    log.warning("worker %d %s", 1, "x\n::error::\x1b[2J")
    assert heard.getvalue() == "loadkit: worker 1 x ::error::\\x1b[2J\n"


def test_a_traceback_keeps_its_lines_and_nothing_obeys_them(heard: io.StringIO) -> None:
    try:
        raise ValueError("x\n::error::\x1b[2J")
    except ValueError as error:
        log.error("app failed", exc_info=error)
    lines = heard.getvalue().split("\n")
    assert lines[:2] == ["loadkit: app failed", "Traceback (most recent call last):"]
    assert lines[-3:] == ["ValueError: x", "\\x3a:error::\\x1b[2J", ""]


def test_a_handler_that_takes_exceptions_apart_still_has_them(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("x")
    log.error("app failed", exc_info=error)
    assert caplog.records[-1].exc_info == (ValueError, error, None)
