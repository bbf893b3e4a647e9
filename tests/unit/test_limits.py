"""What the kernel refuses: one line with the limit in the way."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from loadkit.errors import PreflightError
from loadkit.limits import (
    limit_of,
    open_descriptors,
    refusal,
    require_memory,
    setting_up,
    thread_starts,
    within_memory,
)

Limit = Callable[[int, int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Has getrlimit tell of a limit that is set, and of no other."""
    told: dict[int, int] = {}
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: (told.get(which, resource.RLIM_INFINITY), resource.RLIM_INFINITY)
    )

    def set_(which: int, value: int) -> None:
        told[which] = value

    return set_


_LIMITS = [
    pytest.param(errno.EMFILE, resource.RLIMIT_NOFILE, 230, "230 files open (`ulimit -n`) and has", id="files"),
    pytest.param(errno.EAGAIN, resource.RLIMIT_NPROC, 7, "`ulimit -u` (7 per user)", id="processes"),
    pytest.param(errno.ENOMEM, resource.RLIMIT_AS, 2**28, "`ulimit -v` is 256 MiB per process", id="address space"),
    pytest.param(errno.ENOMEM, resource.RLIMIT_DATA, 2**27, "`ulimit -d` is 128 MiB per process", id="data"),
    pytest.param(errno.EFBIG, resource.RLIMIT_FSIZE, 1000, "`ulimit -f` is 1,000 B", id="size of a file"),
]


@pytest.mark.parametrize(("number", "which", "value", "named"), _LIMITS)
def test_an_error_names_the_limit_that_causes_it_and_how_far_it_reaches(
    limit: Limit, number: int, which: int, value: int, named: str
) -> None:
    limit(which, value)
    with pytest.raises(PreflightError) as caught, setting_up("make the board"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"cannot make the board: {os.strerror(number)}; ")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.ENFILE, "fs.file-max"),
        (errno.EAGAIN, "pids.max"),
        (errno.ENOMEM, "vm.overcommit_memory"),
        (errno.ENOSYS, "seccomp"),
    ],
)
def test_an_error_without_a_limit_of_this_process_names_what_else_causes_it(
    limit: Limit, number: int, named: str
) -> None:
    assert named in limit_of(OSError(number, os.strerror(number)))


def test_an_error_that_no_limit_causes_is_said_with_its_file_alone() -> None:
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/dev/null")
    assert str(refusal(error, "start")) == "cannot start: No such file or directory: /dev/null"


@pytest.mark.parametrize("turned", [setting_up("go"), within_memory()], ids=["setting up", "within memory"])
def test_too_little_memory_is_said_in_one_line(limit: Limit, turned: AbstractContextManager[None]) -> None:
    limit(resource.RLIMIT_AS, 2**28)
    with pytest.raises(PreflightError, match=r"`ulimit -v` is 256 MiB"), turned:
        raise MemoryError("Unable to allocate 200. KiB for an array\nwith shape (25600,)")


def test_other_errors_pass() -> None:
    for turned in (setting_up("go"), within_memory(), thread_starts()):
        with pytest.raises(ZeroDivisionError), turned:
            raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="another"), thread_starts():
        raise RuntimeError("another")


def test_a_thread_that_cannot_be_started_is_said_with_its_limits(limit: Limit) -> None:
    limit(resource.RLIMIT_NPROC, 3)
    with pytest.raises(PreflightError, match=r"^cannot start a thread: `ulimit -u` \(3 per user\).*`ulimit -s`"):
        with thread_starts():
            raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("which", "value", "named"),
    [
        (resource.RLIMIT_AS, 200 * 2**20 - 1, "`ulimit -v`"),
        (
            resource.RLIMIT_DATA,
            128 * 2**20 - 1,
            "`ulimit -d` is 128 MiB per process, and each process of loadkit needs",
        ),
    ],
)
def test_a_limit_below_what_any_run_needs_is_refused_before_anything_is_imported(
    limit: Limit, which: int, value: int, named: str
) -> None:
    require_memory()
    limit(which, value + 1)
    require_memory()
    limit(which, value)
    with pytest.raises(PreflightError) as caught:
        require_memory()
    assert named in str(caught.value)


def test_open_descriptors_are_counted_with_and_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    with contextlib.ExitStack() as opened:
        for _ in range(5):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        assert open_descriptors() == before + 5

        def refuse(_: str) -> list[str]:
            raise FileNotFoundError

        monkeypatch.setattr(os, "listdir", refuse)
        assert open_descriptors() == before + 5
