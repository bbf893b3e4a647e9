"""What a machine can refuse: one clear line and the right exit status, and nothing left behind.

A port that is taken, too little memory or too few files by made-up facts: test_serve.py and cli/test_preflight.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.truth.conftest import assert_adds_up
from tests.under_way import wait_for, wait_for_replies

from .control_groups import control_group

pytestmark = pytest.mark.slow

_LOADKIT = (sys.executable, "-m", "loadkit")
_QUICK = ("-c", "100", "-d", "500ms", "--warmup", "0s", "--no-progress")
_PIDNS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
_BOARD = "/memfd:loadkit-board"


def loadkit(*arguments: str, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*wrapper, *_LOADKIT, *arguments], capture_output=True, text=True, timeout=60, check=False)


def line_of(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Returns the one line that it said before it gave up."""
    assert done.returncode == status, done
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("loadkit: ")
    return line


def wait_for_it(what: str, *, pid: int, sockets: int) -> None:
    """Waits until a process has that many file descriptors."""
    files = Path(f"/proc/{pid}/fd")
    wait_for(lambda: len(list(files.iterdir())) >= sockets, what)


# -- what the machine refuses


def test_a_port_that_needs_a_privilege_is_refused_in_one_line() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 1:
        pytest.skip("anybody may bind any port here")
    drop = ("setpriv", "--bounding-set=-net_bind_service") if os.geteuid() == 0 else ()
    line = line_of(loadkit("serve", f"127.0.0.1:{first - 1}", wrapper=drop), 1)
    assert f"cannot listen on 127.0.0.1 port {first - 1}: Permission denied" in line
    assert "CAP_NET_BIND_SERVICE" in line


@pytest.mark.parametrize("command", [("serve", "127.0.0.1:0"), ("blast",), ("blast", "127.0.0.1:9")], ids=" ".join)
def test_36_file_descriptors_are_refused_in_one_line_with_the_flag_that_mends_it(command: tuple[str, ...]) -> None:
    line = line_of(loadkit(*command, wrapper=("prlimit", "--nofile=36:36")), 1)
    assert "a worker needs 36 for itself, which leaves 0 of 36" in line
    assert "docker run --ulimit nofile=" in line


def test_64_mebibytes_are_refused_in_one_line_with_the_flag_that_mends_it() -> None:
    seen = "from loadkit.host import read_host; print(read_host().cgroup.memory_max_bytes)"
    with control_group("memory", 64 * 2**20) as inside:
        looked = subprocess.run([*inside, sys.executable, "-c", seen], capture_output=True, text=True, check=True)
        if looked.stdout.strip() != str(64 * 2**20):
            pytest.skip("loadkit does not see the limits of this version of control groups")
        for command in (("blast", "-c", "2k"), ("serve", "127.0.0.1:0", "--max-connections", "20k")):
            line = line_of(loadkit(*command, wrapper=inside), 1)
            assert "memory.max 64 MiB" in line or "memory.limit_in_bytes 64 MiB" in line
            assert "docker run --memory=" in line


@pytest.mark.parametrize("most", [1, 2, 3], ids=["no forker", "no worker", "not all workers"])
def test_processes_that_cannot_be_had_are_said_in_one_line(most: int) -> None:
    with control_group("pids", most) as inside:
        line = line_of(loadkit("blast", *_QUICK, wrapper=inside), 1)
    assert "processes" in line
    assert "pids" in line


def test_workers_whose_forker_was_killed_are_lost_and_the_run_says_so(tmp_path: Path) -> None:
    with started("blast", "-c", "50", "-R", "1k", "-d", "60s", "--no-progress", "-o", str(tmp_path / "r.json")) as run:
        wait_for_it("the connections open", pid=named(run, "loadkit-blast-0")[0], sockets=30)
        [forker] = named(run, "loadkit-forker")
        os.kill(forker, signal.SIGKILL)
        _out, err = run.communicate(timeout=60)
        assert (run.returncode, err) == (4, "")
        wait_until_gone(run)
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["partial"] is True
    assert record["workers"][0]["died"] == "lost: the process that it was forked from was killed, or hangs"


# -- a process group of ours


