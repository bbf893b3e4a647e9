"""`loadkit serve` as an operator meets it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loadkit.engine.compiled import native_missing
from tests.conftest import Serve, Served
from tests.idleness import busy_until_idle_is_closed
from tests.under_way import PATIENCE_S, wait_for

pytestmark = pytest.mark.slow


def connect(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=60)


def echoes(sock: socket.socket, message: bytes = b"hello") -> bool:
    sock.sendall(message)
    got = b""
    while len(got) < len(message):
        chunk = sock.recv(65536)
        if not chunk:
            return False
        got += chunk
    return got == message


def closes(sock: socket.socket) -> bool:
    """Whether the peer ends the connection within the socket's time-out."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def turns_away(served: Served) -> bool:
    """Whether a connection is closed by the peer; it may be gone before connect() returns."""
    try:
        with connect(served) as sock:
            return closes(sock)
    except ConnectionResetError:
        return True


def refuses_soon(served: Served) -> bool:
    """Whether the listeners close."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            connect(served).close()
        except ConnectionRefusedError:
            return True
    return False


def connect_until_refused(served: Served, ends: list[str]) -> None:
    """Connects, exchanges a message and closes, again and again; adds how the first one ended that did not get it."""
    while True:
        try:
            with connect(served) as sock:
                if not echoes(sock):
                    ends.append("closed")
                    return
        except OSError as error:
            ends.append(type(error).__name__)
            return


def send_until_it_blocks(sock: socket.socket, most: int) -> int:
    """Returns how many bytes went out before the socket was full."""
    taken = 0
    while taken < most:
        try:
            taken += sock.send(b"x" * 65536)
        except TimeoutError:
            break
    return taken


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_ready_file_names_the_real_port_and_a_worker_a_core(serve: Serve) -> None:
    served = serve()
    assert served.port > 0
    assert len(served.ready["workers"]) == len(os.sched_getaffinity(0))
    for worker in served.ready["workers"]:
        assert os.sched_getaffinity(worker["pid"]) == {worker["core"]}
    with connect(served) as sock:
        assert echoes(sock)


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)], ids=["gently", "at once"])
def test_the_ready_file_is_gone_when_it_listens_no_more(
    serve: Serve, tmp_path: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    served = serve("-w", "1", "--grace", "1h")
    [ready] = tmp_path.iterdir()
    with connect(served) as sock:
        assert echoes(sock)
        for number in numbers:
            served.signal(number)
            assert refuses_soon(served)
            assert not ready.exists()
        if len(numbers) == 1:
            sock.close()
        served.end()
    assert not ready.exists()


def test_the_ready_file_of_an_earlier_start_is_gone_before_anything_can_fail(serve: Serve, tmp_path: Path) -> None:
    served = serve("-w", "1")
    for arguments in ((f"127.0.0.1:{served.port}",), ("127.0.0.1:0", "--app", "no.such:Thing"), ("no host",)):
        ready = tmp_path / "of-an-earlier-start.json"
        ready.write_text("{}")
        command = [sys.executable, "-m", "loadkit", "serve", *arguments, "--ready-file", str(ready)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode > 0, len(done.stderr.splitlines())) == (True, 1), done.stderr
        assert not ready.exists()


OLD = '{"host": "127.0.0.1", "port": 7000, "pid": 1}'


@pytest.mark.parametrize(
    ("options", "there", "is_left"),
    [
        pytest.param(("--ready-file", "r.json", "--no-such-option"), OLD, False, id="an option"),
        pytest.param(("--ready-file=r.json", "127.0.0.1:0", "and more"), OLD, False, id="an argument"),
        pytest.param(("--ready-file", "r.json", "-o", "./r.json"), OLD, False, id="a name twice"),
        pytest.param(("--no-such-option",), OLD, False, id="named by the environment"),
        pytest.param(("--ready-file", "r.json", "--no-such-option"), '{"port": 1}', True, id="another file"),
    ],
)
def test_wrong_usage_too_leaves_no_ready_file_of_an_earlier_start(
    tmp_path: Path, options: tuple[str, ...], there: str, is_left: bool
) -> None:
    ready = tmp_path / "r.json"
    ready.write_text(there)
    command = [sys.executable, "-m", "loadkit", "serve", *options]
    environment = {**os.environ, "LOADKIT_SERVE_READY_FILE": "r.json"} if len(options) == 1 else None
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert ready.exists() is is_left


@pytest.mark.parametrize("options", [("--ready-file", ""), ("--ready-file", "a.json", "-o", "./a.json")], ids=" ".join)
def test_outputs_that_cannot_be_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "loadkit", "serve", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_workers_are_named_after_what_they_do(serve: Serve) -> None:
    served = serve("-w", "1")
    assert Path(f"/proc/{served.ready['workers'][0]['pid']}/comm").read_text() == "loadkit-serve-0\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_stops_accepting_lets_connections_finish_and_exits_0(
    serve: Serve, number: signal.Signals
) -> None:
    served = serve("--grace", "20s")
    with connect(served) as sock:
        assert echoes(sock)
        served.signal(number)
        assert refuses_soon(served)
        assert echoes(sock)
    status, out, _err = served.end()
    assert status == 0
    assert "served" in out


@pytest.mark.parametrize("engine", ["native", "asyncio"])
def test_at_a_stop_each_connection_is_served_or_refused_and_none_is_reset(serve: Serve, engine: str) -> None:
    if engine == "native" and (missing := native_missing()):
        pytest.skip(missing)
    stops = [serve("-w", "2", "--engine", engine, "--grace", "20s", "-q") for _ in range(2)]
    for served in stops:
        ends: list[str] = []
        clients = [threading.Thread(target=connect_until_refused, args=(served, ends)) for _ in range(8)]
        for client in clients:
            client.start()
        served.signal(signal.SIGTERM)
        for client in clients:
            client.join(60)
        assert ends == ["ConnectionRefusedError"] * len(clients)
        assert served.end()[0] == 0


def test_connections_that_do_not_finish_are_cut_when_the_grace_is_over_and_stand_in_summary_and_record(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve("-w", "2", "--grace", "200ms", "-o", str(tmp_path / "serve.json"))
    sockets = [connect(served) for _ in range(20)]
    assert all(echoes(sock) for sock in sockets)
    sockets.pop().close()
    served.signal(signal.SIGTERM)
    assert all(closes(sock) for sock in sockets)
    for sock in sockets:
        sock.close()
    status, out, _err = served.end()
    assert status == 0
    assert "served 20 connections" in out
    assert "19 x close CUT: the serve end closed them when it ended" in out
    server = json.loads((tmp_path / "serve.json").read_text())["server"]
    assert [(row["step"], row["error"], row["count"]) for row in server["errors"]] == [("close", "CUT", 19)]
    assert server["connections"]["closed"] == 20


def test_what_a_worker_had_open_that_dies_at_the_stop_is_counted_as_cut(serve: Serve) -> None:
    served = serve("-w", "1", "--grace", "20s")
    sockets = [connect(served) for _ in range(3)]
    assert all(echoes(sock) for sock in sockets)
    served.signal(signal.SIGTERM)
    listening = f":{served.port:04X} 00000000:0000 0A "  # proc(5)
    wait_for(lambda: listening not in Path("/proc/net/tcp").read_text(), "it still listens")
    os.kill(served.workers[0], signal.SIGKILL)
    assert all(closes(sock) for sock in sockets)
    for sock in sockets:
        sock.close()
    assert "3 x close CUT" in served.end()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(serve: Serve, number: signal.Signals) -> None:
    served = serve("--grace", "1h")
    with connect(served) as sock:
        assert echoes(sock)
        served.signal(number)
        assert refuses_soon(served)
        served.signal(number)
        assert served.end()[0] == 128 + number


def test_what_was_served_is_counted_per_worker(serve: Serve) -> None:
    served = serve("-w", "2")
    sockets = [connect(served) for _ in range(20)]
    assert all(echoes(sock, b"x" * 100) for sock in sockets)
    for sock in sockets:
        sock.close()
    served.signal(signal.SIGTERM)
    _status, out, _err = served.end()
    assert "served 20 connections" in out.splitlines()[0]
    assert sum(int(line.split()[2]) for line in out.splitlines()[3:5]) == 20


def test_a_worker_that_dies_is_replaced_and_said(serve: Serve, tmp_path: Path) -> None:
    served = serve("-w", "2")
    os.kill(served.workers[1], signal.SIGKILL)
    line = served.process.stderr.readline() + served.process.stderr.readline()  # type: ignore[union-attr]
    assert "worker 1" in line
    assert "SIGKILL" in line
    # The ready file names the one that is there.

    def successor() -> int:
        return int(json.loads((tmp_path / "ready-0.json").read_text())["workers"][1]["pid"])

    wait_for(lambda: successor() != served.workers[1], "the ready file names the dead one")
    comm = Path(f"/proc/{successor()}/comm")
    wait_for(lambda: comm.read_text() == "loadkit-serve-1\n", "it does not begin")  # it has its name then
    for _ in range(50):
        with connect(served) as sock:
            assert echoes(sock)
    served.signal(signal.SIGTERM)
    status, out, _err = served.end()
    assert status == 0
    assert "1 worker died and was replaced" in out


def test_connections_beyond_the_limit_are_turned_away_and_counted(serve: Serve) -> None:
    served = serve("-w", "1", "--max-connections", "3")
    inside = [connect(served) for _ in range(3)]
    assert all(echoes(sock) for sock in inside)
    assert turns_away(served)
    assert echoes(inside[0])
    for sock in inside:
        sock.close()
    served.signal(signal.SIGTERM)
    assert "1 x connect AT_LIMIT" in served.end()[1]


def test_idle_connections_are_closed_and_busy_ones_are_not(serve: Serve) -> None:
    served = serve("--idle-timeout", "1s")
    busy_until_idle_is_closed(lambda: connect(served), echoes, timeout_s=1.0)


def test_out_of_file_descriptors_it_serves_on_says_so_and_does_not_spin(serve: Serve) -> None:
    served = serve("-w", "1", wrapper=("prlimit", "--nofile=210:210"))
    worker = served.workers[0]
    assert resource.prlimit(worker, resource.RLIMIT_NOFILE) == (210, 210)
    sockets = []
    for _ in range(230):
        with contextlib.suppress(ConnectionResetError):  # turned away before connect() returned
            sockets.append(connect(served))
    line = served.process.stderr.readline() + served.process.stderr.readline()  # type: ignore[union-attr]
    assert "EMFILE" in line
    assert "ulimit" in line
    assert echoes(sockets[0])
    before = cpu_ticks(worker)
    time.sleep(1.0)  # the measured second
    assert cpu_ticks(worker) - before < 0.3 * os.sysconf("SC_CLK_TCK")
    sockets[0].close()

    def gets_in() -> bool:
        with contextlib.suppress(ConnectionResetError), connect(served) as sock:
            return echoes(sock)
        return False

    wait_for(gets_in, "a freed descriptor does not let the next connection in")
    for sock in sockets:
        sock.close()
    served.signal(signal.SIGTERM)
    assert "connect EMFILE" in served.end()[1]


def test_a_peer_that_does_not_read_stops_being_read_and_memory_stays_bounded(serve: Serve) -> None:
    served = serve("-w", "1")
    worker = served.workers[0]
    before = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    with connect(served) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(1.0)
        assert send_until_it_blocks(sock, most=2**28) < 2**28
        after = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
        # What the kernel's buffers hold is not the worker's; its own growth is a few reads.
        assert (after - before) * os.sysconf("SC_PAGE_SIZE") < 8 * 2**20
        with connect(served) as other:
            assert echoes(other)


def test_a_port_that_is_taken_is_refused_in_one_line(serve: Serve) -> None:
    served = serve("-w", "1")
    done = subprocess.run(
        [sys.executable, "-m", "loadkit", "serve", f"127.0.0.1:{served.port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"port {served.port}" in done.stderr
    assert "ss -tanp" in done.stderr


def test_a_backlog_that_the_kernel_cuts_is_said_with_the_line_that_mends_it(serve: Serve) -> None:
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())
    served = serve("-w", "1", "--backlog", str(somaxconn + 1))
    served.signal(signal.SIGTERM)
    assert f"sysctl -w net.core.somaxconn={somaxconn + 1}" in served.end()[2]
