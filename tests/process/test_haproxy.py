"""HAProxy between both ends: it accepts the headers of blast, and serve accepts those of HAProxy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.ports import free_port
from tests.under_way import wait_for

pytestmark = pytest.mark.slow

_CONFIGURATION = """
defaults
    mode tcp
    timeout connect 30s
    timeout client 60s
    timeout server 60s
listen proxy
    bind 127.0.0.1:{port} accept-proxy
    server echo 127.0.0.1:{echo} {sends}
"""


@contextmanager
def haproxy(folder: Path, echo: int, sends: str) -> Iterator[int]:
    """Runs HAProxy in front of a port, and yields its own."""
    if shutil.which("haproxy") is None:
        assert "LOADKIT_SKIP_NOTHING" not in os.environ, "haproxy is missing"
        pytest.skip("haproxy (Debian: haproxy) is not installed")
    port = free_port()
    file = folder / f"{sends}.cfg"
    file.write_text(_CONFIGURATION.format(port=port, echo=echo, sends=sends))

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
            return True
        return False

    with subprocess.Popen(("haproxy", "-q", "-db", "-f", file), stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: listens() or process.poll() is not None)
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield port
        finally:
            process.terminate()


@pytest.mark.parametrize(("version", "sends", "counted"), [("v1", "send-proxy-v2", "v2"), ("v2", "send-proxy", "v1")])
def test_haproxy_takes_our_headers_and_we_take_its(
    serve: Serve, tmp_path: Path, version: str, sends: str, counted: str
) -> None:
    record = tmp_path / "serve.json"
    served = serve("--proxy-protocol", "-w", "1", "-o", str(record))
    with haproxy(tmp_path, served.port, sends) as port:
        words = ("-c", "10", "-n", "200", "--proxy-protocol", version, "--no-progress", "-R", "2k")
        command = (sys.executable, "-m", "loadkit", "blast", f"127.0.0.1:{port}", *words, "-o", tmp_path / "run.json")
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "0 errors" in ran.stdout, ran.stderr
    assert json.loads((tmp_path / "run.json").read_text())["messages"]["replied"] == 200
    served.signal(signal.SIGTERM)
    _status, out, _err = served.end()
    assert f"10 headers of {counted}" in out
    headers = json.loads(record.read_text())["server"]["proxy_headers"]
    assert headers == {"v1": 0, "v2": 0, "unknown": 0, counted: 10}