@contextlib.contextmanager
def started(
    *arguments: str,
    wrapper: tuple[str, ...] = (),
    cwd: Path | None = None,
    set_up: Callable[[], None] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Starts `loadkit …` in a process group of its own, after `set_up` there, and ends what is left of it."""
    process = subprocess.Popen(
        [*wrapper, *_LOADKIT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=cwd,
        preexec_fn=set_up,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_of(process: subprocess.Popen[str]) -> dict[int, tuple[str, str]]:
    """Returns the processes of its group: pid -> (name, state), proc_pid_stat(5)."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == process.pid:
                before, _, after = (entry / "stat").read_text().rpartition(")")
                found[int(entry.name)] = (before.partition("(")[2], after.split()[0])
    return found


def named(process: subprocess.Popen[str], name: str) -> list[int]:
    """Returns the pids of its processes called so, waiting until there is one."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [pid for pid, (called, _state) in group_of(process).items() if called == name]
        return bool(found)

    wait_for(is_there, f"there is no process {name}")
    return found


def wait_until_gone(process: subprocess.Popen[str]) -> None:
    """Waits until nothing of its group is alive; what is dead (Z) may wait for its parent, or for process 1."""
    wait_for(lambda: all(state == "Z" for _name, state in group_of(process).values()), "some stay")


def boards_of(process: subprocess.Popen[str]) -> set[int]:
    """Returns the inodes of the boards that its processes have open."""
    found = set()
    for pid in group_of(process):
        with contextlib.suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(fd.readlink()).startswith(_BOARD):
                        found.add(fd.stat().st_ino)
    return found


# -- several runs, and dead ones


def test_two_runs_at_a_time_have_boards_of_their_own_and_count_what_is_theirs(tmp_path: Path) -> None:
    def asked(connections: int, rate: int) -> tuple[str, ...]:
        path = str(tmp_path / f"{connections}.json")
        load = ("-c", str(connections), "-R", str(rate), "-d", "60s", "--warmup", "0s", "-w", "1")
        return ("blast", *load, "--no-progress", "-o", path)

    with started(*asked(40, 400)) as one, started(*asked(70, 300)) as other:
        for run in (one, other):
            wait_for_replies(named(run, "loadkit-blast-0")[0])
        boards = boards_of(one), boards_of(other)
        for run in (one, other):
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=60)
    # One of the blast end's and one of the serve end's each.
    assert [len(each) for each in boards] == [2, 2]
    assert not boards[0] & boards[1]
    for connections in (40, 70):
        record = json.loads((tmp_path / f"{connections}.json").read_text())
        assert_adds_up(record)
        assert record["connections"]["opened"] == record["server"]["accepted"] == connections
        moved = sum(phase["bytes"]["sent"] for phase in record["phases"])
        assert record["server"]["bytes"] == {"sent": moved, "received": moved}
        assert record["messages"]["replied"] > 0


@pytest.mark.parametrize(
    "command",
    [("blast", "-c", "50", "-R", "1k", "-d", "60s", "--no-progress"), ("serve", "127.0.0.1:0", "-w", "2")],
    ids=["blast", "serve"],
)
def test_a_killed_run_leaves_no_process_no_board_and_no_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    shared = set(Path("/dev/shm").iterdir())
    with started(*command, "-o", str(tmp_path / "run.json")) as run:
        last = "loadkit-blast-0" if command[0] == "blast" else "loadkit-serve-1"
        wait_for_it("it is under way", pid=named(run, last)[0], sockets=5)
        assert boards_of(run)
        run.kill()
        wait_until_gone(run)
        assert boards_of(run) == set()
    assert not [path for path in set(Path("/dev/shm").iterdir()) - shared if "loadkit" in path.name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "status"),
    [
        # An objective that is missed; the signal's own status would go before it.
        (("blast", "-c", "20", "-R", "1k", "-n", "300", "-w", "1", "--slo", "replied<=1"), 3),
        (("serve", "127.0.0.1:0", "-w", "1"), 1),
    ],
    ids=["blast", "serve"],
)
def test_a_record_whose_folder_goes_away_is_put_elsewhere_and_the_exit_status_stays(
    tmp_path: Path, command: tuple[str, ...], status: int
) -> None:
    path = tmp_path / "folder" / "run.json"
    path.parent.mkdir()
    with started(*command, "-o", str(path), cwd=tmp_path) as run:
        named(run, f"loadkit-{command[0]}-0")
        os.kill(run.pid, signal.SIGSTOP)  # it is under way, and does not end before its folder has gone
        path.parent.rmdir()
        os.kill(run.pid, signal.SIGCONT)
        if command[0] == "serve":
            assert run.stderr
            assert "ready on" in run.stderr.readline()
            run.terminate()
        out, err = run.communicate(timeout=60)
    assert (run.returncode, out != "") == (status, True)
    [line] = err.splitlines()
    [kept] = tmp_path.iterdir()
    assert line == (f"loadkit: {path}: cannot be written: No such file or directory; the record is in {kept.name}")
    assert json.loads(kept.read_text())["format"].startswith("loadkit-")


# -- the first process of a container


@pytest.fixture
def pid_namespace() -> tuple[str, ...]:
    """What a command is put behind to be process 1, as in a container."""
    as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    wrapper = (_PIDNS[0], *as_root, *_PIDNS[1:])
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace can be made here: neither root nor user namespaces")
    return wrapper


def first_of(run: subprocess.Popen[str]) -> int:
    """Returns the process that is 1 in there, as it is called out here."""
    return int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text())


def test_sigterm_to_process_1_ends_a_blast_with_its_partial_record(
    tmp_path: Path, pid_namespace: tuple[str, ...]
) -> None:
    path = tmp_path / "run.json"
    load = ("-c", "50", "-R", "1k", "-d", "60s", "--warmup", "0s", "--no-progress", "-o", str(path))
    with started("blast", *load, wrapper=pid_namespace) as run:
        wait_for_replies(named(run, "loadkit-blast-0")[0])
        os.kill(first_of(run), signal.SIGTERM)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (143, "")
    assert out.partition(":")[0].endswith(", partial")
    record = json.loads(path.read_text())
    assert record["partial"] is True
    assert record["messages"]["replied"] > 0
    assert_adds_up(record)
    assert record["interrupted"] == "SIGTERM"
    assert all(worker["died"] is None for worker in record["workers"])
    assert {path.name for path in tmp_path.iterdir()} == {"run.json"}


def test_process_1_serves_reaps_its_children_and_stops_at_sigterm(serve: Serve, pid_namespace: tuple[str, ...]) -> None:
    served = serve("-w", "2", wrapper=pid_namespace)
    assert served.ready["pid"] == 1
    for number in range(2):
        [worker] = named(served.process, f"loadkit-serve-{number}")
        os.kill(worker, signal.SIGKILL)
        successor = [worker]
        while successor == [worker]:
            successor = named(served.process, f"loadkit-serve-{number}")
    assert {state for _name, state in group_of(served.process).values()} <= {"S", "R", "D"}
    os.kill(first_of(served.process), signal.SIGTERM)
    status, out, _err = served.end()
    assert status == 0
    assert "2 workers died and were replaced" in out
