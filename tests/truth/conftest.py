"""The real command, a peer that misbehaves in a known way, and the record between them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.under_way import wait_for, wait_for_replies, wait_until_in_phase

PEER = Path(__file__).parent / "peer.py"


@dataclass
class Run:
    """A `loadkit blast` under way, in a process group of its own."""

    process: subprocess.Popen[str]
    path: Path
    record: dict[str, Any] = field(default_factory=dict)

    def end(self, timeout: float = 60) -> int:
        """Waits for the end, reads the record and returns the exit status."""
        self.out, self.err = self.process.communicate(timeout=timeout)
        if self.path.exists():
            self.record = json.loads(self.path.read_text())
        return self.process.returncode

    def workers(self, name: str) -> list[int]:
        """Returns the pids of the workers called so, waiting until there is one."""
        return wait_for_processes(name, group=self.process.pid)

    def wait_until_gone(self, name: str) -> None:
        """Waits until it has no worker called so any more."""
        wait_for(lambda: not processes(name, group=self.process.pid), f"{name} stays")

    def wait_until_open(self, pid: int, sockets: int) -> None:
        """Waits until the process has that many file descriptors open."""
        files = Path(f"/proc/{pid}/fd")
        wait_for(lambda: len(list(files.iterdir())) >= sockets, f"{sockets} sockets did not open")

    def wait_until_in_phase(self, phase: int) -> None:
        """Waits until the first worker is in the phase: 0 is the ramp, 1 the next one."""
        wait_until_in_phase(self.workers("loadkit-blast-0")[0], phase)

    def wait_for_replies(self) -> None:
        """Waits until the first worker of a run at a rate has had a reply behind the ramp."""
        wait_for_replies(self.workers("loadkit-blast-0")[0])


def processes(name: str, group: int) -> list[int]:
    """Returns the pids of the processes of a group that are called so."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or (entry / "comm").read_text().rstrip("\n") != name:
                continue
            if os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
    return found


def wait_for_processes(name: str, group: int) -> list[int]:
    """Returns the pids of the processes of a group that are called so, waiting until there is one."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = processes(name, group)
        return bool(found)

    wait_for(is_there, f"there is no process {name}")
    return found


def start_peer(program: Path, *arguments: object, behind: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Starts a peer, perhaps behind another command."""
    return subprocess.Popen(
        [*behind, sys.executable, str(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if behind else None,  # of a machine that lets nothing go FIRST
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def peer() -> Iterator[Callable[..., int]]:
    """Starts a peer of a kind and returns its port."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, behind: tuple[str, ...] = ()) -> int:
        process = start_peer(PEER, *arguments, behind=behind)
        started.append(process)
        assert process.stdout
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.communicate(timeout=60)


@pytest.fixture
def blast(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts `loadkit blast …` with a record."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, wrapper: tuple[str, ...] = ()) -> Run:
        path = tmp_path / f"run-{len(started)}.json"
        command = [
            *wrapper,
            sys.executable,
            "-m",
            "loadkit",
            "blast",
            *map(str, arguments),
            "--no-progress",
            "-o",
            str(path),
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return Run(process, path)

    yield start
    for process in started:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def assert_adds_up(record: dict[str, Any]) -> None:
    """The totals of the run and of each phase, as DESIGN has them."""
    for part in (record, *record["phases"]):
        messages = part["messages"]
        assert messages["intended"] == messages["sent"] + messages["unsent"], part.get("name")
        answered = messages["replied"] + messages["failed"] + messages["unanswered"]
        assert messages["sent"] == answered, part.get("name")
        assert part["histograms"]["latency"]["count"] == messages["replied"]
        assert part["histograms"]["service"]["count"] == messages["replied"]
        for name in ("lateness", "held"):
            # In a closed loop there is neither.
            histogram = part["histograms"][name]
            assert histogram["count"] == messages["sent"] if histogram else name in record["histograms_missing"]


def errors_of(record: dict[str, Any]) -> dict[str, int]:
    """Returns `step error` -> count, over the phases."""
    total: dict[str, int] = {}
    for row in record["errors"]:
        name = f"{row['step']} {row['error']}"
        total[name] = total.get(name, 0) + row["count"]
        assert row["advice"]
    return total
