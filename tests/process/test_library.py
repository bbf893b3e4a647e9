"""loadkit as a module, with and without an event loop; and what is left of a run, however it ends: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import loadkit
from tests import apps

pytestmark = pytest.mark.slow

# With a number of messages the last of them are waited for, however busy this machine is.
_SHAPE: dict[str, Any] = {"connections": 20, "rate": "400", "workers": 1}
_SHORT: dict[str, Any] = _SHAPE | {"messages": 120}
_LONG: dict[str, Any] = _SHAPE | {"duration": "10m", "warmup": "0s"}


def _children() -> set[str]:
    found = set[str]()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= set((task / "children").read_text().split())
    return found


def _left() -> dict[str, Any]:
    """What a run could leave behind: file descriptors, processes, threads, mapped shared memory."""
    gc.collect()
    return {
        # iterdir's own is gone by the time that it is looked at.
        "fds": {str(fd): str(fd.readlink()) for fd in list(Path("/proc/self/fd").iterdir()) if os.path.lexists(fd)},
        "children": _children(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "boards": Path("/proc/self/maps").read_text().count("loadkit-board"),
    }


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Holds every test of this file to it."""
    before = _left()
    yield
    assert _left() == before


def _run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await main()

    return asyncio.run(run())


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


def _workers(name: str) -> int:
    """How many processes called so descend from this one."""
    found = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except (OSError, ValueError):
            continue
        if lines.get("Name", "").startswith(name) and lines.get("PPid") in _children():
            found += 1
    return found


# -- the record


def test_a_run_against_a_server_of_the_same_program() -> None:
    async def main() -> None:
        async with loadkit.serve(workers=1) as server:
            assert len(server.pids) == 1
            record = await loadkit.blast(server, slo="errors==0", **_SHORT)
            by_port = await loadkit.blast(server.port, **_SHORT)
        assert record.slo[0].ok
        assert record.connections.opened == by_port.connections.opened == 20
        assert record.messages.replied == record.messages.sent == 120
        assert record.server is None
        assert server.record is not None
        assert server.record.server.accepted >= 40
        assert server.pids == ()

    _run(main)


def test_the_loop_goes_on_while_a_run_is_under_way() -> None:
    async def main() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1

        counting = asyncio.create_task(count())
        record = await loadkit.blast(**_SHORT)
        counting.cancel()
        assert record.server is not None  # the embedded one
        assert turns > 10

    _run(main)


def test_the_synchronous_twin_runs_the_same(tmp_path: Path) -> None:
    with loadkit.sync.serve(workers=1, engine="asyncio") as server:
        record = loadkit.sync.blast(server.target, **_SHORT)
    assert record.messages.replied == 120
    path = tmp_path / "run.json"
    path.write_text(loadkit.encode(record))
    assert loadkit.encode(loadkit.load(str(path))) == loadkit.encode(record)
    assert loadkit.as_text(record).startswith(record.verdict.state)
    met, missed = loadkit.check(record, "errors==0", "replied>1m")
    assert (met.ok, missed.ok, missed.value) == (True, False, 120)


def test_options_are_those_of_the_command_and_lie_over_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("connections = 7\ndepth = 4\n")
    record = loadkit.sync.blast(profile=str(path), source=None, slo=["errors==0", "opened>0"], **_SHORT)
    assert (record.load.connections, record.load.depth) == (20, 4)
    assert [slo.expr for slo in record.slo] == ["errors==0", "opened>0"]


def test_a_program_s_own_server_is_served_as_the_echo_is() -> None:
    with loadkit.sync.serve(app=apps.Upper, workers=2) as server:
        assert len(server.pids) == 2
        with socket.create_connection((server.host, server.port)) as client:
            client.sendall(b"loud")
            assert client.recv(16) == b"LOUD"
    with loadkit.sync.serve(app="tests.apps:Echo", workers=1) as server:
        assert loadkit.sync.blast(server, slo=["errors==0"], **_SHORT).slo[0].ok


# -- what is refused


