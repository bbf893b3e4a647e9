"""A network namespace of a test's own, with loopback up and sysctls of its own."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def network_namespace(**sysctls: object) -> tuple[str, ...]:
    """Returns what a command is put behind to run in a new namespace; `sysctls` are those of net.ipv4.

    Where this process may not make one, the test is skipped, unless nothing may be.
    """
    settings = "".join(f"echo '{value}' > /proc/sys/net/ipv4/{name} && " for name, value in sysctls.items())
    wrapper = ("unshare", "--net", "sh", "-c", f'ip link set lo up && {settings}exec "$@"', "sh")
    if not all(map(shutil.which, ("unshare", "ip"))):
        _skip("unshare (util-linux) and ip (iproute2) are missing")
    elif (made := subprocess.run((*wrapper, "true"), capture_output=True, text=True, check=False)).returncode:
        _skip(made.stderr.strip())
    return wrapper


def _skip(reason: str) -> None:
    assert "LOADKIT_SKIP_NOTHING" not in os.environ, reason
    pytest.skip(f"no network namespace of its own can be made here: {reason}")
