"""The doctor as a shell sees it, and that blast and serve refuse and warn in its words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Loadkit

_FEW_FILES = ("prlimit", "--nofile=64:64")


def findings(loadkit: Loadkit, *arguments: object, wrapper: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Returns the findings by their code."""
    said = json.loads(loadkit("doctor", "--json", *arguments, wrapper=wrapper).stdout)
    assert (said["format"], said["version"]) == ("loadkit-findings", 1)
    return {finding["code"]: finding for finding in said["findings"]}


def line(finding: dict[str, Any]) -> str:
    return "{code}: {seen}; needed: {needed}; {why}; fix: {fix}".format(**finding)


@pytest.mark.parametrize(
    ("command", "asked", "wrapper", "code"),
    [
        pytest.param(("blast", "-c", "10"), ("-c", "10"), _FEW_FILES, "nofile", id="files of a process"),
        pytest.param(("blast", "-c", "900m"), ("-c", "900m"), (), "file-max", id="files of the machine"),
        pytest.param(
            ("blast", "198.51.100.1:7", "-c", "200k"), ("-c", "200k", "198.51.100.1:7"), (), "ports", id="ports"
        ),
        pytest.param(("serve", "127.0.0.1:0"), ("--serve",), _FEW_FILES, "nofile", id="serve"),
    ],
)
def test_blast_and_serve_refuse_in_the_doctor_s_words(
    loadkit: Loadkit, command: tuple[str, ...], asked: tuple[str, ...], wrapper: tuple[str, ...], code: str
) -> None:
    found = findings(loadkit, *asked, wrapper=wrapper)[code]
    assert found["level"] == "fail"
    refused = loadkit(*command, wrapper=wrapper)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    if code != "file-max":  # whose number of open files is another one each time
        # The fix is for as many connections as are asked for; of serve nobody has said.
        assert refused.stderr.partition("; fix: ")[0] == f"loadkit: {line(found)}".partition("; fix: ")[0]
    assert refused.stderr.startswith(f"loadkit: {code}: ")


def test_an_ordinary_run_begins_without_a_word(loadkit: Loadkit) -> None:
    done = loadkit("blast", "-c", "20", "-d", "100ms", "--warmup", "0s")
    assert done.stderr == ""
    assert findings(loadkit, "-c", "20")["nofile"]["level"] == "ok"


def test_the_fix_script_is_one_a_shell_takes_and_applies_nothing(loadkit: Loadkit, tmp_path: Path) -> None:
    before = Path("/proc/sys/fs/file-max").read_text()
    assert loadkit("doctor", "-c", "900m", "--fix-script", "fix.sh").returncode == 1
    text = (tmp_path / "fix.sh").read_text()
    subprocess.run(["sh", "-n", "fix.sh"], cwd=tmp_path, check=True)
    assert "sysctl -w fs.file-max=" in text
    assert text.startswith("#!/bin/sh\n")
    assert Path("/proc/sys/fs/file-max").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("-c", "0"), 2, "--connections: 0 is below the least, 1"),
        (("-c", "abc"), 2, "--connections: expected a whole number"),
        (("--churn", "x"), 2, "--churn: "),
        (("--serve", "127.0.0.1:7"), 2, "--serve: the connections come from elsewhere; leave HOST:PORT out"),
        (("--fix-script", "nowhere/fix.sh"), 1, "nowhere/fix.sh: cannot be written"),
        (("nohost.invalid:7",), 1, "'nohost.invalid' does not resolve"),
    ],
)
def test_bad_input_is_one_line(loadkit: Loadkit, arguments: tuple[str, ...], status: int, says: str) -> None:
    done = loadkit("doctor", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"loadkit: {says}")


def test_the_conclusion_is_the_first_line(loadkit: Loadkit) -> None:
    assert loadkit("doctor", "-c", "100").stdout.startswith(
        "c=100 can run here: 1 process to blast, 1 process to serve"
    )
    assert loadkit("doctor", "-c", "900m").stdout.startswith("cannot: c=900,000,000 does not fit this machine: ")
