"""UNIX sockets as an operator meets them: paths, permissions, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import loadkit
from loadkit.errors import OptionError, PreflightError
from tests.conftest import Serve
from tests.under_way import wait_for

pytestmark = pytest.mark.slow

LONGEST = 107


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "echo.sock"


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs loadkit to its end."""
    return subprocess.run(
        (sys.executable, "-m", "loadkit", *words), capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )


def pings(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
        sock.sendall(b"ping")
        return sock.recv(4) == b"ping"


def bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    return sock


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_both_ends_are_recorded_by_the_path_and_without_tcp(serve: Serve, path: Path) -> None:
    record, served_record = path.with_suffix(".json"), path.with_name("serve.json")
    served = serve("-w", "2", "-o", str(served_record), address=f"unix:{path}")
    assert served.ready["address"] == f"unix:{path}"
    assert served.ready["port"] is None
    assert mode_of(path) == 0o777 & ~os.umask(os.umask(0o022))
    assert "echoed 64 B" in command("ping", f"unix:{path}").stdout
    ran = command(
        "blast", f"unix://{path}", "-c", "20", "-n", "500", "-o", str(record), "--no-progress", "--no-pin", "-R", "5k"
    )
    assert f"unix:{path}" in ran.stdout
    served.signal(signal.SIGTERM)
    status, _out, err = served.end()
    assert status == 0
    assert f"ready on unix:{path} with 2 workers" in err
    assert not path.exists()
    run = json.loads(record.read_text())
    assert (run["target"]["host"], run["target"]["port"]) == (f"unix:{path}", 0)
    assert run["messages"]["replied"] == 500
    assert run["errors"] == []
    for name in ("tcp", "kernel"):
        assert run[name] is None
        assert run[f"{name}_missing"] == "a UNIX socket has no TCP"
    assert set(run["sockets"]) <= {"sndbuf", "rcvbuf"}
    whole = json.loads(served_record.read_text())
    assert whole["server"]["port"] is None
    assert whole["kernel"] is None
    assert whole["server"]["accepted"] == 21  # and the one of ping
    joined = command("report", str(record), "--server", str(served_record))
    assert joined.returncode in (0, 4), joined.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_path_is_removed_at_the_end(serve: Serve, path: Path, number: signal.Signals) -> None:
    served = serve(address=f"unix:{path}")
    served.signal(number)
    assert served.end()[0] == 0
    assert not path.exists()


def test_a_worker_that_is_replaced_serves_on_at_the_same_path(serve: Serve, path: Path) -> None:
    served = serve("-w", "1", address=f"unix:{path}")
    identity = path.lstat().st_ino
    os.kill(served.workers[0], signal.SIGKILL)
    wait_for(lambda: pings(path))
    assert path.lstat().st_ino == identity
    served.signal(signal.SIGTERM)
    served.end()
    assert not path.exists()


def test_the_path_of_a_killed_server_is_taken_over(serve: Serve, path: Path) -> None:
    killed = serve(address=f"unix:{path}")
    killed.signal(signal.SIGKILL)
    killed.end()
    wait_for(lambda: not pings(path))
    assert path.exists()
    serve(address=f"unix:{path}")
    assert pings(path)


def test_a_path_that_was_removed_and_made_again_by_another_is_left_alone(serve: Serve, path: Path) -> None:
    served = serve(address=f"unix:{path}")
    path.unlink()
    with bind(path):
        served.signal(signal.SIGTERM)
        assert served.end()[0] == 0
        assert path.exists()


def test_a_server_whose_path_is_gone_ends_well(serve: Serve, path: Path) -> None:
    served = serve(address=f"unix:{path}")
    path.unlink()
    served.signal(signal.SIGTERM)
    assert served.end()[0] == 0


def test_socket_mode_says_who_may_connect_whatever_the_umask(serve: Serve, path: Path) -> None:
    serve("--socket-mode", "0620", address=f"unix:{path}", wrapper=("sh", "-c", 'umask 077; exec "$@"', "-"))
    assert mode_of(path) == 0o620


def test_many_workers_pinned_or_not_accept_from_an_abstract_name(serve: Serve, path: Path) -> None:
    name = f"unix:@loadkit-test-{os.getpid()}"
    record = path.with_name("serve.json")
    served = serve("-w", "3", "-o", str(record), address=name)
    assert "0 errors" in command("blast", name, "-c", "60", "-n", "600", "--no-progress").stdout
    served.signal(signal.SIGTERM)
    served.end()
    accepted = [worker["opened"] for worker in json.loads(record.read_text())["server"]["workers"]]
    assert sum(accepted) == 60


def test_a_relative_path_is_recorded_as_it_was_given_and_whole(path: Path, serve: Serve) -> None:
    serve(address=f"unix:{path}")
    planned = command("blast", "unix:echo.sock", "--dry-run", cwd=path.parent)
    target = json.loads(planned.stdout)["target"]
    assert target["host"] == "unix:echo.sock"
    assert target["addresses"] == [f"unix:{path}"]
    assert command("ping", "unix:echo.sock", cwd=path.parent).returncode == 0


def test_a_symbolic_link_is_connected_through_and_never_listened_at(serve: Serve, path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    served = serve(address=f"unix:{path}")
    assert command("ping", f"unix:{link}").returncode == 0
    served.signal(signal.SIGTERM)
    served.end()
    refused = command("serve", f"unix:{link}")
    assert refused.returncode == 1
    assert "there is a symbolic link at this path" in refused.stderr
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        pytest.param("missing/echo.sock", 1, "its folder is missing: mkdir -p", id="a missing folder"),
        pytest.param("folder", 1, "there is a folder at this path", id="a folder"),
        pytest.param("file", 1, "there is a file at this path", id="a file"),
        pytest.param("file/echo.sock", 1, "is not a folder", id="below a file"),
        pytest.param("served", 1, "a server listens there: stop it, or take another path", id="in use"),
        pytest.param("x" * 120, 2, "bytes, and that of a socket has 107 at most", id="too long"),
        pytest.param("a\nb", 2, "a character that cannot be printed", id="a line feed"),
    ],
)
def test_serve_says_in_a_line_why_it_cannot_have_a_path(path: Path, where: str, status: int, said: str) -> None:
    folder = path.parent
    (folder / "folder").mkdir()
    (folder / "file").touch()
    with bind(folder / "served") as listener:
        listener.listen(0)
        with contextlib.ExitStack() as undo:
            # Its queue is full: a server that does not answer just now is one all the same.
            for _ in range(2):
                sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                with contextlib.suppress(BlockingIOError):
                    sock.connect(str(folder / "served"))
            refused = command("serve", f"unix:{folder}/{where}")
    assert refused.returncode == status
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert {file.name for file in folder.iterdir()} == {"folder", "file", "served"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        pytest.param(("blast", "unix:{}/folder"), 1, "is a folder, not a socket; check the path", id="a folder"),
        pytest.param(("ping", "unix:{}/file"), 1, "is a file, not a socket; check the path", id="a file"),
        pytest.param(("blast", "unix:{}/none"), 1, "(ENOENT); there is no socket at the path", id="nothing"),
        pytest.param(("blast", "unix:{}/dead"), 1, "(ECONNREFUSED); start the server, check the path", id="dead"),
        pytest.param(("ping", "unix:{}/dead"), 1, "Connection refused; check the path", id="ping of a dead one"),
        pytest.param(("blast", "unix:"), 2, "has no path", id="no path"),
        pytest.param(("blast", "unix:@"), 2, "has no path", id="no name"),
        pytest.param(("blast", "unix://host/x"), 2, "three slashes, as in unix:///run/x.sock", id="a host"),
        pytest.param(("blast", "unix:@x", "--source", "10.0.0.0/30"), 2, "--source: only TCP has it", id="source"),
        pytest.param(("blast", "unix:@x", "--no-nodelay"), 2, "--nodelay: only TCP has it", id="nodelay"),
        pytest.param(("blast", "unix:@x", "--tos", "0"), 2, "--tos: only TCP has it", id="tos"),
        pytest.param(("blast", "unix:@x", "--keepalive", "9s"), 2, "--keepalive: only TCP has it", id="keepalive"),
        pytest.param(("blast", "unix:@x", "--close", "fin"), 2, "--close: only TCP has it", id="close"),
        pytest.param(("blast", "unix:@x", "--journey"), 2, "--journey: only TCP has it", id="journey"),
        pytest.param(("blast", "unix:@x", "--stamps", "rx"), 2, "--stamps: only TCP has it", id="stamps"),
        pytest.param(("blast", "unix:@x", "--rcvbuf", "9k"), 2, "--rcvbuf: only TCP has it", id="rcvbuf"),
        pytest.param(("serve", "unix:@x", "--probes"), 2, "--probes: only TCP has it", id="probes"),
        pytest.param(("serve", "unix:@x", "--congestion", "reno"), 2, "--congestion: only TCP has it", id="congestion"),
        pytest.param(("serve", "unix:@x", "--socket-mode", "999"), 2, "expected octal permissions", id="mode"),
        pytest.param(("serve", "127.0.0.1:0", "--socket-mode", "600"), 2, "only the path of a UNIX socket", id="port"),
        pytest.param(
            ("serve", "127.0.0.1:0", "--metrics", "unix:@x"), 2, "Prometheus connects to a port", id="metrics"
        ),
        pytest.param(("doctor", "unix:@x", "--churn", "5"), 2, "leaves no TIME_WAIT", id="doctor"),
        pytest.param(("doctor", "unix:@x", "--source", "10.0.0.0/30"), 2, "--source: only TCP has it", id="sources"),
    ],
)
def test_bad_input_is_answered_in_a_line(path: Path, words: tuple[str, ...], status: int, said: str) -> None:
    folder = path.parent
    (folder / "folder").mkdir()
    (folder / "file").touch()
    bind(folder / "dead").close()
    refused = command(*(word.format(folder) for word in words))
    assert refused.returncode == status
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_doctor_speaks_of_no_ports_for_a_unix_socket() -> None:
    found = json.loads(command("doctor", "unix:/run/echo.sock", "-c", "1m", "--json").stdout)
    codes = {finding["code"] for finding in found["findings"]}
    assert found["target"] == "unix:/run/echo.sock"
    assert {"nofile", "file-max", "somaxconn", "memory"} <= codes
    assert codes.isdisjoint({"ports", "time-wait", "sources", "route", "syn-backlog", "conntrack", "tcp_mem", "nic"})


async def _exchange(address: str) -> tuple[str, int]:
    async with loadkit.serve(address, workers=1) as server:
        record = await loadkit.blast(server, connections=4, messages=40)
        return server.target, record.messages.replied


def test_the_library_serves_and_blasts_over_a_unix_socket(path: Path) -> None:
    assert asyncio.run(_exchange(f"unix:{path}")) == (f"unix:{path}", 40)
    assert not path.exists()


def test_the_library_says_what_is_wrong(path: Path) -> None:
    with pytest.raises(PreflightError, match="its folder is missing"):
        asyncio.run(_exchange(f"unix:{path.parent}/none/x.sock"))
    with pytest.raises(OptionError, match="has no path"):
        asyncio.run(_exchange("unix:"))


def test_an_app_is_served_over_a_unix_socket(serve: Serve, path: Path) -> None:
    serve("--app", "tests.apps:Echo", "-w", "1", address=f"unix:{path}")
    assert pings(path)
