"""The doctor as a shell sees it, on the machine that this is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Loadkit

_FEW_FILES = ("prlimit", "--nofile=32:32")


def _findings(loadkit: Loadkit, *arguments: object, wrapper: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Returns the findings by their code."""
    said = json.loads(loadkit("doctor", "--json", *arguments, wrapper=wrapper).stdout)
    assert (said["format"], said["version"]) == ("loadkit-findings", 1)
    return {finding["code"]: finding for finding in said["findings"]}


def _line(finding: dict[str, Any]) -> str:
    return "{code}: {seen}; needed: {needed}; {why}; fix: {fix}".format(**finding)


# A network namespace that is reached by a veth, as docker gives a container one; sh goes on with the command behind it.
_VETH = (
    "ip link add eth7 type veth peer name other && ip addr add 198.18.0.1/24 dev eth7 && ip link set eth7 up && "
    'ip link set other up && ip route add default via 198.18.0.2 && exec "$@"'
)


@pytest.mark.slow
@pytest.mark.skipif(
    "LOADKIT_SKIP_NOTHING" not in os.environ and (os.geteuid() != 0 or not shutil.which("ip")),
    reason="root makes a network namespace, with ip (Debian: iproute2)",
)
def test_a_network_namespace_is_named_to_both_ends(loadkit: Loadkit) -> None:
    inside = ("unshare", "--net", "sh", "-c", _VETH, "sh")
    for asked in (("--serve",), ("198.18.0.2:7000",)):
        found = _findings(loadkit, "-c", 10, *asked, wrapper=inside)["network"]
        assert found["seen"].startswith("eth7 is a veth")
        assert "--network host" in found["fix"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "asked"),
    [
        pytest.param(("blast", "-c", "10"), ("-c", "10"), id="blast"),
        pytest.param(("serve", "127.0.0.1:0"), ("-c", "10", "--serve"), id="serve"),
    ],
)
def test_too_few_files_are_refused_in_the_doctor_s_words(
    loadkit: Loadkit, command: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    found = _findings(loadkit, *asked, wrapper=_FEW_FILES)["nofile"]
    assert found["level"] == "fail"
    refused = loadkit(*command, wrapper=_FEW_FILES)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    # The fix is for as many connections as are asked for; of serve nobody has said.
    assert refused.stderr.partition("; fix: ")[0] == f"loadkit: {_line(found)}".partition("; fix: ")[0]


@pytest.mark.slow
def test_an_ordinary_run_begins_without_a_word(loadkit: Loadkit) -> None:
    done = loadkit("blast", "-c", "20", "-d", "100ms", "--warmup", "0s")
    assert done.stderr == ""
    assert _findings(loadkit, "-c", "20")["nofile"]["level"] == "ok"


@pytest.mark.slow
def test_the_fix_script_is_one_a_shell_takes_and_applies_nothing(loadkit: Loadkit, tmp_path: Path) -> None:
    sysctls = [Path("/proc/sys") / name for name in ("fs/file-max", "fs/nr_open", "kernel/pid_max")]
    before = [path.read_text() for path in sysctls]
    assert loadkit("doctor", "-c", "900m", "--fix-script", "fix.sh").returncode == 1
    text = (tmp_path / "fix.sh").read_text()
    subprocess.run(["sh", "-n", "fix.sh"], cwd=tmp_path, check=True)
    assert text.startswith("#!/bin/sh\n")
    assert "\n# cannot: c=900,000,000 does not fit this machine: " in text
    assert [path.read_text() for path in sysctls] == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("-c", "0"), 2, "--connections: 0 is below the minimum of 1"),
        (("-c", "2000m"), 2, "--connections: 2,000,000,000 is above the maximum of 1,000,000,000"),
        (("-c", "abc"), 2, "--connections: expected a whole number"),
        (("--churn", "x"), 2, "--churn: expected a rate"),
        (("--churn", "0"), 2, "--churn: a rate of 0 closes no connection; leave it out"),
        (("--source", "x", "10.0.0.5:7"), 2, "--source: expected a network such as 10.0.0.0/28"),
        (("--serve", "127.0.0.1:7"), 2, "--serve: the connections come from elsewhere; leave the target out"),
        (("--serve", "--source", "10.0.0.0/28"), 2, "--serve: the connections come from elsewhere; leave --source out"),
        (("10.0.0.5",), 2, "expected HOST:PORT such as 127.0.0.1:7000"),
        (("--fix-script", ""), 2, "--fix-script: give the name of a file"),
        (("--fix-script", "nowhere/fix.sh"), 1, "nowhere/fix.sh: cannot be written"),
        (("--fix-script", "."), 1, ".: is a directory; give a file name"),
        (("[::1]:7", "--source", "127.0.0.2"), 2, "--source 127.0.0.2 is IPv4 and the target ::1 is IPv6: "),
        (("nohost.invalid:7",), 1, "'nohost.invalid' does not resolve"),
    ],
)
def test_bad_input_is_one_line(
    loadkit: Loadkit, tmp_path: Path, arguments: tuple[str, ...], status: int, says: str
) -> None:
    done = loadkit("doctor", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"loadkit: {says}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_conclusion_is_the_first_line(loadkit: Loadkit) -> None:
    fits = loadkit("doctor", "-c", "100")
    assert fits.stdout.startswith("c=100 can run here: 1 process to blast, 1 process to serve")
    assert (fits.returncode, fits.stderr) == (0, "")
    does_not = loadkit("doctor", "-c", "900m")
    assert does_not.stdout.startswith("cannot: c=900,000,000 does not fit this machine: ")
    assert (does_not.returncode, does_not.stderr) == (1, "")
