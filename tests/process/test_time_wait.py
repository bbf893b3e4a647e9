"""Connections closed by FIN, where ports are few: what is said before the run is what happens in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.namespaces import network_namespace

pytestmark = pytest.mark.slow

_SERVED = """
import subprocess, sys, time
from pathlib import Path

ready, *command = sys.argv[1:]
loadkit = [sys.executable, "-m", "loadkit"]
# At a port outside of the range.
server = subprocess.Popen([*loadkit, "serve", "127.0.0.1:7000", "-w", "1", "-q", "--ready-file", ready])
try:
    while not Path(ready).exists() and server.poll() is None:
        time.sleep(0.02)
    sys.exit(subprocess.run([*loadkit, *command]).returncode)
finally:
    server.kill()
    server.wait()
"""


@pytest.mark.parametrize(
    ("sysctls", "options", "exhausts"),
    [
        # No port of the 50 comes again within a minute: so few that a busy machine gets to the last of them as well.
        pytest.param({"tcp_tw_reuse": 0, "ip_local_port_range": "40000 40049"}, (), True, id="exhausted"),
        pytest.param({"tcp_tw_reuse": 0}, ("--close", "rst"), False, id="reset"),
        pytest.param({"tcp_tw_reuse": 0}, ("-n", "100"), False, id="no more messages than ports"),
        pytest.param({"tcp_tw_reuse": 0, "tcp_max_tw_buckets": 100}, (), False, id="few buckets"),
        pytest.param({"tcp_tw_reuse": 0, "ip_local_port_range": "10000 60999"}, ("-n", "900"), False, id="many ports"),
        # 900 + 20 + 20 of five addresses' 1,000
        pytest.param({"tcp_tw_reuse": 0}, ("-n", "900", "--source", "127.1.0.0/29"), False, id="more sources"),
    ],
)
def test_ports_run_out_where_the_doctor_says_so_and_nowhere_else(
    sysctls: dict[str, object], options: tuple[str, ...], exhausts: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    blast = ("blast", "127.0.0.1:7000", "-c", "20", "--lifetime", "0", "--close", "fin", "-d", "1s", "--warmup", "0s")
    inside = network_namespace(**{"ip_local_port_range": "40000 40199", **sysctls})
    command = (*inside, sys.executable, "-c", _SERVED, str(tmp_path / "ready"), *blast, *options)
    said = subprocess.run(
        (*command, "--no-progress", "-o", str(path)), capture_output=True, text=True, timeout=100, check=False
    )
    errors = {row["error"] for row in json.loads(path.read_text())["errors"]}
    assert ("EADDRNOTAVAIL" in errors) is exhausts, said
    assert ("time-wait" in said.stderr) is exhausts, said.stderr
    if exhausts:
        # 1 s, and 2 ms of ramp
        assert "(50 - 20) / 1.002 s = 29.94/s of new connections" in said.stderr
        assert "--close rst" in said.stderr
        assert "--source 127." in said.stderr
