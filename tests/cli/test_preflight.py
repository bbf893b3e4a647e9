"""What cannot work is refused before the first socket, and what limits a run is warned of: in the doctor's words.

The commands run in this process, on a machine that is what a test needs; what would start processes stands still.
"""

from __future__ import annotations

import errno
import json
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import loadkit.doctor.locate
import loadkit.host
import loadkit.library.prepare
import loadkit.run.blast
import loadkit.run.serve
import loadkit.sockets
from loadkit.cgroup import CgroupLimits
from loadkit.cli.app import run as run_command
from loadkit.errors import WorkerError
from tests.unit.made_up import made_up_host

_STARTED = "the run has begun"
_NOWHERE = "198.51.100.1:7000"  # RFC 5737
_SOCKETS = loadkit.sockets.Sockets(
    used={("10.0.0.9", "198.51.100.1"): 900, (None, "198.51.100.1"): 900},
    waiting={("10.0.0.9", "198.51.100.1"): 700, (None, "198.51.100.1"): 700},
    bound=frozenset(range(50_000, 50_032)),
    listeners=frozenset(),
)


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    """Gives the limit of open files back, which blast and serve raise."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `loadkit …` on the made-up host with some facts changed; what has passed the checks says _STARTED."""

    def start(*_: object, **__: object) -> None:
        raise WorkerError(_STARTED)

    monkeypatch.setattr(loadkit.run.blast, "run_blast", start)
    monkeypatch.setattr(loadkit.run.serve, "run_serve", start)
    monkeypatch.setattr(loadkit.doctor.locate, "open_descriptors", lambda: 7)
    # The doctor asks by itself, blast and serve by way of prepare.py.
    for module in (loadkit.sockets, loadkit.library.prepare):
        monkeypatch.setattr(module, "read_sockets", lambda *_, **__: _SOCKETS)
    # Whether this machine has a way to the address is not asked here.
    missing = errno.EADDRNOTAVAIL
    monkeypatch.setattr(
        loadkit.doctor.locate, "find_obstacle", lambda source, *_: missing if source == "192.0.2.77" else None
    )
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **facts: Any) -> Said:
        for module in (loadkit.host, loadkit.library.prepare):
            monkeypatch.setattr(module, "read_host", lambda: made_up_host(**facts))
        monkeypatch.setattr(sys, "argv", ["loadkit", *arguments])
        with pytest.raises(SystemExit) as left:
            run_command()
        out, err = capsys.readouterr()
        return Said(int(str(left.value)), out, err)

    return run


def _doctor_says(run: Run, asked: tuple[str, ...], facts: dict[str, Any]) -> dict[str, str]:
    """Returns the doctor's findings that are not ok, each in one line, by their code."""
    said = json.loads(run("doctor", "--json", *asked, **facts).out)
    return {
        found["code"]: "{code}: {seen}; needed: {needed}; {why}; fix: {fix}".format(**found)
        for found in said["findings"]
        if found["level"] != "ok"
    }


_LITTLE = {"memory_available_bytes": 50_000_000}
_REFUSED = [
    pytest.param(
        ("blast", "-c", "20k"), ("-c", "20k"), _LITTLE, "memory", ("47.7 MiB available", "about 2"), id="memory, blast"
    ),
    pytest.param(
        ("serve", "--max-connections", "20k"),
        ("-c", "20k", "--serve"),
        _LITTLE,
        "memory",
        ("47.7 MiB available", "about 1"),
        id="memory, serve",
    ),
    pytest.param(
        ("blast", "-c", "20k"),
        ("-c", "20k"),
        {"cgroup": CgroupLimits(memory_max_bytes=64 * 2**20, memory_used_bytes=2**20)},
        "memory",
        ("memory.max 64 MiB less 1 MiB in use", "docker run --memory="),
        id="memory of a container",
    ),
    pytest.param(
        ("blast", "-c", "10"),
        ("-c", "10"),
        {"nofile_hard": 36},
        "nofile",
        ("a worker needs 36 for itself, which leaves 0 of 36", "LimitNOFILE="),
        id="files of a process, blast",
    ),
    pytest.param(
        ("serve", "--max-connections", "10"),
        ("-c", "10", "--serve"),
        {"nofile_hard": 36},
        "nofile",
        ("a worker needs 36 for itself, which leaves 0 of 36", "docker run --ulimit"),
        id="files of a process, serve",
    ),
    pytest.param(
        ("blast", "-c", "3000"),
        ("-c", "3000"),
        {"nofile_hard": 64},
        "parent",
        ("3 for each of 216 workers + 108 to hold addresses + 16 of its own + 7 open = 779, more than 64", "-Hn 779"),
        id="files of the process that starts the workers",
    ),
    pytest.param(
        ("blast", "-c", "1k"),
        ("-c", "1k"),
        {"file_max": 2500},
        "file-max",
        ("the whole machine has 1,500 files left and 2,000 are needed", "sysctl -w fs.file-max="),
        id="files of the machine",
    ),
    pytest.param(
        ("blast", _NOWHERE, "-c", "200k"),
        ("-c", "200k", _NOWHERE),
        {},
        "ports",
        (
            # 60,999 - 32,768 + 1 - 32; less 900
            "less 0 reserved and 32 that something listens on (900 in use towards that port, 700 of them in TIME_WAIT)",
            "1 source address(es) x 1 destination(s) x 28,200 ephemeral ports, less 900 in use or TIME_WAIT = 27,300",
            "--source CIDR with 25 ",
        ),
        id="ports",
    ),
    pytest.param(
        ("blast", _NOWHERE, "-c", "1k", "--source", "192.0.2.77"),
        ("-c", "1k", _NOWHERE, "--source", "192.0.2.77"),
        {},
        "sources",
        ("1,000 connections cannot be made from these addresses", "ip route add local $net"),
        id="sources that are not there",
    ),
    pytest.param(
        ("blast", _NOWHERE, "-c", "1k", "--close", "fin", "--lifetime", "1s", "-d", "60s"),
        ("-c", "1k", _NOWHERE, "--churn", "1k"),
        {},
        "time-wait",
        ("(27,300 - 1,000) / 60 s = 438/s at most", "--close rst"),
        id="ports that TIME_WAIT keeps",
    ),
    pytest.param(
        ("blast", "-c", "1k"),
        ("-c", "1k"),
        {"cgroup": CgroupLimits(pids_max=8, pids_used=5)},
        "pids",
        ("8 - 5 in use = 3 processes left, and 4 are needed", "docker run --pids-limit"),
        id="processes",
    ),
]


