"""No process outlives the one that started it, however that ends, and whatever state it is in itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.under_way import wait_for

from .test_faults import group_of, named, started, wait_for_it, wait_until_gone
from .test_serve import connect, echoes

pytestmark = pytest.mark.slow

_BLAST = ("blast", "-c", "10", "-R", "100", "-d", "60s", "--warmup", "0s", "-w", "1", "--no-progress")


def test_workers_that_hang_die_with_the_process_that_started_them() -> None:
    def kill(victim: str) -> None:
        with started(*_BLAST) as run:
            workers = named(run, "loadkit-blast-0") + named(run, "loadkit-serve-0")
            forker = named(run, "loadkit-forker")
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            os.kill(run.pid if victim == "parent" else forker[0], signal.SIGKILL)
            _out, err = run.communicate(timeout=60)
            wait_until_gone(run)
            # It was before the run, or in it.
            assert victim == "parent" or (run.returncode, err.count("\n")) in [(1, 1), (4, 0)]

    with ThreadPoolExecutor() as pool:
        list(pool.map(kill, ["parent", "forker"]))


def test_nothing_is_left_whenever_the_parent_is_killed() -> None:
    def kill(delay_s: float) -> None:
        with started(*_BLAST) as run:
            time.sleep(delay_s)  # which is what is tried
            run.kill()
            run.communicate(timeout=60)
            wait_until_gone(run)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(kill, [at / 12 for at in range(12)]))


def test_a_worker_that_hangs_is_killed_when_the_process_it_was_forked_from_hangs_too() -> None:
    with started("serve", "127.0.0.1:0", "-w", "1") as run:
        [worker], [forker] = named(run, "loadkit-serve-0"), named(run, "loadkit-forker")
        assert run.stderr
        assert "ready" in run.stderr.readline()
        for pid in (worker, forker):
            os.kill(pid, signal.SIGSTOP)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(run.pid, number)
            _wait_until_handled(run)
        _out, err = run.communicate(timeout=60)
        wait_until_gone(run)
    assert run.returncode == 128 + signal.SIGINT
    assert f"worker 0 (pid {worker}) killed by SIGKILL after it hung when all of them were to end" in err


def test_the_third_signal_ends_a_run_that_hangs_without_its_record() -> None:
    with started(*_BLAST) as run:
        [worker] = named(run, "loadkit-blast-0")
        wait_for_it("the connections open", pid=worker, sockets=16)
        os.kill(worker, signal.SIGSTOP)
        for _ in range(3):
            os.kill(run.pid, signal.SIGTERM)
            _wait_until_handled(run)
        out, err = run.communicate(timeout=60)
        wait_until_gone(run)
    assert (run.returncode, out, err) == (143, "", "")


def test_a_server_that_three_signals_at_once_end_removes_its_ready_file(serve: Serve, tmp_path: Path) -> None:
    served = serve("-w", "1", "--grace", "1h")
    for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        served.signal(number)
    assert served.end()[0] == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_go_on_says_why_and_keeps_its_record(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    served = serve("-w", "2", "-o", str(path))
    with connect(served) as sock:
        assert echoes(sock)
        os.kill(named(served.process, "loadkit-forker")[0], signal.SIGKILL)
        status, out, err = served.end()
    assert (status, out.splitlines()[0].partition(",")[0]) == (1, "served 1 connection")
    [_ready, why] = err.splitlines()
    assert why.startswith("loadkit: the process that workers are forked from was killed by SIGKILL")
    assert list(tmp_path.iterdir()) == [path]
    server = json.loads(path.read_text())["server"]
    assert [end["died"][:4] for end in server["workers"]] == ["lost", "lost"]


def _wait_until_handled(process: subprocess.Popen[str]) -> None:
    """Waits until the process has taken the signals sent to it, and sleeps again or is dead: proc_pid_status(5)."""

    def has_taken_them() -> bool:
        status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        return not int(status["ShdPnd"], 16) and group_of(process)[process.pid][1] in "SZ"

    wait_for(has_taken_them, "it does not take signals")


def test_a_worker_killed_by_a_signal_without_a_name_is_replaced(serve: Serve) -> None:
    served = serve("-w", "1", "-q")
    os.kill(served.workers[0], signal.SIGRTMIN + 6)
    assert "killed by SIGRTMIN+6; another one has taken its place" in served.process.stderr.readline()  # type: ignore[union-attr]
    served.signal(signal.SIGTERM)
    assert served.end()[0] == 0


def test_a_worker_that_is_killed_at_the_end_of_serve_is_reported(serve: Serve) -> None:
    served = serve("-w", "2", "--grace", "1h")
    with connect(served) as sock:
        assert echoes(sock)
        served.signal(signal.SIGTERM)
        # The worker without a connection ends by itself; the other one is in its grace then.
        wait_for(lambda: len(_alive(served.process)) == 1, "the other one stays")
        left = _alive(served.process)
        os.kill(left[0], signal.SIGKILL)
        status, _out, err = served.end()
    assert status == 0
    assert f"(pid {left[0]}) killed by SIGKILL when all of them were to end" in err


def _alive(process: subprocess.Popen[str]) -> list[int]:
    return [
        pid for pid, (name, state) in group_of(process).items() if name.startswith("loadkit-serve") and state != "Z"
    ]
