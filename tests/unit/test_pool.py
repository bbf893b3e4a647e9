"""The pool of messages as workers share it."""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
from collections.abc import Iterator

import pytest

from loadkit.errors import PreflightError
from loadkit.run.pool import attach, shared
from loadkit.wire.render import Order, message_of, render
from loadkit.wire.script import Script

_TEXTS = ("get {n} {rand:1-5000}\n", "{conn:3}{uuid}\n")


def _script(order: Order = Order.TURN) -> Script:
    return render([message_of(text, {}) for text in _TEXTS], order, 5, 100)


@pytest.fixture
def pool() -> Iterator[int]:
    with shared(_script()) as fd:
        yield fd


@pytest.mark.parametrize("order", Order)
def test_what_is_attached_is_what_was_shared(order: Order) -> None:
    script = _script(order)
    with shared(script) as fd:
        found = attach(fd)
    assert bytes(found.content) == bytes(script.content)
    assert (list(found.ends), list(found.patches)) == (list(script.ends), list(script.patches))
    assert (found.block, found.starts) == (script.block, script.starts)


def test_what_has_nothing_fresh_has_no_patches() -> None:
    with shared(Script(b"abc", (3,))) as fd:
        assert list(attach(fd).patches) == []


def test_no_process_can_change_it(pool: int) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(pool, b"x", 0)
    for size in (0, 10**6):
        with pytest.raises(PermissionError):
            os.ftruncate(pool, size)
    with pytest.raises(PermissionError):
        mmap.mmap(pool, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(pool, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    with pytest.raises(TypeError):
        attach(pool).content[0] = 0  # type: ignore[index]


def test_it_is_closed_in_the_end() -> None:
    with shared(_script()) as fd:
        os.fstat(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_where_there_is_no_descriptor_for_it_that_is_said_in_a_line() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(PreflightError, match=r"make the pool of messages of .*KiB"), shared(_script()):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
