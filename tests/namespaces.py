"""A network namespace of a test's own, with loopback up and sysctls of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
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


def _skip(reason: str) -> None:
    assert "LOADKIT_SKIP_NOTHING" not in os.environ, reason
    pytest.skip(f"no network namespace of its own can be made here: {reason}")
