"""Connected to oneself, as it happens: the target's port is one that connects draw, and its server is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.namespaces import network_namespace

pytestmark = pytest.mark.slow

_PORT = 40_000
_LOADKIT = (sys.executable, "-m", "loadkit")
_PLAIN = f"""
import socket
sock = socket.create_connection(("127.0.0.1", {_PORT}))
print(sock.getsockname() == sock.getpeername())
"""
_PROBE = f"""
import time
from types import SimpleNamespace
from loadkit.engine.probes import _connect
from loadkit.plan.target import Route
from loadkit.wire.proxy_header import ProxyProtocol
load = SimpleNamespace(sockets={{}}, proxy_protocol=ProxyProtocol.OFF)
try:
    _connect(Route(None, "127.0.0.1", 1), {_PORT}, time.monotonic() + 5.0, load)
except ConnectionRefusedError as error:
    print(error.strerror)
"""


def _say(wrapper: tuple[str, ...], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*wrapper, *command), capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]"])
def test_ping_and_the_first_connection_of_a_run_are_refused(host: str) -> None:
    only_that_port = network_namespace(ip_local_port_range=f"{_PORT} {_PORT}")
    assert _say(only_that_port, sys.executable, "-c", _PLAIN).stdout == "True\n", "a plain connect meets itself"
    for command in (("ping",), ("blast", "-c", "1", "-d", "100ms", "--warmup", "0s", "-q")):
        said = _say(only_that_port, *_LOADKIT, *command, f"{host}:{_PORT}")
        assert (said.returncode, said.stdout) == (1, "")
        assert "Connection refused" in said.stderr


def test_a_probe_is_refused() -> None:
    only_that_port = network_namespace(ip_local_port_range=f"{_PORT} {_PORT}")
    assert _say(only_that_port, sys.executable, "-c", _PROBE).stdout == "Connection refused\n"


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_a_server_can_come_back_to_its_port_under_churn(engine: str, tmp_path: Path) -> None:
    # Eight ports, the server's among them: of the tries a while after its death each one is drawn many times.
    few_ports = network_namespace(ip_local_port_range=f"{_PORT - 4} {_PORT + 3}")
    script = tmp_path / "run.py"
    script.write_text(_CHURN)
    said = _say(few_ports, sys.executable, str(script), engine, str(_PORT), str(tmp_path / "run.json"))
    assert said.stdout == "came back\n", said
    record = json.loads((tmp_path / "run.json").read_text())
    assert {row["error"] for row in record["errors"] if row["step"] == "connect"} == {"ECONNREFUSED"}


# A server, churn, the death of the server, forty refused connects, and the server again while the churn goes on.
_CHURN = """
import json, signal, subprocess, sys, time
from pathlib import Path

engine, port, path = sys.argv[1:]
place, loadkit = f"127.0.0.1:{port}", [sys.executable, "-m", "loadkit"]


def serve():
    ready = Path(path).with_suffix(".ready")
    ready.unlink(missing_ok=True)
    server = subprocess.Popen([*loadkit, "serve", place, "-w", "1", "-q", "--grace", "0s", "--ready-file", str(ready)])
    while not ready.exists() and server.poll() is None:
        time.sleep(0.02)
    return server


def refused():
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("AttemptFails")])


server = serve()
options = ["-c", "4", "--lifetime", "20s", "-d", "30s", "--warmup", "0s", "--engine", engine, "-q", "-o", path]
churn = subprocess.Popen([*loadkit, "blast", place, *options], stdout=subprocess.DEVNULL)
try:
    while not [row for row in Path("/proc/net/tcp").read_text().splitlines() if f":{int(port):04X} 01 " in row]:
        time.sleep(0.02)
    time.sleep(0.3)
    server.kill()
    server.wait()
    before = refused()
    while refused() < before + 40 and churn.poll() is None:
        time.sleep(0.05)
    server = serve()
    print("came back" if server.poll() is None else "cannot listen")
finally:
    churn.send_signal(signal.SIGINT)
    churn.wait()
    server.kill()
    server.wait()
"""