@pytest.mark.parametrize(("command", "asked", "facts", "code", "names"), _REFUSED)
def test_blast_and_serve_refuse_in_the_doctor_s_line_with_the_arithmetic(
    run: Run, command: tuple[str, ...], asked: tuple[str, ...], facts: dict[str, Any], code: str, names: tuple[str, ...]
) -> None:
    refused = run(*command, **facts)
    assert refused.err == f"loadkit: {_doctor_says(run, asked, facts)[code]}\n"
    assert (refused.status, refused.out) == (1, "")
    for name in names:
        assert name in refused.err
    examined = run("doctor", *asked, **facts)
    assert examined.status == 1
    assert examined.out.startswith("cannot: ")
    assert code in examined.out.splitlines()[0]


_WARNED = [
    pytest.param(("blast", "-c", "1k"), ("-c", "1k"), {"somaxconn": 128}, ["somaxconn"], id="the listener's queue"),
    pytest.param(
        ("serve", "--max-connections", "1k"),
        ("-c", "1k", "--serve"),
        {"somaxconn": 128},
        ["somaxconn"],
        id="the listener's queue, serve",
    ),
    pytest.param(("blast", "-c", "100k"), ("-c", "100k"), {}, ["nofile"], id="more processes than cores"),
    pytest.param(
        ("blast", "-c", "1k"),
        ("-c", "1k"),
        {"conntrack_max": 1000, "conntrack_used": 500},
        ["conntrack"],
        id="a table of connections that is half full",
    ),
    pytest.param(
        ("blast", "-c", "10k"), ("-c", "10k"), {"memory_available_bytes": 150_000_000}, ["memory"], id="tight memory"
    ),
]


@pytest.mark.parametrize(("command", "asked", "facts", "codes"), _WARNED)
def test_blast_and_serve_warn_in_the_doctor_s_line_and_go_on(
    run: Run, command: tuple[str, ...], asked: tuple[str, ...], facts: dict[str, Any], codes: list[str]
) -> None:
    said = _doctor_says(run, asked, facts)
    warnings = [f"loadkit: warning: {said[code]}" for code in codes]
    assert run(*command, **facts).err.splitlines() == [*warnings, f"loadkit: {_STARTED}"]
    assert run(*command, "-q", **facts).err.splitlines() == [f"loadkit: {_STARTED}"]
    assert run("doctor", *asked, **facts).status == 0


@pytest.mark.parametrize("command", [("blast",), ("blast", "-c", "100", "-d", "2s"), ("serve",)], ids=" ".join)
def test_an_ordinary_run_begins_without_a_word(run: Run, command: tuple[str, ...]) -> None:
    less_exact = {"steal_share": 0.3, "governor": "powersave", "clock_source": "hpet", "capabilities": 0, "cpus": 64}
    assert run(*command, **less_exact).err == f"loadkit: {_STARTED}\n"


def test_workers_that_were_asked_for_and_are_too_few_are_refused_in_the_plan_s_words(run: Run) -> None:
    refused = run("blast", "-c", "100k", "-w", "2")
    assert refused.status == 1
    assert refused.err.startswith("loadkit: --workers 2: 100,000 connections need 6 processes of 19,800")


def test_too_few_ports_of_the_sources_asked_for_are_refused_with_the_arithmetic(run: Run) -> None:
    sum_ = "2 source address(es) x 1 destination(s) x 28,200 ephemeral ports = 56,400"
    asked = ("-c", "60k", _NOWHERE, "--source", "192.0.2.4/31")
    refused = run("blast", *asked)
    assert (refused.status, refused.out) == (1, "")
    assert sum_ in refused.err
    assert sum_ in _doctor_says(run, asked, {})["ports"]


def test_a_dry_run_prints_its_plan_on_a_machine_that_warns(run: Run) -> None:
    said = run("blast", "-c", "1k", "--dry-run", somaxconn=1)
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out)["load"]["connections"] == 1000


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["text", "json"])
def test_the_fix_script_is_written_beside_the_findings(run: Run, tmp_path: Path, json_too: tuple[str, ...]) -> None:
    said = run("doctor", "-c", "1k", "--fix-script", "fix.sh", *json_too, file_max=2500)
    assert said.status == 1
    assert "file-max" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["fix.sh"]
    assert "\nsysctl -w fs.file-max=5000\n" in (tmp_path / "fix.sh").read_text()  # 1,000 in use + twice 2,000
