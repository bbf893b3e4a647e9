"""Limits of a process, and a machine without /proc: a sample of `make limits`. What a library call leaves open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .every_limit import BLAST, DOCTOR, MANY, PING, SERVE, SERVE_MANY, check

pytestmark = pytest.mark.slow

_MIB = 2**20

_REFUSED = [
    pytest.param(BLAST, "NOFILE", 5, True, "ulimit -Hn", id="5 files"),
    pytest.param(MANY, "NOFILE", 64, True, "3 for each of 216 workers", id="files of the parent, by the connections"),
    pytest.param(SERVE_MANY, "NOFILE", 36, False, "a worker needs 36", id="files without proc"),
    pytest.param(SERVE, "AS", 60 * _MIB, True, "needs 200 MiB", id="address space"),
    pytest.param(
        SERVE_MANY, "AS", 200 * _MIB, True, "168 MiB of the process that starts the workers + 2 x ", id="boards"
    ),
    pytest.param(BLAST, "DATA", 60 * _MIB, True, "needs 128 MiB", id="data"),
    pytest.param(BLAST, "FSIZE", 0, True, "of shared memory, in which the workers count", id="size of files"),
    pytest.param(BLAST, "NPROC", 1, False, "cannot start Python", id="no process"),
    pytest.param(SERVE, "NPROC", 2, False, "cannot start a worker", id="one process"),
]


@pytest.mark.parametrize(("command", "limit", "value", "proc", "said"), _REFUSED)
def test_a_limit_in_the_way_is_said_in_one_line_with_the_need(
    command: tuple[str, ...], limit: str, value: int, proc: bool, said: str
) -> None:
    ended = check(command, limit, value, proc)
    assert ended.status == 1
    assert said in ended.err


def test_the_doctor_refuses_what_the_parent_of_the_workers_has_too_few_files_for() -> None:
    assert check(DOCTOR, "NOFILE", 64).status == 1


@pytest.mark.parametrize("command", [BLAST, SERVE], ids=["blast", "serve"])
def test_runs_go_without_proc(command: tuple[str, ...]) -> None:
    assert check(command, "CORE", 0, proc=False).status in (0, 4)


def test_ping_blames_no_server_for_a_limit_of_its_own() -> None:
    assert "Connection refused" in check(PING, "NOFILE", 5).err


# -- the library

# Descriptors are opened until so many are free. Without the doctor's check each call of the start fails in its turn.
_SWEEP = """
import json, os, resource, sys
import loadkit, loadkit.doctor.limits
from loadkit.limits import open_descriptors
loadkit.doctor.limits._PARENT_FDS = -1000
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))

def blast():
    loadkit.sync.blast(connections=4, duration="50ms", warmup="0s", workers=1)

def serve():
    with loadkit.sync.serve(workers=2):
        pass

if __name__ == "__main__":
    for call, free in json.loads(sys.argv[1]):
        held = []
        while 400 - open_descriptors() > free:
            held.append(os.open(os.devnull, os.O_RDONLY))
        before, said = open_descriptors(), None
        try:
            {"blast": blast, "serve": serve}[call]()
        except loadkit.LoadkitError as error:
            said = str(error)
        after = open_descriptors()
        for fd in held:
            os.close(fd)
        print(json.dumps([free, before, after, said]))
"""


def test_a_call_that_finds_too_few_descriptors_says_so_and_leaves_none_open(tmp_path: Path) -> None:
    script = tmp_path / "sweep.py"
    script.write_text(_SWEEP)
    calls = [("serve", 40), ("blast", 40), *(("serve", free) for free in (0, 1, 3, 5, 7, 9, 11)), ("blast", 12)]
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(calls)], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(calls)
    for free, before, after, said in rows:
        assert after == before, rows
        if free == 40:
            assert said is None
        else:
            assert "Too many open files" in said
            assert "`ulimit -n`" in said
    # The signals, the process that workers are forked from, and a worker: each in its turn.
    assert len({said.partition(":")[0] for *_, said in rows if said}) == 3
