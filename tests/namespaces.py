"""Namespaces of a test's own: a network with loopback up, and for a command sysctls of its own; a small disk."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shlex
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def network_namespace(*setup: str, hosts: Path | None = None, **sysctls: object) -> tuple[str, ...]:
    """Returns what a command is put behind to run in a new namespace; `sysctls` are those of net.ipv4.

    `setup` are commands to be run there first. `hosts` is what the command sees as /etc/hosts.
    Where this process may not make one, the test is skipped, unless nothing may be.
    """
    commands = ["ip link set lo up", *setup]
    commands += [f"echo '{value}' > /proc/sys/net/ipv4/{name}" for name, value in sysctls.items()]
    if hosts:
        commands.append(f"mount --bind {shlex.quote(str(hosts))} /etc/hosts")
    spaces = ("--net", "--mount") if hosts else ("--net",)
    wrapper = ("unshare", *spaces, "sh", "-c", " && ".join([*commands, 'exec "$@"']), "sh")
    if not all(map(shutil.which, ("unshare", "ip"))):
        _skip("unshare (util-linux) and ip (iproute2) are missing")
    elif (made := subprocess.run((*wrapper, "true"), capture_output=True, text=True, check=False)).returncode:
        _skip(made.stderr.strip())
    return wrapper


def small_disk(folder: Path, size_bytes: int, cwd: Path, setup: str = "true") -> tuple[str, ...]:
    """Returns what a command is put behind to find a disk of that size in the folder, after `setup` was done on it.

    It runs in `cwd`, which may be on that disk. Where this process may not make one, the test is skipped, unless
    nothing may be.
    """
    at, after = shlex.quote(str(folder)), shlex.quote(str(cwd))
    mounted = f'mount -t tmpfs -o size={size_bytes} none {at} && cd {at} && {{ {setup}; }} && cd {after} && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", mounted, "sh")
    if not shutil.which("unshare"):
        _skip("unshare (util-linux) is missing", "disk")
    elif (made := subprocess.run((*wrapper, "true"), capture_output=True, text=True, check=False)).returncode:
        _skip(made.stderr.strip(), "disk")
    return wrapper


_CLONE_NEWNET = 0x40000000  # unshare(2)
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # netdevice(7)


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Has this thread, and those that it starts, in a network namespace of its own: all ports are theirs.

    Where this process may not make one they stay where they are, and another process may have a port.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:  # noqa: PTH123 - its descriptor is wanted
        if libc.unshare(_CLONE_NEWNET):
            yield
            return
        try:
            with socket.socket() as sock:
                fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
            yield
        finally:
            if libc.setns(before.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot go back to the network namespace of all")


def _skip(reason: str, what: str = "network namespace") -> None:
    assert "LOADKIT_SKIP_NOTHING" not in os.environ, reason
    pytest.skip(f"no {what} of its own can be made here: {reason}")
