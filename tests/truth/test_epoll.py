"""A socket that epoll does not take: fs.epoll.max_user_watches is reached, or the kernel has no memory for it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loadkit.engine.compiled import native_missing
from tests.conftest import Serve

from .conftest import Run, assert_adds_up

pytestmark = pytest.mark.slow

# Put between a process and its C library: the third stream socket is refused, as at a limit.
_REFUSES_THE_THIRD = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event) {
    static int count;
    int domain = 0;
    socklen_t length = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    if (domain == AF_INET && operation == EPOLL_CTL_ADD && ++count == 3) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc builds what refuses the socket")
@pytest.mark.skipif(bool(native_missing()), reason="the other engines call epoll_ctl by way of their loops")
@pytest.mark.parametrize("trigger", ["--level-triggered", "--edge-triggered"])
def test_a_socket_that_epoll_refuses_is_an_error_of_its_own(
    serve: Serve, blast: Callable[..., Run], tmp_path: Path, trigger: str
) -> None:
    library = tmp_path / "refuses_the_third.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=_REFUSES_THE_THIRD, text=True, check=True)
    options = ("-c", "5", "-w", "1", "-n", "500", "--warmup", "0s", "--engine", "native", trigger)
    run = blast(f"127.0.0.1:{serve('-w', '1').port}", *options, wrapper=("env", f"LD_PRELOAD={library}"))
    assert run.end() == 4
    errors = [(row["step"], row["error"], row["count"]) for row in run.record["errors"]]
    assert errors == [("connect", "ENOSPC", 1)]
    assert run.record["messages"]["replied"] >= 499  # the others go on
    assert_adds_up(run.record)
