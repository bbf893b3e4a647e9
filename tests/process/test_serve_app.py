"""`loadkit serve --app` as an operator meets it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve, Served

from .test_serve import closes, connect, echoes, refuses_soon

pytestmark = pytest.mark.slow

_APPS = """
import asyncio, os, sys
from shop import prices

class Till(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.write(f"{os.getpid()} {prices.LIST} {sys.argv[0]}\\n".encode())

    def data_received(self, data):
        self.transport.write(data)

class Sick(Till):
    def data_received(self, data):
        if data == b"die":
            os._exit(9)
        raise RuntimeError("out of change")

class Quoting(Till):
    def data_received(self, data):
        raise RuntimeError(f"cannot change {data.decode()}")

class Hiring(Till):
    def data_received(self, data):
        self.hiring = asyncio.ensure_future(self.hire())

    async def hire(self):
        hand = await asyncio.create_subprocess_exec("sleep", "60")
        hand.terminate()
        self.transport.write(f"{await hand.wait()}\\n".encode())

def shut():
    raise LookupError("no licence")

sys.stdout.write(f"imported {os.getpid()}\\n")  # at once: print writes the end of a line by itself
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package, to stand in."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/server.py").write_text(_APPS)
    (tmp_path / "shop/prices.py").write_text("LIST = 'cheap'\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def greeted(served: Served) -> Iterator[tuple[socket.socket, int]]:
    """Connects, and says which worker has taken the connection."""
    with connect(served) as sock:
        greeting = b""
        while not greeting.endswith(b"\n"):
            chunk = sock.recv(4096)
            assert chunk
            greeting += chunk
        pid, prices = greeting.split()[:2]
        assert prices == b"cheap"
        yield sock, int(pid)


def successor_of(served: Served) -> int:
    """Returns the only worker, waiting until it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError), greeted(served) as (_sock, pid):
            return pid
    raise AssertionError("nobody takes its place")


def test_each_worker_imports_the_app_from_here_and_serves_with_it(serve: Serve, shop: Path) -> None:
    served = serve("--app", "shop.server:Till", "-w", "2", "-o", str(shop / "serve.json"))
    for worker in served.ready["workers"]:
        assert os.sched_getaffinity(worker["pid"]) == {worker["core"]}
    reached: set[int] = set()
    count = 0
    while reached != set(served.workers):
        with greeted(served) as (sock, pid):
            assert echoes(sock)
            reached.add(pid)
        count += 1
        assert count < 200  # 2**-200 is the chance that a fair hash leaves one out
    assert served.ready["engine"] in ("uvloop", "asyncio")
    served.signal(signal.SIGTERM)
    status, out, err = served.end()
    assert status == 0
    assert "(shop.server:Till, uvloop)" in err
    assert "echoes, for" not in err  # the native engine is not missed
    assert {int(line.split()[1]) for line in out.splitlines() if line.startswith("imported")} == set(served.workers)
    assert f"served {count} connections" in out
    record = json.loads((shop / "serve.json").read_text())
    assert record["plan"]["app"]["module"] == "shop.server"
    assert record["server"]["accepted"] == record["server"]["connections"]["closed"] == count
    assert record["server"]["wakeups"]["events"] >= count
    # Not measured is null, and not 0.
    assert record["server"]["bytes"] is None
    assert {row["sent_bytes"] for row in record["intervals"]} == {None}
    assert {row["received_bytes"] for row in record["server"]["workers"]} == {None}
    assert record["server"]["balance"]["replies_max_over_mean"] is None


def test_a_first_signal_lets_its_connections_finish_and_exits_0(serve: Serve, shop: Path) -> None:
    served = serve("--app", "shop.server:Till", "--grace", "20s", "--engine", "asyncio")
    with greeted(served) as (sock, _pid):
        served.signal(signal.SIGINT)
        assert refuses_soon(served)
        assert echoes(sock)
    assert served.end()[0] == 0


def test_what_the_app_raises_is_shown_once_and_a_worker_that_it_ends_is_replaced(serve: Serve, shop: Path) -> None:
    served = serve("--app", "shop.server:Sick", "-w", "1")
    for _ in range(3):
        with greeted(served) as (sock, worker):
            sock.sendall(b"pay")
            assert closes(sock)
    with greeted(served) as (sock, worker):
        sock.sendall(b"die")
        assert closes(sock)
    assert successor_of(served) != worker
    served.signal(signal.SIGTERM)
    _status, out, err = served.end()
    assert err.count("RuntimeError: out of change") == 1
    assert f"worker 0 (pid {worker}) exit status 9; another one has taken its place" in err
    assert "3 x receive APP_FAILED" in out


def test_what_an_app_quotes_of_its_peer_is_shown_and_neither_a_terminal_nor_a_ci_runner_obeys_it(
    serve: Serve, shop: Path
) -> None:
    served = serve("--app", "shop.server:Quoting", "-w", "1")
    with greeted(served) as (sock, _worker):
        sock.sendall(b"\x1b]0;x\x07\n::error::me\n##[add-mask]you")
        assert closes(sock)
    served.signal(signal.SIGTERM)
    _status, _out, err = served.end()
    assert "RuntimeError: cannot change \\x1b]0;x\\x07\n\\x3a:error::me\n\\x23#[add-mask]you\n" in err


@pytest.mark.parametrize("engine", ["uvloop", "asyncio"])
def test_a_worker_leaves_signals_to_its_parent_and_what_the_app_starts_does_not(
    serve: Serve, shop: Path, engine: str
) -> None:
    served = serve("--app", "shop.server:Hiring", "-w", "1", "--engine", engine)
    with greeted(served) as (sock, worker):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker, number)
        sock.sendall(b"hire")
        assert sock.recv(64) == b"-15\n"
    with greeted(served) as (_sock, same):
        assert same == worker
    os.killpg(served.process.pid, signal.SIGINT)  # Ctrl-C in the terminal
    status, _out, err = served.end()
    assert status == 0
    assert "Traceback" not in err


_REFUSED = [
    pytest.param(("--app", "shop.server"), 2, "give package.module:factory", id="no factory"),
    pytest.param(("--app", "shop.server:Till", "--engine", "native"), 2, "--engine native", id="the native engine"),
    pytest.param(("--app", "shop.server:Till", "--edge-triggered"), 2, "--edge-triggered", id="edge-triggered"),
    pytest.param(("--app", "shop.server:Till", "--idle-timeout", "1s"), 2, "--idle-timeout", id="idle time-out"),
    pytest.param(("--app", "nowhere:Till"), 1, "app nowhere:Till: there is no module nowhere in", id="no module"),
    pytest.param(("--app", "shop.server:Mill"), 1, "shop.server has no Mill", id="no attribute"),
    pytest.param(("--app", "shop.prices:LIST"), 1, "of type str, which cannot be called", id="not callable"),
    pytest.param(("--app", "shop.server:shut"), 1, "LookupError: no licence", id="a factory that fails"),
]


@pytest.mark.parametrize(("options", "status", "said"), _REFUSED)
def test_what_is_no_app_is_refused_in_one_line_and_leaves_nobody_behind(
    shop: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    command = [sys.executable, "-m", "loadkit", "serve", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=shop)
    assert done.returncode == status, done
    [line] = done.stderr.splitlines()
    assert said in line
    assert set(done.stdout.split()[::2]) <= {"imported"}


def test_a_program_that_starts_a_run_when_it_is_imported_is_told_where_that_belongs(shop: Path) -> None:
    (shop / "careless.py").write_text(
        "import asyncio\n"
        "from loadkit.host import read_host\n"
        "from loadkit.plan.app import app_of\n"
        "from loadkit.plan.serve import build_serve_plan\n"
        "from loadkit.plan.engine import ChosenEngine\n"
        "from loadkit.profile.engines import EngineName\n"
        "from loadkit.run.serve import run_serve\n"
        "class Till(asyncio.Protocol): pass\n"
        "engine = ChosenEngine(EngineName.ASYNCIO)\n"
        "plan = build_serve_plan(read_host(), ('127.0.0.1',), 0, engine=engine, app=app_of(Till))\n"
        "run_serve(plan, lambda group: None, lambda dead, group: None)\n"
    )
    done = subprocess.run([sys.executable, "careless.py"], capture_output=True, text=True, timeout=60, cwd=shop)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "workers cannot start workers" in said
    assert '`if __name__ == "__main__":`' in said


_SUITE = """
import asyncio
import socket

from loadkit.host import read_host
from loadkit.plan.app import app_of
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.serve import build_serve_plan
from loadkit.profile.engines import EngineName
from loadkit.profile.serve import ServeProfile
from loadkit.run.forker import Forker
from loadkit.run.serve import ServeGroup
from loadkit.run.signals import Interrupts
from loadkit.units import Count


class Greeting(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(__name__.encode())
        transport.close()


def test_greeting():
    engine = ChosenEngine(EngineName.ASYNCIO)
    profile = ServeProfile(workers=Count(1))
    plan = build_serve_plan(read_host(), ("127.0.0.1",), 0, profile, engine=engine, app=app_of(Greeting))
    with Interrupts() as interrupts, Forker(interrupts) as forker:
        group = ServeGroup(plan, forker)
        try:
            with socket.create_connection(("127.0.0.1", group.port), timeout=60) as sock:
                assert sock.recv(100) == __name__.encode()
        finally:
            group.leave()
            group.close(5.0)
            group.board.close()
"""


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize("is_package", [False, True], ids=["a folder of tests", "a package of tests"])
def test_a_class_in_a_test_module_reaches_the_workers_however_pytest_imports_it(
    tmp_path: Path, mode: str, is_package: bool
) -> None:
    suite = tmp_path / "checks" / "orders"
    suite.mkdir(parents=True)
    (suite / "test_greeting.py").write_text(_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    if is_package:
        for folder in (suite, suite.parent):
            (folder / "__init__.py").touch()
    command = [sys.executable, "-m", "pytest", "-q", f"--import-mode={mode}", str(suite)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=suite)
    assert done.returncode == 0, done.stdout + done.stderr