@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param(lambda: loadkit.sync.blast(conections=5), "did you mean 'connections'?", id="unknown"),
        pytest.param(lambda: loadkit.sync.blast(timeout=3), "a duration with its unit", id="no unit"),
        pytest.param(lambda: loadkit.sync.blast(slo="latency<1"), "is not a figure", id="slo"),
        pytest.param(lambda: loadkit.sync.blast("nowhere"), "expected HOST:PORT", id="target"),
        pytest.param(lambda: loadkit.sync.serve(worker=1).__enter__(), "did you mean 'workers'?", id="serve, unknown"),
        pytest.param(lambda: loadkit.sync.serve(workers=0).__enter__(), "workers: 0 is below", id="serve, bound"),
        pytest.param(lambda: loadkit.sync.serve(engine="c").__enter__(), "expected auto or", id="serve, choice"),
        pytest.param(lambda: loadkit.sync.serve(app=lambda: None).__enter__(), "cannot import", id="serve, app"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(loadkit.OptionError, match=r"\A[^\n]*\Z") as refused:
        call()
    assert said in str(refused.value)


def test_a_target_that_refuses() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(loadkit.TargetError, match="Connection refused"):
            _run(lambda: loadkit.blast(bound.getsockname()[1], **_SHORT))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(loadkit.PreflightError, match="another socket has the port"):
            with loadkit.sync.serve(taken.getsockname()[1]):
                pass


def test_an_app_that_cannot_start() -> None:
    async def main() -> None:
        async with loadkit.serve(app=apps.failing):
            pass

    with pytest.raises(loadkit.WorkerError, match="no database"):
        _run(main)


# -- how it ends early


@pytest.mark.parametrize("connect_rate", ["20", "10k"], ids=["ramp", "hold"])
def test_cancelling_ends_the_run_and_waits_for_it(connect_rate: str) -> None:
    async def main() -> None:
        running = asyncio.create_task(loadkit.blast(connect_rate=connect_rate, **_LONG | {"connections": 400}))
        await _until(lambda: _workers("loadkit-blast") == 1)
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)
        assert _workers("loadkit-") == 0

    _run(main)


def test_cancelling_before_there_is_a_worker() -> None:
    async def main() -> None:
        running = asyncio.create_task(loadkit.blast(**_LONG))
        await asyncio.sleep(0)
        running.cancel()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)

    _run(main)


def test_an_exception_in_the_block_comes_out_and_ends_the_server() -> None:
    async def main() -> None:
        async with loadkit.serve(workers=1) as server:
            client.connect((server.host, server.port))  # and left open
            raise LookupError("ours")

    with socket.socket() as client:
        with pytest.raises(LookupError, match="ours"):
            _run(main)


def test_ctrl_c_in_the_block_of_the_twin_ends_the_server() -> None:
    with pytest.raises(KeyboardInterrupt):
        with loadkit.sync.serve(workers=1) as server:
            signal.raise_signal(signal.SIGINT)
    assert server.record is not None


def test_cancelling_while_the_server_starts() -> None:
    async def serve() -> None:
        async with loadkit.serve(app=apps.Upper):
            raise AssertionError("the block was entered")

    async def main() -> None:
        starting = asyncio.create_task(serve())
        await _until(lambda: bool(_children()))  # the process that workers are forked from
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(starting, 60)

    _run(main)


def test_a_worker_that_dies_is_replaced() -> None:
    async def main() -> None:
        async with loadkit.serve(workers=1) as server:
            [first] = server.pids
            os.kill(first, signal.SIGKILL)
            await _until(lambda: server.pids not in ((first,), ()))
            record = await loadkit.blast(server, **_SHORT)
        assert record.connections.opened == 20
        assert server.record is not None
        assert server.record.server.restarts == 1

    _run(main)


def test_ctrl_c_in_the_twin_is_a_keyboard_interrupt_once_all_is_gone() -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not _workers("loadkit-blast") and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        loadkit.sync.blast(**_LONG)
    interrupting.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_that_has_closed_its_standard_streams_runs_a_load_and_its_app_has_them(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio, os\n"
        "streams = [os.path.samefile(f'/dev/fd/{fd}', os.devnull) for fd in range(3)]\n"
        "print('not read')\n"
        "class Echo(asyncio.Protocol):\n"
        "    def connection_made(self, transport):\n"
        "        self.transport = transport\n"
        "    def data_received(self, data):\n"
        "        self.transport.write(data if all(streams) else b'')\n"
    )
    (tmp_path / "program.py").write_text(
        "import os, sys, loadkit.sync\n"
        "if __name__ == '__main__':\n"
        "    for fd in map(int, sys.argv[1]):\n"
        "        os.close(fd)\n"
        "    with loadkit.sync.serve(app='app:Echo', workers=1) as server:\n"
        "        record = loadkit.sync.blast(server, connections=2, messages=20, workers=1)\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        file.write(str(record.messages.replied))\n"
    )
    command, null = [sys.executable, "program.py"], subprocess.DEVNULL
    running = [
        subprocess.Popen([*command, closed], cwd=tmp_path, stdin=null, stdout=null, stderr=null)
        for closed in ("0", "1", "2", "012")
    ]
    for process in running:
        process.wait(60)
        assert (tmp_path / process.args[2]).read_text() == "20"  # type: ignore[index, operator]


def test_ctrl_c_in_asyncio_run_ends_the_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, loadkit\n"
        "async def main():\n"
        "    async with loadkit.serve(workers=1) as server:\n"
        "        print(*server.pids, flush=True)\n"
        "        await loadkit.blast(server, duration='10m', connections=10)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        worker = int(process.stdout.readline())
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        assert process.stderr.read().rstrip().endswith(b"KeyboardInterrupt")
    assert not Path(f"/proc/{worker}").exists()
